"""A ring in the shape of ``queue.Queue``, between two processes."""

from __future__ import annotations

import pickle
import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from queue import Empty, Full
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

from kevy_ring.errors import ClosedError, RecvError, SendError, TasksLost
from kevy_ring.events import BytesLike
from kevy_ring.group.task_count import GettingSide, Tasks, read_tasks
from kevy_ring.ring import Consumer, Producer, Segment
from kevy_ring.ring.deadline import deadline_after, seconds_left
from kevy_ring.ring.event_loop import LOOK_S
from kevy_ring.ring.stats import RoleState, read_stats

if TYPE_CHECKING:

    class ShutDown(Exception):
        """The queue was shut down: nothing can be put, or nothing is left to get. From Python 3.13: queue.ShutDown."""

else:
    ShutDown = getattr(queue, "ShutDown", None) or type("ShutDown", (Exception,), {"__module__": __name__})

#: The ring of task_done() only has to wake join(), so a page is enough.
_DONE_RING_BYTES = 4096
_LEAST_SPAN = 24  # bytes in the ring of the smallest pickle

_dumps = partial(pickle.dumps, protocol=5)


class RingQueue:
    """A queue of objects from one process to one other process, in the shape of :class:`queue.Queue`.

        jobs = RingQueue(1 << 20)                 # bytes of the ring: a power of two
        Process(target=work, args=(jobs,)).start()  # calls jobs.get() and jobs.task_done()
        jobs.put({"n": 1})
        jobs.join()                               # until the worker has called task_done() for each
        jobs.shutdown()                           # the worker's next get() raises ShutDown

    ``put``, ``get``, ``qsize``, ``empty``, ``full``, ``task_done``, ``join`` and ``shutdown``, :class:`queue.Full`,
    :class:`queue.Empty` and ``ShutDown`` (that of Python 3.13, or ``kevy_ring.group.ShutDown``), are used as there.

    It differs from :class:`queue.Queue` and :class:`multiprocessing.Queue`:

    * One process puts, and one process gets: the first that calls ``put`` or ``get``. Another one gets
      :class:`RoleTaken`. Both may be the same process, and each may use any number of threads. For more processes use
      :class:`RingGroup` and :class:`Distributor`.
    * It is bounded by the bytes of the ring, not by a number of objects, and never unbounded. An object whose pickle is
      larger than the ring raises ``ValueError``.
    * If the other process died, ``put`` and ``join`` raise :class:`SendError`, and ``get`` raises :class:`RecvError`
      after the last object. They never wait for a process that is dead.
    * ``put`` has put the object when it returns: no feeder thread, nothing to flush or to join at exit. An object that
      cannot be pickled raises in ``put``.
    * An object that a killed process had taken with ``get`` is lost, as with the others. ``join`` says so: it raises.
    * ``shutdown()`` is for the process that puts, and ``shutdown(immediate=True)`` for the one that gets: what is in
      the ring cannot be taken back.
    * ``put`` copies: the other side gets another object, also within one process.

    ``capacity``: of the ring in bytes, a power of two. ``dumps`` and ``loads``: another codec than pickle (protocol 5).
    ``bytes`` for both sends bytes as they are. Unpickling runs code that the other process chose: use it between
    processes that trust each other.
    """

    def __init__(
        self,
        capacity: int = 1 << 20,
        *,
        dumps: Callable[[Any], BytesLike] = _dumps,
        loads: Callable[[bytes], Any] = pickle.loads,
    ) -> None:
        """Make the queue. Raises as :meth:`Ring.create`."""
        self._open(Segment.create(capacity), Segment.create(_DONE_RING_BYTES), dumps, loads)

    def _open(self, items: Segment, done: Segment, dumps: Callable[[Any], BytesLike], loads: Any) -> None:
        self._dumps, self._loads = dumps, loads
        self._segment = items.enter(self)  # qsize() and join() work after both roles were given up
        self._producer = Producer(items)
        self._told, self._hears = Producer(done), Consumer(done)  # task_done() tells, join() hears
        self._consumer = GettingSide(items, self._told)
        self._changed = threading.Condition()  # tasks are done, in this process

    # ------------------------------------------------------------------------------------------------ the putting side

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put ``item``. With ``block``, wait up to ``timeout`` seconds (None: no limit) for room, else ``Full``.

        Raises ``Full``, ``ShutDown``, :class:`SendError` if the getting process died, ``ValueError`` for an object that
        is larger than the ring and for a negative timeout, and what the codec raises.
        """
        deadline = _deadline(block, timeout)
        record = self._dumps(item)
        try:
            while not self._producer.try_write(record):
                if not self._producer.wait(memoryview(record).nbytes, seconds_left(deadline)):
                    raise Full
        except (ClosedError, SendError) as gone:
            _raise_end(gone)

    def put_nowait(self, item: Any) -> None:
        """As ``put(item, block=False)``."""
        self.put(item, block=False)

    async def put_async(self, item: Any, timeout: float | None = None) -> None:
        """Put ``item`` as :meth:`put`, in a task of asyncio (uvloop too) or trio."""
        deadline = _deadline(True, timeout)
        record = self._dumps(item)
        try:
            while await self._producer.wait_async(memoryview(record).nbytes, seconds_left(deadline)):
                if self._producer.try_write(record):
                    return
        except (ClosedError, SendError) as gone:
            _raise_end(gone)
        raise Full

    # ------------------------------------------------------------------------------------------------ the getting side

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take an object. With ``block``, wait up to ``timeout`` seconds (None: no limit) for one, else ``Empty``.

        Raises ``Empty``; ``ShutDown`` after the last object of a queue that was shut down or closed;
        :class:`RecvError` after the last object of a process that died; ``ValueError`` for a negative timeout; and what
        the codec raises.
        """
        deadline = _deadline(block, timeout)
        try:
            record = self._consumer.read(seconds_left(deadline))
        except (ClosedError, RecvError) as gone:
            _raise_end(gone)
        if record is None:
            raise Empty
        return self._loads(record)

    def get_nowait(self) -> Any:
        """As ``get(block=False)``."""
        return self.get(block=False)

    async def get_async(self, timeout: float | None = None) -> Any:
        """As :meth:`get`, for a task of asyncio (uvloop too) or trio. A cancelled call took nothing."""
        try:
            record = await self._consumer.read_async(timeout)
        except (ClosedError, RecvError) as gone:
            _raise_end(gone)
        if record is None:
            raise Empty
        return self._loads(record)

    def task_done(self) -> None:
        """Say that an object that was got is processed. :meth:`join` waits for one call for each object.

        Raises ``ValueError`` if it is called more often than objects were got here.
        """
        with self._changed:
            tasks = read_tasks(self._segment)
            if not self._gets or tasks.done + tasks.lost >= tasks.got:
                raise ValueError("task_done() called too many times")
            self._consumer.publish_done(tasks.done + 1)
            self._changed.notify_all()

    @property
    def _gets(self) -> bool:
        """Whether this process has the getting side."""
        return self._consumer._handle is not None

    # ------------------------------------------------------------------------------------------------------- both sides

    def join(self, timeout: float | None = None) -> None:
        """Wait until each object that was put was got and :meth:`task_done` was called for it.

        ``timeout`` (not in :class:`queue.Queue`): ``TimeoutError`` after that many seconds. Raises :class:`SendError`
        if the getting process ended before that, and :class:`TasksLost` if it ended and a successor did the rest.
        """
        deadline = deadline_after(timeout)
        while (tasks := read_tasks(self._segment)).left > 0:
            left = seconds_left(deadline)
            if left == 0:
                raise TimeoutError(f"{tasks.left} tasks are not done")
            sleep_s = LOOK_S if left is None else min(left, LOOK_S)
            if self._gets:
                with self._changed:
                    if read_tasks(self._segment).left > 0:
                        self._changed.wait(sleep_s)
            else:
                self._hear(tasks, sleep_s)
        if tasks.lost:
            raise TasksLost(self._segment.name, lost=tasks.lost)

    def _hear(self, before: Tasks, sleep_s: float) -> None:
        """Sleep until the getting process calls task_done() once more. Raises :class:`SendError` if it has ended."""
        self._hears.read_many()  # before the look: the next call then ends the sleep
        if read_tasks(self._segment).left < before.left:
            return
        if before.getting.state in (RoleState.DEAD, RoleState.CLOSED):
            cause = "closed" if before.getting.state is RoleState.CLOSED else "dead"
            raise SendError(self._segment.name, cause=cause, pid=before.getting.pid)
        if (end := self._hears._sender_end()) is not None:
            self._hears._pass_end(end[1])
            time.sleep(0.001)  # the kernel marks the roles of a dead process one after the other
            return
        self._hears.wait(sleep_s)

    def qsize(self) -> int:
        """How many objects were put and not got. Exact while neither side works. Raises :class:`ClosedError`."""
        tasks = read_tasks(self._segment)
        return max(0, tasks.put - tasks.got)

    def empty(self) -> bool:
        """Whether :meth:`qsize` is 0."""
        return not self.qsize()

    def full(self) -> bool:
        """Whether not even the smallest object has room. ``put`` of a larger one may wait before that."""
        stats = read_stats(self._segment.if_open())
        return stats.capacity - stats.used_bytes < _LEAST_SPAN

    def shutdown(self, immediate: bool = False) -> None:
        """End the queue: ``put`` raises ``ShutDown``, and ``get`` does when nothing is left. Calling it twice is fine.

        Call it in the process that puts. ``immediate``: drop what is left, and count it as done; call it in the process
        that gets. Raises :class:`RoleTaken` in another process.
        """
        if immediate:
            if self._producer._handle is not None:
                self._producer.close()  # first: else a thread here puts one more while the rest is dropped
            if not self._consumer._closed:
                with self._changed:
                    while self._consumer.read_many():
                        pass
                    tasks = read_tasks(self._segment)
                    self._consumer.publish_done(tasks.got - tasks.lost)
                    self._changed.notify_all()
            self._consumer.close()
        elif not self._producer._closed and self._producer._handle is None:
            self._producer._claim()  # else closing it would say nothing to the other process
        self._producer.close()

    def close(self) -> None:
        """Give up what this process has of the queue: both roles. The other side gets ``ShutDown``."""
        for end in (self._producer, self._consumer, self._told, self._hears):
            end.close()
        self._segment.leave(self)

    def __del__(self) -> None:
        if hasattr(self, "_segment"):
            self._segment.leave(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        puts, gets = self._producer, self._consumer
        roles = [role for end, role in ((puts, "puts"), (gets, "gets")) if end._handle is not None and not end._closed]
        state = "closed" if puts._closed or gets._closed else " and ".join(roles) or "its role is not taken yet"
        return f"<RingQueue on ring {self._segment.name!r}, {self._segment.capacity} bytes: {state}>"

    def __reduce__(self) -> tuple[Any, ...]:
        for end in (self._producer, self._hears):
            end._segment.handed_over = True
        return _attached, (type(self), self._producer.name, self._hears.name, self._dumps, self._loads)


def _attached(kind: type[RingQueue], items: str, done: str, dumps: Any, loads: Any) -> RingQueue:
    made = kind.__new__(kind)
    made._open(Segment.attach(items), Segment.attach(done), dumps, loads)
    return made


def _deadline(block: bool, timeout: float | None) -> float | None:
    """As :class:`queue.Queue` has it: ``timeout`` counts only with ``block``, and is not negative."""
    if block and timeout is not None and timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")
    return deadline_after(timeout if block else 0.0)


def _raise_end(gone: ClosedError | SendError | RecvError) -> NoReturn:
    """Raise ``ShutDown`` if the ring was closed on purpose, else the error itself."""
    if getattr(gone, "cause", "dead") == "closed" or getattr(gone, "reason", "") == "closed":
        raise ShutDown(str(gone)) from gone
    raise gone
