"""From what a ring says of its last published event to the point at which a runner asks its upstream to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kevy_ring.replica.protocol import ResumePoint

if TYPE_CHECKING:
    from kevy_ring.inbox import Published


def resume_after(published: Published, kind: str) -> ResumePoint | None:
    """The resume point behind ``published``; None: only a full sync will do.

    ``kind``: of the upstream, ``"kevy"`` or ``"redis"``. A kevy snapshot stands for all frames before its
    acknowledged offset (the next frame bears it), a Redis one for all bytes up to and including it.
    """
    offset = published.offset
    if offset is None or not published.upstream_id or published.in_snapshot:
        return None
    if kind == "kevy" and published.after_snapshot:
        offset -= 1
    return ResumePoint(published.upstream_id, offset, published.db) if offset >= 0 else None
