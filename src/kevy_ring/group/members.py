"""The rings of a group: they join and leave, and one wait is for all of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Any, Self

from kevy_ring.errors import ClosedError, KevyRingError, RecvError
from kevy_ring.group.ready_set import ReadySet
from kevy_ring.ring import Consumer, RecordBatch
from kevy_ring.ring.deadline import deadline_after, seconds_left
from kevy_ring.ring.event_loop import LOOK_S, WaitingTasks

#: The ends that a group remembers, so that one that lives for years does not grow.
ENDS_KEPT = 1000

OnEnd = Callable[[Any, RecvError], object]


class Members:
    """The consumers of a group: all that it does without reading a record."""

    _kind: type[Consumer] = Consumer

    def __init__(
        self, consumers: Iterable[Consumer] = (), *, on_end: OnEnd | None = None, awaits_successors: bool = False
    ) -> None:
        self._consumers: dict[Consumer, None] = {}
        self._on_end = on_end
        self._awaits_successors = awaits_successors
        self._set: ReadySet | None = None  # made on first use, which takes the roles
        self._closed = False
        self._turn: deque[Consumer] = deque()  # the rings of this round that have not had their turn
        self._made: set[Consumer] = set()
        self._told: dict[tuple[Consumer, int], object] = {}
        self._tasks = WaitingTasks()
        self._nothing: Any = RecordBatch()
        self.ended: deque[RecvError] = deque(maxlen=ENDS_KEPT)
        for consumer in consumers:
            self.add(consumer)

    @property
    def consumers(self) -> list[Consumer]:
        """The consumers of the rings in this group now."""
        return list(self._consumers)

    def __len__(self) -> int:
        return len(self._consumers)

    def add(self, consumer: Consumer) -> None:
        """Let a ring join. Threads and tasks that wait already wait for it too.

        Raises ``TypeError`` for anything but a consumer, and :class:`ClosedError` if the group or it is closed.
        """
        if not isinstance(consumer, self._kind):
            raise TypeError(f"a {type(self).__name__} takes a {self._kind.__name__}, not a {type(consumer).__name__}")
        if consumer._closed:
            raise ClosedError(consumer.name)
        if self._closed:
            raise ClosedError("group")
        self._nothing = consumer._nothing
        self._consumers[consumer] = None
        try:
            if self._set is not None:
                self._set.keep(list(self._consumers))
        except BaseException:
            self.remove(consumer)
            raise

    def remove(self, consumer: Consumer) -> bool:
        """Let a ring leave, without closing its consumer. False: it is not in the group."""
        was_here = self._consumers.pop(consumer, self) is not self
        if self._set is not None:
            self._set.keep(list(self._consumers))
        if not self._consumers:
            self._tasks.wake()
        return was_here

    def _retire(self, consumer: Consumer) -> None:
        consumer.close()
        if consumer in self._made:
            self._made.discard(consumer)
            consumer._segment.unlink()

    def _watched(self) -> ReadySet:
        """The set over all rings. Raises :class:`ClosedError`, also once for a consumer that was closed elsewhere."""
        if self._closed:
            raise ClosedError("group")
        if self._set is None:
            self._set = ReadySet()
        for consumer in list(self._consumers):
            if consumer._closed and self.remove(consumer):
                raise ClosedError(consumer.name)
        if len(self._set) != len(self._consumers):
            self._set.keep(list(self._consumers))
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until a ring has a record or an end to report, or no ring is left: True. False: ``timeout`` is over.

        ``timeout`` in seconds; None: no limit. One sleep for all rings, without polling. Raises :class:`ClosedError`.
        """
        deadline = deadline_after(timeout)
        while True:
            watched = self._watched()
            pending = [consumer for consumer in list(self._turn) if consumer in self._consumers]
            if not self._consumers or any(map(_has_news, pending)):
                return True
            # A consumer is also ready when a timer of its own ran out. Looking at it sets the timer again.
            if any(map(_has_news, watched.ready(0))):
                return True
            left = seconds_left(deadline)
            if left == 0:
                return False
            watched.ready(LOOK_S if left is None else min(left, LOOK_S))

    async def wait_async(self, timeout: float | None = None) -> bool:
        """As :meth:`wait`, for a task of asyncio (uvloop too) or trio. Any number of tasks may wait."""
        return await self._tasks.until(partial(self.wait, 0), self.fileno, timeout)

    def fileno(self) -> int:
        """A descriptor that is readable when :meth:`wait` would return (selectors, epoll, asyncio).

        It may also become readable about once a second without a reason. Call a method that reads, or ``wait(0)``, each
        time. Raises :class:`ClosedError`.
        """
        return self._watched().fileno()

    @property
    def sender_gone(self) -> bool:
        """Whether no ring is left: all producers are gone, and all that they published was delivered."""
        return not self._consumers

    def close(self) -> None:
        """Close all consumers: their producers' next writes raise :class:`SendError`. Closing twice does nothing."""
        self._closed = True
        for consumer in list(self._consumers):
            self._retire(consumer)
            self._consumers.pop(consumer, None)
        self._turn.clear()
        if self._set is not None:
            self._set.close()
        self._tasks.wake()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self)} rings, {len(self.ended)} ended"
        return f"<{type(self).__name__}: {state}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), list(self._consumers), self._on_end, self._awaits_successors)


def _again(kind: type[Members], consumers: list[Consumer], on_end: OnEnd | None, awaits: bool) -> Members:
    return kind(consumers, on_end=on_end, awaits_successors=awaits)


def _has_news(consumer: Consumer) -> bool:
    try:
        consumer.fileno()  # looks at a producer that has come meanwhile, and sets the timer again
        return consumer.wait(0)
    except KevyRingError:
        return True  # the call that reads raises it
