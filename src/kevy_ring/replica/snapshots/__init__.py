"""The snapshot formats that the layers above use: KEVYSNAP, and one key as an ``Entry``."""
