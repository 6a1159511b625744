"""Compares the counts and the CRC-32 of a sink that keeps nothing with what the embedded upstream has sent."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from kevy_ring.cli import figures
from kevy_ring.cli.compare.key_source import Pulse
from kevy_ring.cli.ingest.progress import ShardProgress
from kevy_ring.shard.shard_process import ShardFacts
from kevy_ring.testing import EmbeddedPrimary


@dataclass(slots=True)
class DigestComparison:
    """``frames``: the number of frames in the compared digests. ``faults``: the differences, as text."""

    frames: int = 0
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_equal(self) -> bool:
        return not self.faults

    def __str__(self) -> str:
        if self.faults:
            return self.faults[0]
        frames = figures.plural(self.frames, "frame")
        return f"{frames}: their number, and a CRC-32 over every byte in order, are the upstream's"


def compare_digests(
    primary: EmbeddedPrimary, facts: Sequence[ShardFacts], counts: Sequence[ShardProgress], pulse: Pulse
) -> DigestComparison:
    """Compare each shard's frames since its last snapshot. The upstream generates its frames again from its seed."""
    began = time.monotonic()
    result = DigestComparison()
    for shard, (fact, count) in enumerate(zip(facts, counts, strict=True)):
        pulse()
        start = fact.first_offset
        expected, digest = primary.frame_digest(shard, start)
        first = primary.first_offset(shard) if start is None else start
        end = -1 if count.applied_offset is None else count.applied_offset
        counted = end - first + 1 if start is not None else 0
        # ``count.frames`` also counts frames before a second snapshot. They are in no digest.
        if counted != expected or (count.snapshots <= 1 and count.frames != expected):
            fault = f"shard {shard} took {figures.plural(count.frames, 'frame')}, but the upstream sent {expected:,}"
            result.faults.append(fault)
        elif fact.digest != digest:
            result.faults.append(f"shard {shard}: the CRC-32 over its frames is not the upstream's")
        result.frames += expected
    result.seconds = time.monotonic() - began
    return result
