"""Compares what a sink that keeps nothing has counted, and its CRC-32, with what the embedded upstream has sent."""

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
    """``frames``: whose digests were compared. ``faults``: what is not the same, in words."""

    frames: int = 0
    frame_bytes: int = 0
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
    """Compare each shard's frames since its last snapshot; the upstream's are generated once more from its seed."""
    began = time.monotonic()
    result = DigestComparison()
    for shard, (fact, count) in enumerate(zip(facts, counts, strict=True)):
        pulse()
        start = fact.first_offset
        expected, digest = primary.frame_digest(shard, start)
        first = primary.first_offset(shard) if start is None else start
        end = -1 if count.applied_offset is None else count.applied_offset
        counted = end - first + 1 if start is not None else 0
        # Frames from before a second snapshot are counted too, and are in no digest.
        if counted != expected or (count.snapshots <= 1 and count.frames != expected):
            fault = f"shard {shard} took {figures.plural(count.frames, 'frame')} where the upstream sent {expected:,}"
            result.faults.append(fault)
        elif fact.digest != digest:
            result.faults.append(f"shard {shard}: the CRC-32 over its frames is not the upstream's")
        result.frames += expected
        result.frame_bytes += count.frame_bytes
    result.seconds = time.monotonic() - began
    return result
