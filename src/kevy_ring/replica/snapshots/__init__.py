"""The formats of snapshots that every layer above reads: KEVYSNAP, and one key as an ``Entry``."""
