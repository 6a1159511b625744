"""The collector: what prometheus-client asks at each scrape, answered from the headers of the rings."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from kevy_ring import __version__
from kevy_ring.metrics.figures import FIGURES, Figure, MetricKind
from kevy_ring.metrics.time_in_ring import BOUNDS_S, SAMPLE_EVERY_S, TimeInRing
from kevy_ring.ring import RingStats
from kevy_ring.ring.ring_watch import RingLook, RingWatch


def collector(
    prefix: str = "",
    *,
    wanted: Callable[[RingStats], bool] | None = None,
    sample_every_s: float | None = SAMPLE_EVERY_S,
) -> RingCollector:
    """A collector over all rings of this machine whose names begin with ``prefix``, whoever lives in them.

    ``wanted``: only those for which it is true. ``sample_every_s``: how often the time that records spend in a ring is
    looked at, from a thread that starts with the first scrape; None: never. Register it with a registry of
    prometheus-client; one process of a machine is enough.
    """
    return RingCollector(prefix, wanted=wanted, sample_every_s=sample_every_s)


class RingCollector(Collector):
    """See :func:`collector`. Takes no role and writes nothing; scrapes may come from several threads."""

    def __init__(
        self, prefix: str, *, wanted: Callable[[RingStats], bool] | None, sample_every_s: float | None
    ) -> None:
        if sample_every_s is not None and not sample_every_s > 0:
            raise ValueError(f"looks are some time apart: {sample_every_s}")
        self._wanted = wanted
        self._watch = RingWatch(lambda name: name.startswith(prefix), rescan_min_s=0)
        self._lock = threading.Lock()
        self._times: TimeInRing | None = None
        if sample_every_s is not None:
            self._times = TimeInRing(lambda name: name.startswith(prefix), sample_every_s)

    def describe(self) -> list[Metric]:
        """All families, without a sample: two collectors in one registry are refused."""
        return [*_about_all([]), *(_family(figure) for figure in FIGURES), *self._families_of_times([])]

    def collect(self) -> Iterator[Metric]:
        """Look at all rings now. A ring that cannot be read counts as corrupt; nothing is raised for it."""
        if self._times is not None:
            self._times.start()
        with self._lock:
            looks = self._watch.look()
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
        yield from self._families_of_times(sound)

    def close(self) -> None:
        """End the thread and let go of the rings."""
        if self._times is not None:
            self._times.close()
        with self._lock:
            self._watch.close()

    def _families_of_times(self, sound: list[RingStats]) -> list[Metric]:
        if self._times is None:
            return []
        spent = HistogramMetricFamily(
            "kevy_ring_time_in_ring_seconds",
            "How long a record lay in the ring, of one record at most for each look from outside.",
            labels=["ring"],
        )
        waiting = GaugeMetricFamily(
            "kevy_ring_oldest_record_age_seconds",
            "For how long the oldest record seen in the ring has waited, 0 without one.",
            labels=["ring"],
        )
        now = time.monotonic()
        for stats in sound:
            times = self._times.times(stats.name)
            if times is None:
                continue
            buckets, below = [], 0
            for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), times.counts, strict=True):
                below += count
                buckets.append((bound, below))
            spent.add_metric([stats.name], buckets, times.total_s)
            waiting.add_metric([stats.name], 0.0 if times.waiting_since is None else now - times.waiting_since)
        return [spent, waiting]


def _about_all(looks: list[RingLook]) -> list[Metric]:
    build = GaugeMetricFamily("kevy_ring_build_info", "1; the versions that these figures come from.",
                              labels=["version", "python"])  # fmt: skip
    build.add_metric([__version__, platform.python_version()], 1)
    corrupt = GaugeMetricFamily(
        "kevy_ring_corrupt", "1 for a ring whose header cannot be read or contradicts itself.", labels=["ring"]
    )
    for look in looks:
        corrupt.add_metric([look.name], float(look.fault is not None))
    return [build, corrupt]


def _family(figure: Figure) -> CounterMetricFamily | GaugeMetricFamily:
    labels = ["ring", *figure.labels]
    if figure.kind is MetricKind.COUNTER:
        return CounterMetricFamily(figure.name, figure.help, labels=labels)
    return GaugeMetricFamily(figure.name, figure.help, labels=labels)
