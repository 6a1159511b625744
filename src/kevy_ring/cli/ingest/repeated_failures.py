"""Counts failures of the shards' processes that repeat."""

from __future__ import annotations

#: A run ends when a shard's process failed so often in a row in the same way, also a run without an end: then a
#: supervisor sees the failure.
SAME_MAX = 3
#: A process that lived this long had got past the failure of the process before it.
STABLE_S = 10.0


class RepeatedFailures:
    """Counts, for each shard, how often in a row its process ended for the same reason."""

    def __init__(self) -> None:
        self._started_at: dict[int, float] = {}
        self._said: dict[int, str] = {}
        self._rows: dict[int, tuple[str, int]] = {}

    def started(self, shard: int, now: float) -> None:
        """A new process of the shard runs; ``now``: seconds of a monotonic clock."""
        self._started_at[shard] = now
        self._said.pop(shard, None)

    def failed(self, shard: int, why: str) -> None:
        """The process reported why it ends."""
        self._said[shard] = why

    def ended(self, shard: int, now: float) -> None:
        """The process has ended. A process that was killed gave no reason, so its end starts a new count."""
        why = self._said.pop(shard, "")
        before, count = self._rows.get(shard, ("", 0))
        lived_s = now - self._started_at.get(shard, now)
        self._rows[shard] = (why, count + 1 if why == before and lived_s < STABLE_S else 1)

    def found(self) -> tuple[int, str] | None:
        """The first shard that failed SAME_MAX times in a row for the same reason, and the reason; None: no shard."""
        return next(((shard, why) for shard, (why, count) in self._rows.items() if why and count >= SAME_MAX), None)
