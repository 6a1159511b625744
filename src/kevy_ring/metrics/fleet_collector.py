"""The collector of what only the process of a fleet knows: restarts, and what upstreams refused."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from kevy_ring.errors import RefusalKind
from kevy_ring.inbox.header_words import LinkState
from kevy_ring.replica.fleet import FleetEvent, FleetEventKind, Role, ShardStatus

_ATTEMPTS = (LinkState.CONNECTING, LinkState.HANDSHAKE)


class FleetCollector(Collector):
    """Counts from the events and the status of one fleet, since the fleet began. A process that dies resets none.

    The fleet's thread calls ``happened`` with each event and ``looked`` with ``Fleet.status()``. Any thread may scrape.

        counts = FleetCollector()
        registry.register(counts)
        fleet = Fleet(url, shard_main, on_event=counts.happened)  # and counts.looked(fleet.status()) once a second
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.began()

    def began(self) -> None:
        """Another fleet begins: its counts start at 0, with other rings."""
        with self._lock:
            self._restarts: dict[str, tuple[int, int]] = {}
            self._rings: dict[int, str] = {}
            self._refusals: Counter[tuple[int, RefusalKind]] = Counter()
            self._attempts: set[int] = set()  # shards whose present attempt has no outcome yet

    def happened(self, event: FleetEvent) -> None:
        """Count the refused attempt of ``event``, if it is one.

        A runner repeats its reason while it waits; that is no other attempt.
        """
        if event.kind is not FleetEventKind.LINK:
            return
        with self._lock:
            if event.link_state in _ATTEMPTS:
                self._attempts.add(event.shard)
            elif event.refusal is not None and event.shard in self._attempts:
                self._attempts.discard(event.shard)
                self._refusals[event.shard, event.refusal.kind] += 1

    def looked(self, shards: Sequence[ShardStatus]) -> None:
        """Take the status of all ``shards``, as :meth:`Fleet.status` gives it."""
        with self._lock:
            self._rings = {shard.index: shard.ring.name for shard in shards if shard.ring is not None}
            self._restarts = {
                shard.ring.name: (shard.runner_restarts, shard.shard_restarts)
                for shard in shards
                if shard.ring is not None
            }

    def describe(self) -> list[Metric]:
        """The metrics without values, which a registry asks for when the collector is registered."""
        return list(_families())

    def collect(self) -> Iterator[Metric]:
        """The metrics with their present values. A registry calls this at each scrape."""
        restarts, refusals = _families()
        with self._lock:
            for ring, (runner, shard) in self._restarts.items():
                restarts.add_metric([ring, Role.RUNNER.value], runner)
                restarts.add_metric([ring, Role.SHARD.value], shard)
            for index, ring in self._rings.items():
                for kind in RefusalKind:
                    refusals.add_metric([ring, kind.value], self._refusals[index, kind])
        yield restarts
        yield refusals


def _families() -> tuple[CounterMetricFamily, CounterMetricFamily]:
    restarts = CounterMetricFamily(
        "kevy_ring_restarts_total",
        "How often a process of the fleet was replaced, since the command began.",
        labels=["ring", "role"],
    )
    refusals = CounterMetricFamily(
        "kevy_ring_refusals_total",
        "Attempts to follow the upstream that it refused, since the command began, by reason.",
        labels=["ring", "reason"],
    )
    return restarts, refusals
