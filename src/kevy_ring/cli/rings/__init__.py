"""The commands ``ls``, ``inspect`` and ``gc``: list rings, show one, and remove the abandoned ones."""
