"""What the groups of rings and of inboxes have in common: turns, ends and batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from kevy_ring.errors import BatchOpen, ClosedError, CorruptRing, GroupEnded, RecvError
from kevy_ring.group.members import Members
from kevy_ring.ring import Consumer, RecordBatch
from kevy_ring.ring.batch_stream import BatchStream
from kevy_ring.ring.deadline import deadline_after, seconds_left

#: A ring gives at most this many records, one by one, before the turn is the next ring's.
RUN = 16


class FanIn(Members):
    """Many rings and one consumer process. :class:`RingGroup` and :class:`InboxGroup` say how it behaves."""

    _run = RUN  # records that the first ring of the round may still give one by one
    _last: Consumer | None = None  # the ring of the last batch

    def _round(self) -> bool:
        """Begin a round if none is under way. False: no ring has news."""
        if not self._turn:
            self._turn.extend((self._watched() if self._set is None else self._set).ready(0))
            self._run = RUN
        return bool(self._turn)

    def _next(self) -> Consumer | None:
        """The ring whose turn it is. None: no ring has news."""
        last = self._last
        if last is not None and last._open_batch is not None:
            raise BatchOpen(last.name)
        while self._round():
            try:
                consumer = self._turn.popleft()
            except IndexError:  # another thread took it
                continue
            if consumer in self._consumers:
                return consumer
        return None

    def _from_next(self, take: Callable[[Any], Any], is_nothing: Callable[[Any], bool]) -> Any:
        """What ``take(consumer)`` gives for the next ring that has something. None: none has."""
        while (consumer := self._next()) is not None:
            found = self._taken(consumer, take)
            if found is not None and not is_nothing(found):
                self._last = consumer
                return found
            self._run = RUN
            self._look_for_end(consumer)
        return None

    def _taken(self, consumer: Consumer, take: Callable[[Any], Any]) -> Any:
        """None: nothing. A ring that cannot be read leaves the group, and its error says why."""
        try:
            return take(consumer)
        except RecvError:
            return None
        except (CorruptRing, ClosedError):
            self.remove(consumer)
            raise

    def _look_for_end(self, consumer: Consumer) -> None:
        """Report the end of the producer, if there is one to report."""
        end = consumer._sender_end()
        if end is None:
            return
        error, epoch = end
        if self._awaits_successors:
            consumer._pass_end(epoch)
            mark = object()  # of the one thread that reports it
            if self._told.setdefault((consumer, epoch), mark) is not mark:
                return
            self._told.pop((consumer, epoch - 1), None)
        elif not self.remove(consumer):
            return
        self.ended.append(error)
        try:
            if self._on_end is not None:
                self._on_end(consumer, error)
            elif error.cause == "dead":
                raise error
        finally:
            if not self._awaits_successors:
                self._retire(consumer)

    def drain(self, max_records: int = 1024, max_bytes: int | None = None) -> RecordBatch:
        """Take a batch of the next ring that has records: at most ``max_records``, of together at most ``max_bytes``.

        As ``drain`` of a consumer: it never waits. Returns an empty batch if no ring has a record. ``batch.ring_name``
        says which ring. One batch of the group is open at a time: else it raises :class:`BatchOpen`.

            with group.drain() as batch:
                print(batch.ring_name, batch.copies())
        """
        found = self._from_next(lambda consumer: consumer.drain(max_records, max_bytes), is_empty)
        return self._nothing if found is None else found  # type: ignore[no-any-return]

    def _take_one(self, consumer: Any) -> Any:
        raise NotImplementedError

    def _try_one(self) -> Any:
        found = self._from_next(self._take_one, is_none)
        if found is None:
            if not self._consumers:
                raise GroupEnded(self.ended[-1] if self.ended else None)
            return None
        self._run -= 1
        if self._run > 0 and self._last is not None:
            self._turn.appendleft(self._last)  # the turn is not over
        else:
            self._run = RUN
        return found

    def _one(self, timeout: float | None) -> Any:
        deadline = deadline_after(timeout)
        while True:
            found = self._try_one()
            if found is not None or not self.wait(seconds_left(deadline)):
                return found

    async def _one_async(self, timeout: float | None) -> Any:
        deadline = deadline_after(timeout)
        while await self.wait_async(seconds_left(deadline)):
            found = self._try_one()
            if found is not None:
                return found
        return None

    def __iter__(self) -> Iterator[Any]:
        while True:
            try:
                found = self._one(None)
            except GroupEnded:
                return
            if found is not None:
                yield found

    def batches(self, max_records: int = 1024, max_bytes: int | None = None) -> BatchStream[Any]:
        """For ``async for``: the batches of :meth:`drain`, until no ring is left. See :class:`BatchStream`.

        ``max_records`` and ``max_bytes`` bound each batch. If a death is raised, the loop ends; begin it again to
        continue with the other rings.
        """
        return BatchStream(self, partial(self.drain, max_records, max_bytes))

    def __aiter__(self) -> BatchStream[Any]:
        return self.batches()


def is_none(found: Any) -> bool:
    return found is None


def is_empty(found: Any) -> bool:
    return not len(found)
