"""The options of an embedded upstream: one object from the caller to the serving process."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from kevy_ring.testing.downlink import PROTOCOLS
from kevy_ring.testing.workload import Workload

DEFAULT_BACKLOG_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class PrimaryOptions:
    """The keys, the live frames and the ports of an embedded upstream.

    ``keys`` (in the first snapshot), ``ops`` (live frames), ``rate`` (frames per second, None: as fast as the replicas
    take them) and ``big_values`` (1 MiB each) are totals, divided over the shards; ``backlog_bytes`` is per shard.
    ``value_bytes``: of a usual value. ``seed``: the same seed makes the same keys and frames.
    ``protocol``: 1 or 2 to speak only that one, None for both. ``port``: the first of ``shards`` consecutive ports, 0
    for any. ``auto_live``: the live frames start when every shard has a synced replica, else with ``start_live``.
    Raises ValueError for an invalid value.
    """

    shards: int = 2
    keys: int = 50_000
    ops: int = 500_000
    _: KW_ONLY
    rate: float | None = None
    value_bytes: int = 64
    seed: int = 1
    big_values: int = 3
    backlog_bytes: int = DEFAULT_BACKLOG_BYTES
    protocol: int | None = None
    port: int = 0
    auto_live: bool = True

    def __post_init__(self) -> None:
        if self.protocol is not None and self.protocol not in PROTOCOLS:
            raise ValueError(f"protocol {self.protocol} is not one of {PROTOCOLS}")
        if self.shards < 1:
            raise ValueError("an upstream needs at least one shard")
        if self.rate is not None and not self.rate > 0:
            raise ValueError("a rate must be more than 0 frames per second")
        if self.backlog_bytes <= 0:
            raise ValueError("a backlog needs room for at least one byte")
        self.workloads()

    @property
    def protocols(self) -> tuple[int, ...]:
        """The protocols that the upstream accepts."""
        return PROTOCOLS if self.protocol is None else (self.protocol,)

    def workloads(self) -> list[Workload]:
        """The workload of each shard. Raises ValueError for invalid numbers."""
        numbers = (self.shards, self.keys, self.ops, self.value_bytes, self.seed, self.big_values)
        return [Workload(shard, *numbers) for shard in range(self.shards)]
