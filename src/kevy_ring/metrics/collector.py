"""The collector that prometheus-client calls at each scrape. It reads the headers of the rings."""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable, Iterator, Mapping
from math import isinf

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from kevy_ring import __version__
from kevy_ring.metrics.figures import FIGURES, Figure, MetricKind
from kevy_ring.ring import RingStats, TimeInRing
from kevy_ring.ring.outside.watch import RingLook, RingWatch


def collector(
    prefix: str = "",
    *,
    wanted: Callable[[RingStats], bool] | None = None,
) -> RingCollector:
    """A collector of all rings of this machine whose names begin with ``prefix``, whichever processes use them.

    ``wanted``: if given, only the rings for which it returns True. Register the collector with a registry of
    prometheus-client. One process per machine is enough. Raises ModuleNotFoundError at its import if that package is
    missing (extra ``metrics``).

        registry.register(collector("orders-"))
    """
    return RingCollector(prefix, wanted=wanted)


class RingCollector(Collector):
    """Made by :func:`collector`, which explains ``prefix`` and ``wanted``. Several threads may scrape.

    It takes no role and writes into no ring.
    """

    def __init__(self, prefix: str, *, wanted: Callable[[RingStats], bool] | None) -> None:
        self._prefix, self._wanted = prefix, wanted
        self._watch = RingWatch(lambda name: name.startswith(prefix), rescan_min_s=0)
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<RingCollector of rings whose names begin with {self._prefix!r}>"

    def describe(self) -> list[Metric]:
        """All families, without samples. A registry uses their names to refuse a second collector."""
        return [*_about_all([]), *(_family(figure) for figure in FIGURES), *_about_times({})]

    def collect(self) -> Iterator[Metric]:
        """Returns the figures of all rings now. A ring that cannot be read counts as corrupt and raises nothing."""
        with self._lock:
            looks = self._watch.look()
            times = {look.name: self._watch.time_in_ring(look.name) for look in looks if look.fault is None}
        if self._wanted is not None:
            wanted = self._wanted
            looks = [look for look in looks if look.stats is not None and wanted(look.stats)]
        sound = [look.stats for look in looks if look.stats is not None and look.fault is None]
        yield from _about_all(looks)
        for figure in FIGURES:
            family = _family(figure)
            for stats in sound:
                for labels, value in figure.values(stats):
                    family.add_metric([stats.name, *labels], value)
            yield family
        yield from _about_times({stats.name: times[stats.name] for stats in sound})

    def close(self) -> None:
        """Unmap the rings. The next scrape maps them again."""
        with self._lock:
            self._watch.close()


def _about_times(times: Mapping[str, TimeInRing | None]) -> list[Metric]:
    spent = HistogramMetricFamily(
        "kevy_ring_time_in_ring_seconds",
        "Seconds from the publish of a record to its release, measured for one record in 1,024.",
        labels=["ring"],
    )
    waiting = GaugeMetricFamily(
        "kevy_ring_oldest_record_age_seconds",
        "Seconds that the oldest measured record (one in 1,024) in the ring has waited; absent if none waits.",
        labels=["ring"],
    )
    for name, found in times.items():
        if found is None:
            continue
        spent.add_metric([name], [(_le(bound), below) for bound, below in found.cumulative()], found.total_s)
        if found.oldest_age_s is not None:
            waiting.add_metric([name], found.oldest_age_s)
    return [spent, waiting]


def _le(bound: float) -> str:
    return "+Inf" if isinf(bound) else repr(bound)


def _about_all(looks: list[RingLook]) -> list[Metric]:
    build = GaugeMetricFamily("kevy_ring_build_info", "Always 1; the labels are the versions of kevy-ring and Python.",
                              labels=["version", "python"])  # fmt: skip
    build.add_metric([__version__, platform.python_version()], 1)
    corrupt = GaugeMetricFamily(
        "kevy_ring_corrupt", "1 if the ring's header cannot be read or contradicts itself, else 0.", labels=["ring"]
    )
    for look in looks:
        corrupt.add_metric([look.name], float(look.fault is not None))
    return [build, corrupt]


def _family(figure: Figure) -> CounterMetricFamily | GaugeMetricFamily:
    labels = ["ring", *figure.labels]
    if figure.kind is MetricKind.COUNTER:
        return CounterMetricFamily(figure.name, figure.help, labels=labels)
    return GaugeMetricFamily(figure.name, figure.help, labels=labels)
