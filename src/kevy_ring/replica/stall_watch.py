"""The stall watch: reports once that a full ring is no longer drained, with the facts that help to find out why."""

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

    ``ring``: its name. ``capacity``, ``used_bytes``, ``overflow_events`` and ``overflow_bytes``: as in its header.
    ``pid`` and ``process``: the consumer's process and its state. They are 0 and None while no process has taken the
    role; ``process`` is GONE after its holder has ended. ``drain_age_s``: since the last drain, None before the first.
    ``growth_bytes_per_s``: of the bytes in the ring and the overflow. ``memory_left_bytes``: what the producer's
    process can still take, None if unknown. ``ended_after_s``: None during the stall, afterwards how long it lasted.
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
        """Seconds until the overflow takes all memory, at this growth; None: it does not grow, or that is unknown."""
        if self.memory_left_bytes is None or self.growth_bytes_per_s < 1:
            return None
        return self.memory_left_bytes / self.growth_bytes_per_s

    def __str__(self) -> str:
        if self.ended_after_s is not None:
            waiting = f"{_size(self.used_bytes)} and {_size(self.overflow_bytes)} of overflow still wait"
            return f"ring {self.ring} is drained again, after {_time(self.ended_after_s)} (pid {self.pid}); {waiting}"
        drained = "was never drained" if self.drain_age_s is None else f"was not drained for {_time(self.drain_age_s)}"
        holder, remedy = "it has no consumer", "Start its consumer"
        if self.process:
            holder = f"its consumer, pid {self.pid}, is {self.process.value}"
            remedy = "Check the consumer's log, or restart it"
        parts = [
            f"ring {self.ring} is full and {drained}: {holder}",
            f"{_size(self.used_bytes)} of {_size(self.capacity)} in the ring, {_size(self.overflow_bytes)} of overflow "
            f"({self.overflow_events} events)",
        ]
        if self.growth_bytes_per_s >= 1:
            parts.append(f"growing by {_size(self.growth_bytes_per_s)}/s")
        if self.memory_ends_in_s is not None and self.memory_left_bytes is not None:
            parts.append(f"memory ends in {_time(self.memory_ends_in_s)} ({_size(self.memory_left_bytes)} are left)")
        return f"{'; '.join(parts)}. {remedy}: nothing is lost."


@dataclass(slots=True)
class _Seen:
    """What the watch remembers of a ring between two looks."""

    created_unix_s: float
    progress: tuple[int, int]
    full_hits: int  # at the last progress
    progress_at: float
    full_since: float | None = None
    reported: Stall | None = None
    waiting: deque[tuple[float, int]] = field(default_factory=deque)


class StallWatch:
    """Looks at the headers of rings, about once a second, and reports those that stall.

    A ring stalls if it is full and its consumer takes and releases nothing for ``after_s`` seconds. The watch logs one
    warning then and another one when the ring is drained again. It calls ``on_stall`` for both. A ring is full if its
    overflow holds something, or less than an eighth is free, or its producer found no room since the last drain.
    Raises ``ValueError`` unless ``after_s`` is more than 0.
    """

    def __init__(self, after_s: float = STALL_AFTER_S, *, on_stall: Callable[[Stall], None] | None = None) -> None:
        if not after_s > 0:
            raise ValueError(f"after_s must be more than 0, not {after_s}")
        self._after_s = after_s
        self._on_stall = on_stall
        self._seen: dict[str, _Seen] = {}

    def __repr__(self) -> str:
        return f"<StallWatch, after {self._after_s:g} s: {len(self._seen)} rings, {len(self.stalls)} stalled>"

    @property
    def stalls(self) -> list[Stall]:
        """The present stalls, as they were reported."""
        return [seen.reported for seen in self._seen.values() if seen.reported is not None]

    def look(self, rings: Iterable[RingStats], now: float | None = None) -> list[Stall]:
        """The stalls that began or ended since the last look.

        ``rings``: all rings; the watch forgets one that is missing. ``now``: monotonic seconds.
        """
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
            if seen.reported is not None:
                ended = replace(_stall(stats, 0.0), ended_after_s=now - seen.progress_at)
            seen.progress, seen.progress_at, seen.full_hits, seen.reported = progress, now, stats.full_hits, None
        if not is_full(stats, seen.full_hits):
            seen.full_since = None
            seen.waiting.clear()
            return ended
        if seen.full_since is None:
            seen.full_since = now
        seen.waiting.append((now, stats.used_bytes + stats.overflow_bytes))
        while len(seen.waiting) > 2 and now - seen.waiting[1][0] >= _GROWTH_WINDOW_S:
            seen.waiting.popleft()
        if seen.reported is None and now - max(seen.progress_at, seen.full_since) >= self._after_s:
            seen.reported = _stall(stats, _growth(seen.waiting))
            return seen.reported
        return ended


def is_full(stats: RingStats, full_hits_before: int | None = None) -> bool:
    """Whether a ring is too full to write to, according to its header.

    ``full_hits_before``: the producer's ``full_hits`` when the ring was last drained.
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
