"""The optional packages, and what to do where one is missing."""

from __future__ import annotations

from kevy_ring.errors import SinkError


def missing_extra(sink: str, package: str, why: str = "is not installed") -> SinkError:
    """The error that says how to get ``package``."""
    return SinkError(sink, reason="missing-extra", detail=f"{package} {why}; pip install -U 'kevy-ring[ingest]'")
