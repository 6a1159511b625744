"""The outcome of one run of a fleet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kevy_ring.cli import figures
from kevy_ring.cli.compare.digest import DigestComparison
from kevy_ring.cli.compare.verify import Verification
from kevy_ring.cli.ingest.progress import ShardProgress
from kevy_ring.shard.refused.policy import ErrorPolicy
from kevy_ring.shard.shard_process import ShardFacts


@dataclass(frozen=True, slots=True)
class ShardOutcome:
    """The last look at a ring, with its counts. ``facts``: what the process reported at its end; None: nothing."""

    last: ShardProgress
    facts: ShardFacts | None

    @property
    def skipped(self) -> int | None:
        """Keys of the last snapshot that were skipped; None if that is not known."""
        return self.last.skipped if self.facts and self.facts.knows_skipped else None

    @property
    def overflow_peak_bytes(self) -> int:
        return self.last.ring.overflow_peak_bytes if self.last.ring else 0

    @property
    def restarts(self) -> int:
        return self.last.runner_restarts + self.last.shard_restarts


@dataclass(slots=True)
class Outcome:
    """``problems``: what is wrong, the most important first; empty: all is well. ``accepted``: what is missing, as the
    user allowed. ``comparison``: None: not made. ``policy``: for what the sinks could not take."""

    name: str
    sink: str
    seconds: float
    stopped: bool
    shards: list[ShardOutcome]
    comparison: Verification | DigestComparison | None = None
    problems: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    policy: ErrorPolicy | None = None

    @property
    def is_verified(self) -> bool:
        return self.comparison is not None and self.comparison.is_equal and not self.problems

    @property
    def frames(self) -> int:
        return sum(shard.last.frames for shard in self.shards)

    @property
    def entries(self) -> int:
        return sum(shard.last.entries for shard in self.shards)

    @property
    def filtered(self) -> int:
        """Frames that did not pass the filter, in the last process of each shard."""
        return sum(shard.facts.filtered for shard in self.shards if shard.facts is not None)

    @property
    def frame_seconds(self) -> float | None:
        """From the first live frame that any shard applied to the last."""
        return _span(self.shards, "first_frame_at", "last_frame_at")

    @property
    def snapshot_seconds(self) -> float | None:
        """From the first byte of a snapshot that any shard took to the last snapshot applied."""
        return _span(self.shards, "snapshot_began_at", "snapshot_ended_at")

    def faults(self, failures: Mapping[int, str]) -> list[str]:
        """What is wrong by the shards' facts and the comparison. ``failures``: why a shard's process failed."""
        faults: list[str] = []
        if self.comparison is not None and not self.comparison.is_equal:
            faults.append(str(self.comparison))
        for shard in self.shards:
            at = shard.last.index
            facts = shard.facts
            if facts is None:
                why = failures.get(at)
                faults.append(
                    f"shard {at}: its process ended without reporting what it applied" + (f": {why}" if why else "")
                )
                continue
            if self.policy is None and (refused := _refused(shard, facts)):
                faults.append(f"shard {at}: the sink refused {refused[0]}, so the replica may differ{refused[1]}")
        return faults

    def left_out(self) -> list[str]:
        """What the replica lacks because a snapshot could not be read in full, and what could not be compared."""
        found: list[str] = []
        for shard in self.shards:
            facts = shard.facts
            if facts is None:
                continue
            lacks = list(facts.left_out)
            if not lacks and shard.skipped:
                lacks.append(figures.plural(shard.skipped, "key"))
            if not facts.left_out and shard.last.left_out_besides:
                lacks.append(figures.plural(shard.last.left_out_besides, "function library", "function libraries"))
            if lacks:
                found.append(f"shard {shard.last.index}: the snapshot was read without {' and '.join(lacks)}")
            elif shard.skipped is None:
                found.append(f"shard {shard.last.index}: the snapshot does not tell whether all of its keys were read")
            if self.policy is not None and (skipped := _refused(shard, facts)):
                kept = f"kept in {self.policy.path}" if self.policy.path else "skipped"
                found.append(f"shard {shard.last.index}: the sink refused {skipped[0]}, {kept}{skipped[1]}")
            if facts.refusals_on_skipped:
                refused = figures.plural(facts.refusals_on_skipped, "later command")
                found.append(f"shard {shard.last.index}: {refused} on skipped keys not applied")
        if isinstance(self.comparison, Verification) and self.comparison.not_compared:
            found.append(f"not compared: {self.comparison.not_compared}")
        return found


def _refused(shard: ShardOutcome, facts: ShardFacts) -> tuple[str, str] | None:
    """How many commands the sink refused, and the first one, in words; None: none."""
    # The facts are those of the last process only. The header counts the refusals of all processes.
    refusals = (shard.last.refusals if shard.restarts else facts.refusals) - facts.refusals_on_skipped
    if not refusals:
        return None
    first = f", the first: {facts.first_refusal}" if facts.first_refusal else ""
    return figures.plural(refusals, "command"), first


def _span(shards: Sequence[ShardOutcome], first: str, last: str) -> float | None:
    facts: list[Any] = [shard.facts for shard in shards if shard.facts is not None]
    begun = [at for fact in facts if (at := getattr(fact, first)) is not None]
    ended = [at for fact in facts if (at := getattr(fact, last)) is not None]
    return max(ended) - min(begun) if begun and ended and max(ended) > min(begun) else None
