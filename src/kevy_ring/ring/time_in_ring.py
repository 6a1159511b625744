"""How long records stay in a ring: the core measures one record in 1,024 and counts the times in the header."""

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
    """The time from the publish of a record to its release, counted since the ring was made.

    One record in 1,024 is measured, and the first of each producer; none while 64 measured records wait in the ring.
    ``counts[i]``: how many took at most ``TIME_BOUNDS_S[i]`` and more than the bound before; the last count is for
    times beyond all bounds. ``total_s``: the sum of all times. ``oldest_age_s``: the age of the oldest measured record
    that is still in the ring; None if there is none.
    """

    counts: tuple[int, ...]
    total_s: float
    oldest_age_s: float | None

    @property
    def measured(self) -> int:
        """How many records were measured."""
        return sum(self.counts)

    def quantile(self, q: float) -> float | None:
        """The lowest bound, in seconds, that at least a share ``q`` of the measured records did not exceed.

        None before the first measured record. Infinite if it is beyond all bounds. Raises ``ValueError`` for a ``q``
        outside 0 .. 1.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile is between 0 and 1, not {q}")
        if not self.measured:
            return None
        reached = (bound for bound, below in self.cumulative() if below and below >= q * self.measured)
        return next(reached, inf)

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Each bound, and infinity, with the number of measured records that took no longer."""
        yield from zip((*TIME_BOUNDS_S, inf), accumulate(self.counts), strict=True)


def read_time_in_ring(segment: Segment) -> TimeInRing:
    """Read the counts of a mapped segment. Both sides may change them meanwhile."""
    raw = ffi.new("kr_times *")
    lib.kr_map_times(segment.map, raw)
    oldest = max(0, raw.now_ns - raw.oldest_ns) / 1e9 if raw.oldest_ns else None
    return TimeInRing(tuple(raw.counts), raw.total_ns / 1e9, oldest)
