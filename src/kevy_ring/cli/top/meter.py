"""What top knows of each ring: the last look, rates over a second, and the history for its sparkline."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.segment import Segment

from kevy_ring.cli.rates import NO_RATES, RateMeter, Rates
from kevy_ring.ring import RingStats
from kevy_ring.ring.outside.watch import RingLook

#: Looks in the sparkline of an opened ring, and in that of a row.
HISTORY = 120
SPARK_LOOKS = 12
#: A ring that is gone stays in the list for this long, marked as gone.
GONE_SHOWN_S = 5.0


@dataclass(slots=True, eq=False)
class TopRing:
    """One ring as it is shown.

    ``stats``: the last header that was read. ``gone_at``: when the ring was missing first; None: it exists.
    ``history``: events in per second, one number for each look, the newest last. ``is_quiet``: no counter has changed
    for so long that only ages change on the screen. ``drawn``, ``drawn_at`` and ``row`` belong to the screen, which
    shows them now.
    """

    name: str
    stats: RingStats | None = None
    fault: str | None = None
    gone_at: float | None = None
    rates: Rates = NO_RATES
    meter: RateMeter = field(default_factory=RateMeter)
    history: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=SPARK_LOOKS))
    drawn: object = None
    drawn_at: float = float("-inf")
    row: list[Segment] = field(default_factory=list)
    is_quiet: bool = False


class TopMeter:
    """Turns looks into rings with rates."""

    def __init__(self) -> None:
        self._rings: dict[str, TopRing] = {}

    def take(self, looks: Sequence[RingLook], now: float) -> list[TopRing]:
        """All rings by name, with those that went lately. ``now``: seconds of a monotonic clock."""
        there = set()
        for look in looks:
            there.add(look.name)
            ring = self._rings.get(look.name)
            if ring is None:
                ring = self._rings[look.name] = TopRing(look.name)
            _take_look(ring, look, now)
        for name in self._rings.keys() - there:
            ring = self._rings[name]
            if ring.gone_at is None:
                ring.gone_at, ring.rates = now, NO_RATES
                ring.meter.forget()
            elif now - ring.gone_at >= GONE_SHOWN_S:
                del self._rings[name]
        return [self._rings[name] for name in sorted(self._rings)]


def _take_look(ring: TopRing, look: RingLook, now: float) -> None:
    meter = ring.meter
    ring.gone_at, ring.fault, ring.is_quiet = None, look.fault, False
    if look.stats is None or look.fault is not None:
        ring.stats = look.stats or ring.stats
        ring.rates = NO_RATES
        meter.forget()
        return
    ring.stats = look.stats
    if meter.take(look.stats, now):
        ring.history.clear()
        ring.recent.clear()
    elif meter.last_in_events is not None:
        ring.history.append(meter.last_in_events)
        ring.recent.append(meter.last_in_events)
    ring.rates = meter.rates
    ring.is_quiet = meter.still_looks > SPARK_LOOKS and meter.rates is NO_RATES
