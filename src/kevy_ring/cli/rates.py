"""The rates of a ring over the last second, from looks at its header."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from kevy_ring.ring import RingStats

#: Rates are means over about this long: long enough to be steady, short enough to be current.
RATE_WINDOW_S = 1.0


class Rates(NamedTuple):
    """Per second. In: sent, into the ring or into the overflow. Out: released. Wakes: of both sides.

    Bytes are those of the ring's records, with their headers.
    """

    in_events: float = 0.0
    in_bytes: float = 0.0
    out_events: float = 0.0
    out_bytes: float = 0.0
    wakes: float = 0.0


NO_RATES = Rates()


class RateMeter:
    """Turns looks at one ring into rates.

    ``rates``: over the last second. ``still_looks``: the number of looks since a count changed. ``last_in_events``:
    events in per second between the last two looks; None before the second look.
    """

    __slots__ = ("_created", "_past", "last_in_events", "rates", "still_looks")

    def __init__(self) -> None:
        self._created = 0.0
        self._past: deque[tuple[float, tuple[int, int, int, int, int]]] = deque()
        self.forget()

    def forget(self) -> None:
        """Start again: the ring is gone or cannot be read."""
        self._past.clear()
        self.rates = NO_RATES
        self.last_in_events: float | None = None
        self.still_looks = 0

    def take(self, stats: RingStats, now: float) -> bool:
        """Take a look. ``now``: seconds of a monotonic clock. True: it is a new ring, with new counters."""
        is_another = stats.created_unix_s != self._created
        if is_another:
            self.forget()
            self._created = stats.created_unix_s
        counts = (
            stats.events_in + stats.overflow_events,
            stats.bytes_in + stats.overflow_bytes,
            stats.events_out,
            stats.bytes_out,
            stats.data_wakes + stats.space_wakes,
        )
        past = self._past
        if past:
            then, last = past[-1]
            self.still_looks = self.still_looks + 1 if last == counts else 0
            if now > then:
                self.last_in_events = max(0.0, (counts[0] - last[0]) / (now - then))
        past.append((now, counts))
        while len(past) > 2 and now - past[1][0] >= RATE_WINDOW_S:
            past.popleft()
        then, first = past[0]
        if counts == first:
            self.rates = NO_RATES
        elif now > then:
            self.rates = Rates(
                *[max(0, count - before) / (now - then) for count, before in zip(counts, first, strict=True)]
            )
        return is_another
