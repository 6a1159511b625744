"""How long records lie in a ring, seen from outside: a thread notes the tail, and looks when the head has passed it.

A record has no room for a time stamp, and neither side is to spend anything on it. So the figures are as coarse as the
looks: each is wrong by at most the time between two of them, and one record at most is measured for each look.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from kevy_ring.errors import SegmentError
from kevy_ring.ring.ring_watch import RingWatch

SAMPLE_EVERY_S = 0.01
#: Upper bounds in seconds; below the first nothing can be told apart by looks that are ten milliseconds apart.
BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
#: Tails that are remembered of one ring; where more are passed in vain, every second one is forgotten.
_NOTES_MAX = 512
_HALF = 1 << 63
_POSITIONS = 1 << 64


@dataclass(slots=True)
class Times:
    """What was measured of one ring. ``counts``: for each bound of ``BOUNDS_S``, and for what is longer, not summed up.

    ``waiting_since``: when the oldest tail was noted that the head has not passed; None: nothing waits.
    """

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    total_s: float = 0.0
    waiting_since: float | None = None

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.total_s += seconds


@dataclass(slots=True)
class _Notes:
    times: Times
    inode: int
    last_tail: int
    notes: deque[tuple[float, int]] = field(default_factory=deque)


class TimeInRing:
    """Looks at all rings for which ``wanted(name)`` is true, every ``every_s`` seconds, from a thread of its own."""

    def __init__(self, wanted: Callable[[str], bool], every_s: float = SAMPLE_EVERY_S) -> None:
        self._watch = RingWatch(wanted)
        self._every_s = every_s
        self._rings: dict[str, _Notes] = {}
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; a second call does nothing."""
        with self._lock:
            # A forked child has the object and not the thread.
            if (self._thread is None or not self._thread.is_alive()) and not self._end.is_set():
                self._thread = threading.Thread(target=self._run, name="kevy-ring-time-in-ring", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()
        self._watch.close()

    def times(self, name: str) -> Times | None:
        """What was measured so far; None: that ring was not looked at yet."""
        with self._lock:
            notes = self._rings.get(name)
            return None if notes is None else Times(list(notes.times.counts), notes.times.total_s, _since(notes))

    def look(self, now: float) -> None:
        """Look once, at ``now`` monotonic seconds; the thread does it."""
        positions = self._watch.positions()
        with self._lock:
            for name, inode, head, tail in positions:
                notes = self._rings.get(name)
                if notes is None or notes.inode != inode:
                    self._rings[name] = _Notes(Times(), inode, tail)
                elif notes.notes or tail != notes.last_tail:
                    _note(notes, head, tail, now)
            if len(self._rings) > len(positions):
                there = {name for name, *_ in positions}
                self._rings = {name: notes for name, notes in self._rings.items() if name in there}

    def _run(self) -> None:
        while not self._end.wait(self._every_s):
            try:
                self.look(time.monotonic())
            except SegmentError:  # no shared memory: there is nothing to be looked at
                self._end.wait(1.0)


def _note(ring: _Notes, head: int, tail: int, now: float) -> None:
    notes = ring.notes
    while notes and (head - notes[0][1]) % _POSITIONS < _HALF:
        ring.times.observe(now - notes.popleft()[0])
    if tail == ring.last_tail:
        return
    ring.last_tail = tail
    if head == tail:
        ring.times.observe(0.0)  # came and went between two looks
        return
    if len(notes) >= _NOTES_MAX:
        ring.notes = notes = deque(note for number, note in enumerate(notes) if number % 2 == 0)
    notes.append((now, tail))


def _since(ring: _Notes) -> float | None:
    return ring.notes[0][0] if ring.notes else None
