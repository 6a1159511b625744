"""The collector that prometheus-client calls at each scrape. It reads the headers of the rings."""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import isinf

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from kevy_ring import __version__
from kevy_ring.metrics.carried_counts import CarriedCounts
from kevy_ring.metrics.figures import FIGURES, Figure, MetricKind
from kevy_ring.replica.apply_lag import ApplyLag, ApplyLagWatch
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
    of = f"rings whose names begin with {prefix!r}"
    return RingCollector(lambda name: name.startswith(prefix), wanted=wanted, of=of)


class RingCollector(Collector):
    """Made by :func:`collector`. It takes no role and writes into no ring. Several threads may use it.

    ``is_named``: only rings for whose names it is true. No other ring is mapped. ``of``: the same in words.
    """

    def __init__(
        self,
        is_named: Callable[[str], bool],
        *,
        wanted: Callable[[RingStats], bool] | None = None,
        of: str = "some rings",
    ) -> None:
        self._wanted, self._of = wanted, of
        self._watch = RingWatch(is_named, rescan_min_s=0)
        self._lags = ApplyLagWatch()
        self._counts = CarriedCounts()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<RingCollector of {self._of}>"

    def describe(self) -> list[Metric]:
        """All families, without samples. A registry uses their names to refuse a second collector."""
        return [*_about_all([]), *(_family(figure) for figure in FIGURES), *_about_times({}), _about_lags({}, {})]

    def sample(self, rings: Iterable[RingStats] | None = None) -> None:
        """Look at the rings between two scrapes, for the ages of events and the counts of rings that are replaced.

        Without it, ``kevy_ring_apply_lag_seconds`` can be too low by the time between two scrapes. Once a second is
        usual. ``rings``: the headers, if the caller has just read them.
        """
        with self._lock:
            if rings is None:
                rings = [stats for look in self._looks() if (stats := _sound(look)) is not None]
            self._take(list(rings))

    def collect(self) -> Iterator[Metric]:
        """Returns the figures of all rings now. A ring that cannot be read counts as corrupt and raises nothing."""
        with self._lock:
            families = self._families()
        yield from families

    def close(self) -> None:
        """Unmap the rings. The next scrape maps them again."""
        with self._lock:
            self._watch.close()

    def _looks(self) -> list[RingLook]:
        looks = self._watch.look()
        if self._wanted is not None:
            wanted = self._wanted
            looks = [look for look in looks if look.stats is not None and wanted(look.stats)]
        return looks

    def _take(self, rings: list[RingStats]) -> dict[str, ApplyLag]:
        for stats in rings:
            self._counts.look(stats)
        return self._lags.look(rings)

    def _families(self) -> list[Metric]:
        looks = self._looks()
        sound = [stats for look in looks if (stats := _sound(look)) is not None]
        lags = self._take(sound)
        self._lags.forget_all_but(lags)
        self._counts.forget_all_but(lags)
        times = {stats.name: self._watch.time_in_ring(stats.name) for stats in sound}
        families = _about_all(looks)
        for figure in FIGURES:
            family = _family(figure)
            for stats in sound:
                for labels, value in self._counts.values(figure, stats):
                    family.add_metric([stats.name, *labels], value)
            families.append(family)
        return [*families, *_about_times(times), _about_lags(lags, times)]


def _sound(look: RingLook) -> RingStats | None:
    return look.stats if look.fault is None else None


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


def _about_lags(lags: Mapping[str, ApplyLag], times: Mapping[str, TimeInRing | None]) -> Metric:
    family = GaugeMetricFamily(
        "kevy_ring_apply_lag_seconds",
        "Seconds since the oldest event that is received and not applied was received; 0 if there is none.",
        labels=["ring"],
    )
    for name, lag in lags.items():
        spent = times.get(name)
        # A record with a time stamp may be older than the first look at the ring.
        stamped_s = spent.oldest_age_s or 0.0 if spent is not None else 0.0
        family.add_metric([name], max(lag.at_least_s, stamped_s))
    return family


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
