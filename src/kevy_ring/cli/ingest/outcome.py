"""What one run of a fleet came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kevy_ring.cli.compare.digest import DigestComparison
from kevy_ring.cli.compare.verify import Verification
from kevy_ring.cli.ingest.progress import ShardProgress
from kevy_ring.shard.shard_process import ShardFacts


@dataclass(frozen=True, slots=True)
class ShardOutcome:
    """The last look at a shard's ring, and its process's own last words (None when it had none)."""

    last: ShardProgress
    facts: ShardFacts | None

    @property
    def frames(self) -> int:
        return self.facts.frames if self.facts else self.last.frames

    @property
    def entries(self) -> int:
        return self.facts.entries if self.facts else self.last.entries

    @property
    def applied_offset(self) -> int | None:
        return self.facts.applied_offset if self.facts else self.last.applied_offset

    @property
    def overflow_peak_bytes(self) -> int:
        return self.last.ring.overflow_peak_bytes if self.last.ring else 0

    @property
    def restarts(self) -> int:
        return self.last.runner_restarts + self.last.shard_restarts


@dataclass(slots=True)
class Outcome:
    """``problems``: what is wrong, the most telling first; none when all is well. ``accepted``: what is missing, as
    the user has allowed. ``comparison``: None: not made."""

    name: str
    sink: str
    seconds: float
    stopped: bool
    shards: list[ShardOutcome]
    comparison: Verification | DigestComparison | None = None
    problems: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)

    @property
    def is_verified(self) -> bool:
        return self.comparison is not None and self.comparison.is_equal and not self.problems

    @property
    def frames(self) -> int:
        return sum(shard.frames for shard in self.shards)

    @property
    def entries(self) -> int:
        return sum(shard.entries for shard in self.shards)

    @property
    def frame_seconds(self) -> float | None:
        """From the first live frame that any shard applied to the last."""
        return _span(self.shards, "first_frame_at", "last_frame_at")

    @property
    def snapshot_seconds(self) -> float | None:
        """From the first byte of a snapshot that any shard took to the last snapshot applied."""
        return _span(self.shards, "snapshot_began_at", "snapshot_ended_at")


def _span(shards: Sequence[ShardOutcome], first: str, last: str) -> float | None:
    facts: list[Any] = [shard.facts for shard in shards if shard.facts is not None]
    begun = [at for fact in facts if (at := getattr(fact, first)) is not None]
    ended = [at for fact in facts if (at := getattr(fact, last)) is not None]
    return max(ended) - min(begun) if begun and ended and max(ended) > min(begun) else None
