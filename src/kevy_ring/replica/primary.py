"""The former place of ``EmbeddedPrimary``, which is in ``kevy_ring.testing`` now."""

from kevy_ring.testing.primary import EmbeddedPrimary

__all__ = ["EmbeddedPrimary"]
