"""How long records lie in a ring: counts that the core keeps in the header, of one record in 1,024."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from math import inf

from kevy_ring._core import ffi, lib
from kevy_ring.ring.segment import Segment

#: Upper bounds of the counts, in seconds, from a microsecond to a hundred seconds.
TIME_BOUNDS_S: tuple[float, ...] = tuple(ns / 1e9 for ns in lib.kr_time_bounds_ns)


@dataclass(frozen=True, slots=True)
class TimeInRing:
    """From the publish of a record to the moment its space was given back, since the ring was made.

    One record in 1,024 is measured, and the first of each producer; none while 64 of the measured wait in the ring.
    ``counts``: how many took at most ``TIME_BOUNDS_S[i]`` and more than the bound before; the last count is of those
    beyond all bounds. ``total_s``: the sum of their times. ``oldest_age_s``: for how long the oldest of the measured
    records that are still in the ring has been there; None where there is none.
    """

    counts: tuple[int, ...]
    total_s: float
    oldest_age_s: float | None

    @property
    def measured(self) -> int:
        """How many records were measured."""
        return sum(self.counts)

    def quantile(self, q: float) -> float | None:
        """The bound in seconds that a part ``q`` of the measured records did not pass; None before the first.

        Infinite where it lies beyond all bounds. Raises :class:`ValueError` for a ``q`` that is not from 0 to 1.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile is between 0 and 1: {q}")
        if not self.measured:
            return None
        reached = (bound for bound, below in self.cumulative() if below and below >= q * self.measured)
        return next(reached, inf)

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Each bound, and infinity, with the number of records that took no longer."""
        yield from zip((*TIME_BOUNDS_S, inf), accumulate(self.counts), strict=True)


def read_time_in_ring(segment: Segment) -> TimeInRing:
    """The counts of a mapped segment, which both sides may be changing."""
    raw = ffi.new("kr_times *")
    lib.kr_map_times(segment.map, raw)
    oldest = max(0, raw.now_ns - raw.oldest_ns) / 1e9 if raw.oldest_ns else None
    return TimeInRing(tuple(raw.counts), raw.total_ns / 1e9, oldest)
