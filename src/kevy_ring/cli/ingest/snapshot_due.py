"""Whether a full sync was counted whose snapshot the runner has not sent whole yet."""

from __future__ import annotations

from dataclasses import dataclass

from kevy_ring.cli.ingest.progress import ShardProgress


@dataclass(slots=True)
class SnapshotDue:
    """Follows one shard from look to look. After a full sync, its snapshot may take minutes to begin."""

    _syncs: tuple[float, int] = (0.0, 0)
    _sent: int = 0
    _needed: int = 0

    def look(self, shard: ShardProgress) -> bool:
        """Take the shard's next progress. True: it is another ring, or a full sync was counted since the last look."""
        syncs = (shard.ring.created_unix_s, shard.full_syncs) if shard.ring else (0.0, 0)
        is_new = syncs != self._syncs
        if is_new:
            if syncs[0] != self._syncs[0]:
                self._sent = 0
            if shard.full_syncs:
                self._needed = self._sent + 1
            self._syncs = syncs
        self._sent = shard.snapshots_sent
        return is_new

    @property
    def is_due(self) -> bool:
        """Whether the snapshot of the last full sync is not sent whole yet."""
        return self._sent < self._needed
