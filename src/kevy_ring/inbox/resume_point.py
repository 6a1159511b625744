"""What the last published event of a ring stands for upstream: where a new sender goes on after a dead one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kevy_ring._core import ffi, lib
from kevy_ring.inbox.header_words import is_snapshot_pending
from kevy_ring.ring.segment import Segment

if TYPE_CHECKING:
    from kevy_ring.ring import Ring, RingStats


@dataclass(frozen=True, slots=True)
class Published:
    """The last event that was published, whoever published it and however that process ended.

    ``upstream_id``: the history that it belongs to, as the sender named it by ``set_upstream``; empty: not known.
    ``offset``: of the event, a Frame or, with ``after_snapshot``, a SnapshotEnd; None where there is none, or inside a
    snapshot (``in_snapshot``). ``db``: the database selected after it. ``snapshots``: how many SnapshotEnds were
    published since the ring was made.
    """

    upstream_id: str
    offset: int | None
    db: int
    after_snapshot: bool
    in_snapshot: bool
    snapshots: int

    @property
    def is_known(self) -> bool:
        """Whether anything was published that stands for something upstream."""
        return self.offset is not None or self.in_snapshot

    def has_unapplied_snapshot(self, stats: RingStats) -> bool:
        """Whether a snapshot, or a part of one, was sent that is not marked as applied in this ring's ``stats``."""
        return is_snapshot_pending(stats, self.snapshots, is_open=self.in_snapshot)


def read_published(segment: Segment) -> Published:
    """As the header of a mapped segment has it now."""
    point = ffi.new("kr_resume_point *")
    lib.kr_map_resume(segment.map, point)
    is_known = bool(point.flags & lib.KR_RESUME_FLAG_KNOWN)
    return Published(
        upstream_id=_upstream_id(point),
        offset=point.offset if is_known else None,
        db=point.db,
        after_snapshot=bool(point.flags & lib.KR_RESUME_FLAG_AFTER_SNAPSHOT),
        in_snapshot=bool(point.flags & lib.KR_RESUME_FLAG_IN_SNAPSHOT),
        snapshots=point.snapshots,
    )


def read_upstream_id(segment: Segment) -> str:
    """Only the history, for who looks at it before every batch: a quarter of the time."""
    point = ffi.new("kr_resume_point *")
    lib.kr_map_resume(segment.map, point)
    return _upstream_id(point)


def _upstream_id(point: Any) -> str:
    return bytes(ffi.buffer(point.upstream_id)).rstrip(b"\0").decode("utf-8", "replace")


def published_in(ring: Ring) -> Published:
    """As a ring has it now, whoever lives in it."""
    return read_published(ring._segment)
