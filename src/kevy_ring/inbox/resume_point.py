"""The resume point of a ring: where in the upstream's stream a new sender continues after a dead one."""

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
    """The last published event of a ring. It is exact even if the process that published it was killed.

    ``upstream_id``: the history of the event, from ``set_upstream``; empty if not known. ``offset``: of the event,
    which is a Frame, or a SnapshotEnd with ``after_snapshot``; None if there is no event, or inside a snapshot
    (``in_snapshot``). ``db``: the selected database after it. ``snapshots``: the SnapshotEnds published since the ring
    was made.
    """

    upstream_id: str
    offset: int | None
    db: int
    after_snapshot: bool
    in_snapshot: bool
    snapshots: int

    @property
    def is_known(self) -> bool:
        """Whether a Frame or a part of a snapshot was published."""
        return self.offset is not None or self.in_snapshot

    def has_unapplied_snapshot(self, stats: RingStats) -> bool:
        """Whether a snapshot, or a part of one, was published that ``stats`` of the ring do not show as applied."""
        return is_snapshot_pending(stats, self.snapshots, is_open=self.in_snapshot)


def read_published(segment: Segment) -> Published:
    """Read it from the header of a mapped segment."""
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
    """Read only the history, in a quarter of the time: a shard does it before every batch."""
    point = ffi.new("kr_resume_point *")
    lib.kr_map_resume(segment.map, point)
    return _upstream_id(point)


def _upstream_id(point: Any) -> str:
    return bytes(ffi.buffer(point.upstream_id)).rstrip(b"\0").decode("utf-8", "replace")


def published_in(ring: Ring) -> Published:
    """The resume point of a ring now. Raises :class:`ClosedError`."""
    return read_published(ring._segment.if_open())
