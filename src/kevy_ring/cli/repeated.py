"""Finds a shard process that fails in the same way again and again: a new process will not do better."""

from __future__ import annotations

#: The same failure so often in a row ends a run, also one without an end: a supervisor can then see it.
SAME_MAX = 3
#: A process that lived this long had got over the failure of the one before it.
STABLE_S = 10.0


class RepeatedFailures:
    """Counts, for each shard, how often in a row its process ended with the same words."""

    def __init__(self) -> None:
        self._started_at: dict[int, float] = {}
        self._said: dict[int, str] = {}
        self._rows: dict[int, tuple[str, int]] = {}

    def started(self, shard: int, now: float) -> None:
        """A new process of the shard runs; ``now`` in seconds of an even clock."""
        self._started_at[shard] = now
        self._said.pop(shard, None)

    def failed(self, shard: int, why: str) -> None:
        """The process has told why it ends."""
        self._said[shard] = why

    def ended(self, shard: int, now: float) -> None:
        """The process is gone. One that was killed has said nothing, and begins a new row."""
        why = self._said.pop(shard, "")
        before, count = self._rows.get(shard, ("", 0))
        lived_s = now - self._started_at.get(shard, now)
        self._rows[shard] = (why, count + 1 if why == before and lived_s < STABLE_S else 1)

    def found(self) -> tuple[int, str] | None:
        """The first shard that has failed in the same way SAME_MAX times in a row, and why; None: none has."""
        return next(((shard, why) for shard, (why, count) in self._rows.items() if why and count >= SAME_MAX), None)
