"""The tasks of a queue in the header of its ring: how many are done, and how many were lost with a process."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from kevy_ring._core import lib
from kevy_ring.errors import KevyRingError, SendError
from kevy_ring.ring import Consumer, Producer, Segment
from kevy_ring.ring.stats import RoleStats, read_stats

# The words of the consumer's side that belong to an application begin with 8.
_DONE_WORD, _LOST_WORD = 8, 9


class Tasks(NamedTuple):
    """``put`` and ``got``: objects since the queue was made. ``lost``: got by processes that ended before task_done."""

    put: int
    got: int
    done: int
    lost: int
    getting: RoleStats

    @property
    def left(self) -> int:
        """How many may still become done."""
        return self.put - self.done - self.lost


def read_tasks(segment: Segment) -> Tasks:
    """The counts now. Raises :class:`ClosedError`."""
    stats = read_stats(segment.if_open(), creator_alive=True)
    words = stats.consumer_words
    return Tasks(stats.events_in, stats.events_out, words[_DONE_WORD], words[_LOST_WORD], stats.consumer)


class GettingSide(Consumer):
    """The consumer of a queue. ``told``: the producer of the ring that wakes join()."""

    def __init__(self, segment: Segment, told: Producer) -> None:
        super().__init__(segment)
        self._told = told

    def _has_taken_role(self) -> None:
        tasks = read_tasks(self._segment)
        self._set_word(_LOST_WORD, tasks.got - tasks.done)
        with contextlib.suppress(KevyRingError):  # it only makes join() learn of this process's death sooner
            self._told._claim()

    def _set_word(self, which: int, value: int) -> None:
        assert self._claimant is not None
        code = lib.kr_consumer_set_word(self._claimant.handle, which, value)
        if code < 0:
            raise self._fault(code)

    def publish_done(self, done: int) -> None:
        """Publish how many tasks are done, and wake join() in the other process."""
        if self._handle is None:
            self._claim()
        self._set_word(_DONE_WORD, done)
        with contextlib.suppress(SendError):  # the other process is gone, and joins no more
            self._told.try_write(b"\0")  # if it is full, the other process is awake or does not join
