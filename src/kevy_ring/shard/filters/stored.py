"""The filter that a sink was filled with, which its place keeps. Another filter would mix two sets of keys."""

from __future__ import annotations

from kevy_ring.errors import SinkError


def check_same_filter(sink: str, stored: str, asked: str, remedy: str) -> None:
    """Raises SinkError (``"refused"``) if a sink that holds data was filled with another filter.

    ``stored`` and ``asked``: the texts of the filters; empty: none. ``remedy``: what the user can name instead.
    """
    if stored == asked:
        return
    was = f"with the filter {stored}" if stored else "without a filter"
    now = f"this run has {asked}" if asked else "this run has none"
    detail = f"it was filled {was}, and {now}. Give the same filter again, or {remedy}"
    raise SinkError(sink, reason="refused", detail=detail)
