"""How long the oldest event that a ring's runner received has waited to be applied, from repeated looks at the header.

Few records have a time stamp. So a watch notes, at each look, how far the ring had received: the position of everything
published, plus the bytes that wait in the overflow. The overflow has the layout of the ring, so both are one scale. A
record that lies between two of these notes was received between their times. Only clocks of this machine are used.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from kevy_ring.inbox.header_words import LinkState, is_snapshot_pending, link_state

if TYPE_CHECKING:
    from kevy_ring.ring import RingStats

#: Notes kept for each ring. If a ring has more, every second one is dropped: its older ages become coarser.
NOTES_MAX = 1024


class ApplyLag(NamedTuple):
    """Bounds, in seconds, for the age of the oldest event received and not applied. Both are 0 if nothing waits.

    The two are one or two looks apart: ``at_least_s`` says no more than is certain, ``at_most_s`` no less.

        lag = ApplyLagWatch().look([ring.stats()])[ring.name]
        print(f"the oldest event has waited for {lag.at_least_s} to {lag.at_most_s} s")
    """

    at_least_s: float
    at_most_s: float


NO_LAG = ApplyLag(0.0, 0.0)


@dataclass(slots=True)
class _Note:
    """From ``first_at`` to ``last_at`` everything before ``position``, and nothing else, was received."""

    position: int
    first_at: float
    last_at: float


class ApplyLagWatch:
    """Takes looks at rings, and says for each how long its oldest event has waited. Any thread may use it.

    A snapshot counts as one event: it waits from its beginning until it is applied. An event counts as applied when the
    shard has released it; a sink with a position has committed it before that. Until a ring has been looked at for the
    first time, its past is unknown: the age of what already waited then begins at that look. An event larger than the
    ring shifts the scale by 16 bytes for each of its pieces, so the few bytes behind it can look younger than they are.

        watch = ApplyLagWatch()
        watch.look([ring.stats()])  # about once a second
        print(watch.look([ring.stats()])[ring.name].at_most_s)
    """

    def __init__(self) -> None:
        self._rings: dict[str, _Past] = {}
        self._lock = threading.Lock()

    def look(self, rings: Iterable[RingStats], now: float | None = None) -> dict[str, ApplyLag]:
        """Note the headers of ``rings``, read at ``now`` (seconds of the monotonic clock; None: this moment).

        Returns the lag by the name of the ring.
        """
        now = time.monotonic() if now is None else now
        with self._lock:
            return {stats.name: self._past_of(stats, now).look(stats, now) for stats in rings}

    def forget_all_but(self, names: Iterable[str]) -> None:
        """Drop what is known of all rings but those with these ``names``: the others are gone."""
        kept = set(names)
        with self._lock:
            self._rings = {name: past for name, past in self._rings.items() if name in kept}

    def _past_of(self, stats: RingStats, now: float) -> _Past:
        past = self._rings.get(stats.name)
        if past is None or past.created_unix_s != stats.created_unix_s:
            past = self._rings[stats.name] = _Past(stats.created_unix_s, now)
        return past


class _Past:
    """The notes of one ring, the oldest first. Their positions and times rise."""

    def __init__(self, created_unix_s: float, now: float) -> None:
        self.created_unix_s = created_unix_s
        self._notes: list[_Note] = []
        self._looked_at = now
        self._is_doubted = False  # the last look had received less than the last note says
        self._snapshot_since: ApplyLag | None = None  # times, not ages: no later than, no earlier than

    def look(self, stats: RingStats, now: float) -> ApplyLag:
        if now >= self._looked_at:  # another thread may have taken a later look meanwhile
            self._take(stats, now)
            self._looked_at = now
        lag = self._of_stream(stats, now)
        if self._snapshot_since is not None:
            begun = self._snapshot_since
            lag = ApplyLag(max(lag.at_least_s, now - begun.at_least_s), max(lag.at_most_s, now - begun.at_most_s))
        return lag

    def _take(self, stats: RingStats, now: float) -> None:
        received, notes = stats.tail + stats.overflow_bytes, self._notes
        behind = bool(notes) and received < notes[-1].position
        if behind and self._is_doubted:
            # A look during a move from the overflow to the ring sees the moving bytes twice, or not at all. Of two
            # looks that agree, neither did: it was the note.
            del notes[bisect_right(notes, received, key=_position) :]
            behind = False
        self._is_doubted = behind
        if notes and received == notes[-1].position:
            notes[-1].last_at = now
        elif not behind:
            notes.append(_Note(received, now, now))
        del notes[: max(0, bisect_right(notes, stats.head, key=_position) - 1)]
        if len(notes) > NOTES_MAX:
            del notes[1:-1:2]
        is_empty = stats.used_bytes == 0 and not stats.overflow_events
        loads = link_state(stats) is LinkState.SNAPSHOT or (is_snapshot_pending(stats) and not is_empty)
        if not loads:
            self._snapshot_since = None
        elif self._snapshot_since is None:
            self._snapshot_since = ApplyLag(now, self._looked_at)

    def _of_stream(self, stats: RingStats, now: float) -> ApplyLag:
        if stats.used_bytes == 0 and not stats.overflow_events:
            return NO_LAG
        at = bisect_right(self._notes, stats.head, key=_position)
        after = self._notes[at].first_at if at < len(self._notes) else now
        # Without a note before it, the ring is not known to have been empty. Its first note is all that is known.
        before = self._notes[at - 1].last_at if at else after
        return ApplyLag(max(0.0, now - after), max(0.0, now - before))


def _position(note: _Note) -> int:
    return note.position
