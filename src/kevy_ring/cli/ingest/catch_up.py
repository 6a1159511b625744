"""Decides when a replica has caught up with its upstream."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from kevy_ring.cli.ingest.progress import ShardProgress
from kevy_ring.cli.ingest.snapshot_due import SnapshotDue
from kevy_ring.inbox.header_words import LinkState

#: The state must hold this long, to rule out a momentary match.
HOLD_S = 1.0
#: On a busy stream some events are always on their way, and the runner publishes its offsets ten times a second. So the
#: shard must have applied what the upstream had this long ago. On an idle stream this is the upstream's offset now.
ON_ITS_WAY_S = 0.3


@dataclass(slots=True)
class _ShardWatch:
    behind_at: float
    wanted: deque[tuple[float, int]] = field(default_factory=deque)
    snapshot: SnapshotDue = field(default_factory=SnapshotDue)


class CatchUp:
    """Takes samples, and says whether all shards have been caught up for ``hold_s`` seconds.

    If the upstream tells its offset, a shard is caught up while it has applied what the upstream had just before. If
    the upstream does not (kevy 1), nothing may arrive for ``hold_s`` seconds, and everything must be applied.
    """

    def __init__(self, hold_s: float = HOLD_S) -> None:
        self._hold_s = hold_s
        self._shards: dict[int, _ShardWatch] = {}

    def seen(self, shards: Sequence[ShardProgress], now: float) -> bool:
        """Take a sample; ``now``: seconds of a monotonic clock."""
        held = [self._has_held(shard, now) for shard in shards]
        return bool(held) and all(held)

    def _has_held(self, shard: ShardProgress, now: float) -> bool:
        watch = self._shards.setdefault(shard.index, _ShardWatch(behind_at=now))
        if not _is_level(shard, watch, now):
            watch.behind_at = now
        return now - watch.behind_at >= self._hold_s


def _is_level(shard: ShardProgress, watch: _ShardWatch, now: float) -> bool:
    if watch.snapshot.look(shard):
        watch.wanted.clear()  # offsets from before a full sync mean nothing
    is_loading = shard.is_loading and not shard.is_drained
    if shard.link_state is not LinkState.STREAMING or is_loading or watch.snapshot.is_due:
        watch.wanted.clear()
        return False
    wanted = max(_number(shard.upstream_offset), _number(shard.received_offset))
    moved = not watch.wanted or watch.wanted[-1][1] != wanted
    watch.wanted.append((now, wanted))
    while len(watch.wanted) > 1 and now - watch.wanted[1][0] >= ON_ITS_WAY_S:
        watch.wanted.popleft()
    applied = _number(shard.applied_offset)
    if shard.upstream_offset is None:
        return not moved and applied >= wanted
    return applied >= watch.wanted[0][1]


def _number(offset: int | None) -> int:
    return -1 if offset is None else offset
