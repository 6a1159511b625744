"""The milestones of each shard: a snapshot begun, a snapshot applied, caught up."""

from __future__ import annotations

from dataclasses import dataclass, field

from kevy_ring.cli import figures
from kevy_ring.cli.ingest.catch_up import CatchUp
from kevy_ring.cli.ingest.progress import ShardProgress
from kevy_ring.cli.log.note import Note
from kevy_ring.inbox.header_words import LinkState

#: A shard that is level for this long has caught up. It is less than a goal waits, so that the log says it first.
_HOLD_S = 0.5


@dataclass(slots=True)
class _Shard:
    """``awaited``: a full sync was promised, and its snapshot was not seen to begin."""

    awaited: bool = False
    begun_at: float | None = None
    applied: int = 0  # snapshots, by the count of the shard's present process
    entries: int = 0  # in those snapshots
    sent: int = 0
    catch_up: CatchUp | None = field(default_factory=lambda: CatchUp(_HOLD_S))


class Milestones:
    """Finds milestones in looks at the rings' headers. A look comes ten times a second, so nothing is lost but time."""

    def __init__(self) -> None:
        self._shards: dict[int, _Shard] = {}

    def synced(self, shard: int, *, is_full: bool) -> None:
        """A link of the shard began."""
        seen = self._shards.setdefault(shard, _Shard())
        seen.awaited = is_full
        seen.begun_at = None
        seen.catch_up = CatchUp(_HOLD_S)

    def passed(self, shard: ShardProgress, now: float) -> list[Note]:
        """The milestones since the last look; ``now``: seconds of a monotonic clock."""
        seen = self._shards.get(shard.index)
        if seen is None or shard.ring is None:
            return []
        notes = self._snapshot(seen, shard, now)
        if seen.catch_up is not None and seen.catch_up.seen([shard], now):
            seen.catch_up = None
            offset = shard.applied_offset
            text = f"caught up: everything that the upstream has is applied, up to offset {figures.count(offset)}"
            notes.append(Note(text, event="caught_up", shard=shard.index, facts={"applied_offset": offset}))
        return notes

    def _snapshot(self, seen: _Shard, shard: ShardProgress, now: float) -> list[Note]:
        notes = []
        # A small snapshot may come and go between two looks.
        is_new = shard.link_state is LinkState.SNAPSHOT or shard.snapshots_sent > seen.sent
        seen.sent = shard.snapshots_sent
        if seen.awaited and is_new:
            seen.awaited, seen.begun_at = False, now
            total = shard.snapshot_total
            text = f"the snapshot begins{f': {figures.size(total)}' if total else ''}"
            notes.append(Note(text, event="snapshot_begun", shard=shard.index, facts={"bytes": total or None}))
        if shard.snapshots > seen.applied:
            keys, took = shard.entries - seen.entries, now - (seen.begun_at or now)
            text = f"the snapshot is applied: {figures.plural(keys, 'key')}, {figures.seconds(took)} after it began"
            facts = {"keys": keys, "elapsed_s": round(took, 3)}
            notes.append(Note(text, event="snapshot_applied", shard=shard.index, facts=facts))
        if shard.snapshots != seen.applied:  # also after a new process of the shard, which counts from 0
            seen.applied, seen.entries = shard.snapshots, shard.entries
        return notes
