"""The commands ``ls``, ``inspect`` and ``gc``: which rings there are, what one holds, and what can be removed."""
