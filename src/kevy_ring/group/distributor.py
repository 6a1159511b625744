"""Fan-out in turn: each record goes to one of several consumers."""

from __future__ import annotations

import contextlib
import select
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from kevy_ring.errors import ClosedError, ConsumerGone, SendError
from kevy_ring.events import BytesLike
from kevy_ring.group.producers import Producers, bytes_of, consumer_gone, wait_for_any, write_many
from kevy_ring.ring import Producer
from kevy_ring.ring.deadline import deadline_after, seconds_left
from kevy_ring.ring.event_loop import WaitingTasks

OnGone = Callable[[Producer, ConsumerGone], object]


class Distributor(Producers):
    """Writes each record to the ring of one of several ``producers``, in turn. A ring that is full is passed over.

        distributor, consumers = Distributor.create(4)   # pass each consumer to a process of its own
        with distributor:
            distributor.write(record)

    **Order.** Records of one ring keep their order. Between rings there is none. For an order of each key use
    :class:`KeyedDistributor`.

    **A consumer that is gone.** A write that would go to its ring raises :class:`ConsumerGone`, with the ``name`` of
    the ring, what the call did not write (``unsent``) and how many records the ring still has (``unread``). So does
    every later write whose turn it is there, until a successor has the role. To continue with the other rings, call
    ``remove(error.name)``, or give ``on_gone``: then the ring is removed, ``on_gone(producer, error)`` is called, and
    the call continues with the others. ``take_back`` returns what is in the ring; call it before ``remove`` or in
    ``on_gone``. With the last ring the error is raised in any case.

    Raises ``ValueError`` for a record larger than the ring, and :class:`ClosedError`. All methods may be called from
    any thread.
    """

    def __init__(self, producers: Iterable[Producer], *, on_gone: OnGone | None = None) -> None:
        super().__init__(producers)
        self._on_gone = on_gone
        self._next = 0
        self._tasks = WaitingTasks()
        self._epoll: select.epoll | None = None
        self._watched: dict[int, Producer] = {}

    def add(self, producer: Producer) -> None:
        """Let the ring of ``producer`` join. Its role is taken at the next write."""
        self._producers = [*self._producers, producer]
        self._has_roles = False

    def remove(self, name: str) -> Producer:
        """Let the ring ``name`` leave. Returns its producer, which stays open.

        Raises ``ValueError`` if the ring is not here, or is the last one.
        """
        found = next((each for each in self._producers if each.name == name), None)
        others = [each for each in self._producers if each is not found]
        if found is None or not others:
            raise ValueError(f"ring {name!r}: " + ("not in this group" if found is None else "the last ring stays"))
        self._producers = others
        return found

    def _in_turn(self) -> list[Producer]:
        """All rings, the next one first."""
        if not self._has_roles:
            self.take_roles()
        producers = self._producers
        first = self._next % len(producers)
        return producers[first:] + producers[:first]

    def _leave_out(self, producer: Producer, gone: SendError, unsent: Sequence[Any], first: int) -> None:
        """Remove the ring whose consumer is gone, or raise the error for it."""
        error = consumer_gone(producer, gone, unsent, range(first, first + len(unsent)))
        if self._on_gone is None or len(self._producers) == 1:
            raise error from gone
        self._on_gone(producer, error)
        with contextlib.suppress(ValueError):
            self.remove(producer.name)
        producer.close()

    def try_write(self, record: BytesLike, /) -> bool:
        """Write one record to the next ring that has room, and publish it. False: all rings are full now. Never waits.

        Raises as the class says.
        """
        for producer in self._in_turn():
            self._next += 1
            try:
                if producer.try_write(record):
                    return True
            except SendError as gone:
                if producer.accept_successor():
                    return self.try_write(record)
                self._leave_out(producer, gone, [record], 0)
        return False

    def write(self, record: BytesLike, timeout: float | None = None) -> bool:
        """As :meth:`try_write`, but wait up to ``timeout`` seconds (None: no limit) for room. False: the time is up."""
        deadline = deadline_after(timeout)
        while not self.try_write(record):
            if not self._wait(bytes_of(record), deadline):
                return False
        return True

    def write_many(self, records: Sequence[BytesLike], timeout: float | None = 0.0) -> int:
        """Write a sequence of records, an equal share of what is left to each ring. Returns how many were written.

        These are the first ones; ``records[n:]`` were not. It waits up to ``timeout`` seconds (None: no limit) for
        room; by default not at all. One call of the core for each ring.

        Raises as the class says; ``ValueError`` and ``TypeError`` only for the first record: a later one that is bad
        ends the call.
        """
        deadline, done = deadline_after(timeout), 0
        while done < len(records):
            try:
                taken = self._share_out(records, done)
                if not taken and not self._wait(bytes_of(records[done]), deadline):
                    break
            except (ValueError, TypeError):
                if not done:
                    raise
                break
            done += taken
        return done

    def _share_out(self, records: Sequence[BytesLike], first: int) -> int:
        """Offer each ring its share of ``records[first:]``. Returns how many were taken."""
        done, rings = first, self._in_turn()
        for i, producer in enumerate(rings):
            left = len(records) - done
            if not left:
                break
            self._next += 1
            share = records[done : done + -(-left // (len(rings) - i))]
            try:
                done += write_many(producer, share)
            except SendError as gone:
                self._leave_out(producer, gone, records[done:], done)
            except (ValueError, TypeError):
                if done == first:
                    raise
                break
        return done - first

    def _wait(self, length: int, deadline: float | None) -> bool:
        return wait_for_any([(producer, length) for producer in self._producers], deadline)

    def wait(self, length: int = 1, timeout: float | None = None) -> bool:
        """Sleep until a record of ``length`` bytes fits into a ring, or a consumer is gone: True.

        False: ``timeout`` seconds are over (None: no limit). Raises ``ValueError`` for a length larger than the ring,
        and :class:`ClosedError`.
        """
        deadline = deadline_after(timeout)
        while not any(_has_news(producer, length) for producer in self._producers):
            if not self._wait(length, deadline):
                return False
        return True

    def fileno(self, length: int = 1) -> int:
        """A descriptor that is readable when ``length`` bytes fit into a ring, or a consumer is gone.

        Call this again, or ``wait(length, 0)``, each time. Raises as :meth:`wait`.
        """
        producers = self._producers
        if self._epoll is None:
            self._epoll = select.epoll()
        for fd, producer in list(self._watched.items()):
            if producer not in producers:
                del self._watched[fd]
                with contextlib.suppress(OSError):
                    self._epoll.unregister(fd)
        for producer in producers:
            fd = producer.fileno(length)
            if self._watched.get(fd) is not producer:
                with contextlib.suppress(FileExistsError):
                    self._epoll.register(fd, select.EPOLLIN)
                self._watched[fd] = producer
        try:
            return self._epoll.fileno()
        except ValueError:
            raise ClosedError("group") from None

    async def wait_async(self, length: int = 1, timeout: float | None = None) -> bool:
        """As :meth:`wait`, for a task of asyncio (uvloop too) or trio. Other tasks run at least once."""
        return await self._tasks.until(partial(self.wait, length, 0), partial(self.fileno, length), timeout)

    async def write_async(self, record: BytesLike, timeout: float | None = None) -> bool:
        """Write ``record`` as :meth:`write`, in a task of asyncio (uvloop too) or trio.

        A cancelled write wrote nothing.
        """
        deadline = deadline_after(timeout)
        while await self.wait_async(bytes_of(record), seconds_left(deadline)):
            if self.try_write(record):
                return True
        return False

    def close(self) -> None:
        """Publish everything and give all roles up: each consumer sees the end after its last record."""
        super().close()
        self._tasks.wake()
        if self._epoll is not None:
            self._epoll.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (list(self._producers), self._on_gone)


def _again(producers: list[Producer], on_gone: OnGone | None) -> Distributor:
    return Distributor(producers, on_gone=on_gone)


def _has_news(producer: Producer, length: int) -> bool:
    try:
        return producer.wait(length, 0)
    except SendError:
        return True  # the call that writes raises it
