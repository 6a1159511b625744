"""A shard that takes all that waits for it."""

from __future__ import annotations

from kevy_ring.shard import Shard


def drain(shard: Shard) -> int:
    """Tick until nothing is left; how many events there were."""
    total = 0
    while count := shard.tick():
        total += count
    return total
