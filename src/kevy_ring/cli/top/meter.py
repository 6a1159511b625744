"""What top knows of each ring: its last look, rates over a second, and the history that its sparkline draws."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rich.segment import Segment

from kevy_ring.ring import RingStats
from kevy_ring.ring.outside.watch import RingLook

#: Rates are means over about this long.
RATE_WINDOW_S = 1.0
#: Looks that the sparkline of an opened ring can show, and that of a line.
HISTORY = 120
SPARK_LOOKS = 12
#: A ring that has gone stays in the list for this long, marked so.
GONE_SHOWN_S = 5.0


class TopRates(NamedTuple):
    """Per second. In: what was sent, into the ring or behind it; out: what was released; wakes: of both sides."""

    in_events: float = 0.0
    in_bytes: float = 0.0
    out_events: float = 0.0
    out_bytes: float = 0.0
    wakes: float = 0.0


NO_RATES = TopRates()


@dataclass(slots=True, eq=False)
class TopRing:
    """One ring as it is shown. ``stats`` is the last that was read; ``gone_at``: when it was missed, None: it is there.

    ``history``: events in per second, one number for each look, the newest last. ``is_quiet``: no counter has moved for
    so long that nothing but ages changes on the screen. ``drawn``, ``drawn_at`` and ``row`` are the screen's: what it
    shows already.
    """

    name: str
    stats: RingStats | None = None
    fault: str | None = None
    gone_at: float | None = None
    rates: TopRates = NO_RATES
    history: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=SPARK_LOOKS))
    still_looks: int = 0
    drawn: object = None
    drawn_at: float = float("-inf")
    row: list[Segment] = field(default_factory=list)
    is_quiet: bool = False
    past: deque[tuple[float, tuple[int, int, int, int, int]]] = field(default_factory=deque)

    @property
    def fill(self) -> float:
        """The part of the ring that is in use, 0 to 1."""
        return min(1.0, self.stats.used_bytes / self.stats.capacity) if self.stats else 0.0


class TopMeter:
    """Turns looks into rings with rates."""

    def __init__(self) -> None:
        self._rings: dict[str, TopRing] = {}

    def take(self, looks: Sequence[RingLook], now: float) -> list[TopRing]:
        """All rings, by name, those lately gone too. ``now``: seconds of any clock that goes on evenly."""
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
                ring.past.clear()
            elif now - ring.gone_at >= GONE_SHOWN_S:
                del self._rings[name]
        return [self._rings[name] for name in sorted(self._rings)]


def _take_look(ring: TopRing, look: RingLook, now: float) -> None:
    before, stats = ring.stats, look.stats
    ring.gone_at, ring.fault, ring.is_quiet = None, look.fault, False
    if stats is None or look.fault is not None:
        ring.stats = stats or before
        ring.rates = NO_RATES
        ring.past.clear()
        return
    if before is not None and before.created_unix_s != stats.created_unix_s:
        ring.past.clear()  # another ring: its counters begin anew
        ring.history.clear()
        ring.recent.clear()
    ring.stats = stats
    counters = (
        stats.events_in + stats.overflow_events,
        stats.bytes_in + stats.overflow_bytes,
        stats.events_out,
        stats.bytes_out,
        stats.data_wakes + stats.space_wakes,
    )
    past = ring.past
    if past:
        then, last = past[-1]
        if now > then:
            rate = max(0.0, (counters[0] - last[0]) / (now - then))
            ring.history.append(rate)
            ring.recent.append(rate)
    ring.still_looks = ring.still_looks + 1 if past and past[-1][1] == counters else 0
    past.append((now, counters))
    while len(past) > 2 and now - past[1][0] >= RATE_WINDOW_S:
        past.popleft()
    then, first = past[0]
    if counters == first:
        ring.rates = NO_RATES
        ring.is_quiet = ring.still_looks > SPARK_LOOKS
    elif now > then:
        each = 1 / (now - then)
        ring.rates = TopRates(
            max(0, counters[0] - first[0]) * each,
            max(0, counters[1] - first[1]) * each,
            max(0, counters[2] - first[2]) * each,
            max(0, counters[3] - first[3]) * each,
            max(0, counters[4] - first[4]) * each,
        )
