"""Keeps a counter from falling when the process or the ring that it comes from is replaced under the same name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from kevy_ring.inbox.header_words import ConsumerWord
from kevy_ring.metrics.figures import FIGURES, Figure, MetricKind, Values
from kevy_ring.ring import RingStats

#: These words begin again at 0 with each shard process.
_OF_ONE_PROCESS = slice(ConsumerWord.FRAMES, ConsumerWord.SNAPSHOTS + 1)
_COUNTERS = [figure for figure in FIGURES if figure.kind is MetricKind.COUNTER]
_Key = tuple[str, tuple[str, ...]]


class CarriedCounts:
    """What the counters of a ring's name had reached before its ring, or its shard process, was replaced.

    Prometheus takes a counter that falls for one that was reset. But a counter that starts again and reaches the same
    value before the next scrape looks as if nothing had happened: one full sync of an old ring and one of the new.
    """

    def __init__(self) -> None:
        self._last: dict[str, RingStats] = {}
        self._before: dict[str, defaultdict[_Key, float]] = {}
        self._epochs: dict[str, int] = {}  # of the shard process whose counts began at 0

    def look(self, stats: RingStats) -> None:
        """Take a look at a ring. A replacement counts with the values of the look before it."""
        last, self._last[stats.name] = self._last.get(stats.name), stats
        if last is None:
            self._epochs[stats.name] = stats.consumer.epoch
        elif last.created_unix_s != stats.created_unix_s:
            self._carry(last, None)
            self._epochs[stats.name] = stats.consumer.epoch
        elif stats.consumer.epoch != self._epochs[stats.name] and _has_fallen(last, stats):
            self._carry(last, stats)
            self._epochs[stats.name] = stats.consumer.epoch

    def values(self, figure: Figure, stats: RingStats) -> Values:
        """The values of a figure, with what the name had reached before. A gauge is not changed."""
        carried = self._before.get(stats.name)
        if carried is None or figure.kind is not MetricKind.COUNTER:
            return figure.values(stats)
        found = {labels: value for (name, labels), value in carried.items() if name == figure.name}
        for labels, value in figure.values(stats):
            found[labels] = found.get(labels, 0.0) + value
        return found.items()

    def forget_all_but(self, names: Iterable[str]) -> None:
        """Drop the rings that are gone."""
        for name in self._last.keys() - set(names):
            del self._last[name], self._epochs[name]
            self._before.pop(name, None)

    def _carry(self, old: RingStats, new: RingStats | None) -> None:
        """Add the old counts. ``new``: the ring is the same, so only the counts that are lower now were reset."""
        carried = self._before.setdefault(old.name, defaultdict(float))
        for figure in _COUNTERS:
            now = dict(figure.values(new)) if new is not None else {}
            for labels, value in figure.values(old):
                if new is None or now.get(labels, 0) < value:
                    carried[figure.name, labels] += value


def _has_fallen(last: RingStats, now: RingStats) -> bool:
    before, after = last.consumer_words[_OF_ONE_PROCESS], now.consumer_words[_OF_ONE_PROCESS]
    return any(new < old for old, new in zip(before, after, strict=True))
