"""The stall watch: says once when a full ring is not drained any more, with all that helps to find out why."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kevy_ring.replica.memory_left import memory_left

if TYPE_CHECKING:
    from kevy_ring.ring import RingStats
    from kevy_ring.ring.outside.process_state import ProcessState

log = logging.getLogger(__name__)

STALL_AFTER_S = 10.0
#: Growth is the mean over about this long.
_GROWTH_WINDOW_S = 10.0
_SIZES = ("bytes", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True, slots=True)
class Stall:
    """A full ring that was not drained for a while.

    ``pid`` and ``process``: the consumer's process and what it is doing; 0 and None while no process has taken the
    role, ``process`` is GONE when its holder has ended. ``drain_age_s``: since the last drain, None before the first.
    ``growth_bytes_per_s``: of what waits, in the ring and behind it. ``memory_left_bytes``: what the producer's process
    may still take; None: unknown. ``ended_after_s``: None while it lasts, else how long nothing was drained.
    """

    ring: str
    pid: int
    process: ProcessState | None
    drain_age_s: float | None
    capacity: int
    used_bytes: int
    overflow_events: int
    overflow_bytes: int
    growth_bytes_per_s: float
    memory_left_bytes: int | None
    ended_after_s: float | None = None

    @property
    def memory_ends_in_s(self) -> float | None:
        """Until the overflow has taken all memory, at this growth; None: it does not grow, or that is unknown."""
        if self.memory_left_bytes is None or self.growth_bytes_per_s < 1:
            return None
        return self.memory_left_bytes / self.growth_bytes_per_s

    def __str__(self) -> str:
        if self.ended_after_s is not None:
            waiting = f"{_size(self.used_bytes)} and {_size(self.overflow_bytes)} of overflow wait"
            return f"ring {self.ring} is drained again, after {_time(self.ended_after_s)} (pid {self.pid}); {waiting}"
        drained = "was never drained" if self.drain_age_s is None else f"was not drained for {_time(self.drain_age_s)}"
        holder = f"its consumer, pid {self.pid}, is {self.process.value}" if self.process else "nobody reads from it"
        words = [
            f"ring {self.ring} is full and {drained}: {holder}",
            f"{_size(self.used_bytes)} of {_size(self.capacity)} in the ring, {_size(self.overflow_bytes)} of overflow "
            f"({self.overflow_events} events)",
        ]
        if self.growth_bytes_per_s >= 1:
            words.append(f"growing by {_size(self.growth_bytes_per_s)}/s")
        if self.memory_ends_in_s is not None and self.memory_left_bytes is not None:
            words.append(f"memory ends in {_time(self.memory_ends_in_s)} ({_size(self.memory_left_bytes)} are left)")
        return "; ".join(words)


@dataclass(slots=True)
class _Seen:
    """What is remembered of a ring between two looks."""

    created_unix_s: float
    progress: tuple[int, int]
    full_hits: int  # when it last made progress
    progress_at: float
    full_since: float | None = None
    told: Stall | None = None
    waiting: deque[tuple[float, int]] = field(default_factory=deque)


class StallWatch:
    """Is shown the headers of rings, about once a second, and tells which of them stall.

    A ring stalls when it was full, and nothing of it was taken or released, for ``after_s`` seconds. That is logged as
    one warning, and as another one when it is drained again; ``on_stall`` is called for both. Full: something waits
    behind it, or less than an eighth of it is free, or its producer found no room since it was last drained.
    """

    def __init__(self, after_s: float = STALL_AFTER_S, *, on_stall: Callable[[Stall], None] | None = None) -> None:
        if not after_s > 0:
            raise ValueError(f"a stall takes some time: {after_s}")
        self._after_s = after_s
        self._on_stall = on_stall
        self._seen: dict[str, _Seen] = {}

    @property
    def stalls(self) -> list[Stall]:
        """Those that last, as they were when they were told."""
        return [seen.told for seen in self._seen.values() if seen.told is not None]

    def look(self, rings: Iterable[RingStats], now: float | None = None) -> list[Stall]:
        """The stalls that began or ended. ``rings``: all of them, one that is missing is forgotten; ``now``: monotonic
        seconds."""
        now = time.monotonic() if now is None else now
        found: list[Stall] = []
        there = set()
        for stats in rings:
            there.add(stats.name)
            stall = self._look(stats, now)
            if stall is not None:
                found.append(stall)
        for name in self._seen.keys() - there:
            del self._seen[name]
        for stall in found:
            log.warning("%s", stall)
            if self._on_stall is not None:
                self._on_stall(stall)
        return found

    def _look(self, stats: RingStats, now: float) -> Stall | None:
        seen, progress = self._seen.get(stats.name), (stats.drains, stats.head)
        if seen is None or seen.created_unix_s != stats.created_unix_s:
            seen = self._seen[stats.name] = _Seen(stats.created_unix_s, progress, stats.full_hits, now)
        ended = None
        if seen.progress != progress:
            if seen.told is not None:
                ended = replace(_stall(stats, 0.0), ended_after_s=now - seen.progress_at)
            seen.progress, seen.progress_at, seen.full_hits, seen.told = progress, now, stats.full_hits, None
        if not is_full(stats, seen.full_hits):
            seen.full_since = None
            seen.waiting.clear()
            return ended
        if seen.full_since is None:
            seen.full_since = now
        seen.waiting.append((now, stats.used_bytes + stats.overflow_bytes))
        while len(seen.waiting) > 2 and now - seen.waiting[1][0] >= _GROWTH_WINDOW_S:
            seen.waiting.popleft()
        if seen.told is None and now - max(seen.progress_at, seen.full_since) >= self._after_s:
            seen.told = _stall(stats, _growth(seen.waiting))
            return seen.told
        return ended


def is_full(stats: RingStats, full_hits_before: int | None = None) -> bool:
    """Whether a ring is too full to be written to, as far as its header tells.

    ``full_hits_before``: the producer's count of having found no room, when the ring was last drained.
    """
    found_full = full_hits_before is not None and stats.full_hits > full_hits_before
    return stats.overflow_events > 0 or stats.used_bytes * 8 > stats.capacity * 7 or found_full


def _growth(waiting: deque[tuple[float, int]]) -> float:
    (then, before), (now, after) = waiting[0], waiting[-1]
    return max(0.0, (after - before) / (now - then)) if now > then else 0.0


def _stall(stats: RingStats, growth: float) -> Stall:
    from kevy_ring.ring import RoleState
    from kevy_ring.ring.outside.process_state import ProcessState, process_state

    consumer = stats.consumer
    process = None
    if consumer.state in (RoleState.DEAD, RoleState.CLOSED):
        process = ProcessState.GONE
    elif consumer.state is RoleState.ALIVE:
        process = process_state(consumer.pid)
    return Stall(
        ring=stats.name,
        pid=consumer.pid,
        process=process,
        drain_age_s=stats.last_drain_age_s,
        capacity=stats.capacity,
        used_bytes=stats.used_bytes,
        overflow_events=stats.overflow_events,
        overflow_bytes=stats.overflow_bytes,
        growth_bytes_per_s=growth,
        memory_left_bytes=memory_left(stats.producer.pid),
    )


def _size(number: float) -> str:
    for unit in _SIZES:
        if number < 1024 or unit == _SIZES[-1]:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1024
    raise AssertionError


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
