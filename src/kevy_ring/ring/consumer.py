"""The consumer of a ring: takes batches of records, reads them in place, and gives their space back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from kevy_ring._calls import ConsumerCalls, Lender
from kevy_ring._core import ffi, lib
from kevy_ring.errors import ClosedError, KevyRingError, RecvError
from kevy_ring.ring.batch import RecordBatch
from kevy_ring.ring.batch_stream import BatchStream
from kevy_ring.ring.claimant import CONSUMER, Claimant, claimant_of
from kevy_ring.ring.deadline import deadline_after, nanoseconds_left, seconds_left
from kevy_ring.ring.event_loop import WaitingTasks
from kevy_ring.ring.fault import consumer_fault, handle_fault
from kevy_ring.ring.segment import Handle, Segment, address_of

if TYPE_CHECKING:
    from kevy_ring._core import CData

DEFAULT_SPIN_US = 30.0
T = TypeVar("T")


class Consumer(ConsumerCalls, Handle):
    """The one consumer of a ring. Made by :meth:`Ring.consumer`; one batch is open at a time.

    It can be pickled to another process, which takes the role on first use. :meth:`close`, or the end of a ``with``,
    gives the role up. ``async for batch in consumer`` is :meth:`batches` with its defaults.

    ``spin_us``: the longest time, in microseconds, that :meth:`wait` and :meth:`read` watch the ring before they sleep.
    0: they sleep at once. After a watch without a record the next one is half as long. It gets its full length again
    when records arrive that fast. So an event every few milliseconds costs no spinning.

        while not consumer.sender_gone:
            consumer.wait()
            with consumer.drain() as batch:
                print([bytes(record) for record in batch])
    """

    _claimant: Claimant | None = None  # set before it has the role
    _last_lender: Lender | None = None  # of a handle that is being closed

    def __init__(self, segment: Segment, *, spin_us: float = DEFAULT_SPIN_US) -> None:
        self._segment = segment.enter(self)
        self.name = segment.name
        self._spin_ns = int(spin_us * 1000)
        self._handle: Any = None  # set when it has the role
        self._closed = self._is_done = False
        self._tasks = WaitingTasks()
        self._nothing = RecordBatch()  # every empty drain returns it, so that it allocates nothing

    def _claim(self) -> CData:
        """Take the role, or continue a claim that was interrupted or that another thread runs."""
        if self._handle is not None:
            return self._handle
        if self._closed:
            raise ClosedError(self.name)
        claimant = claimant_of(self, self._segment, CONSUMER)
        CONSUMER.claim(self._segment, claimant.handle)
        self._has_taken_role()
        self._bind(claimant.handle, address_of(claimant.handle), claimant.lender, self._spin_ns)
        self._handle = claimant.handle
        return claimant.handle

    def _has_taken_role(self) -> None:
        """For subclasses: runs after the role was taken and before the first use. Again after an interruption."""

    def _fault(self, code: int) -> Exception:
        """The exception for an error code of the core."""
        if code in (lib.KR_E_PEER_CLOSED, lib.KR_E_PEER_DEAD):
            info = ffi.new("kr_role_info *")
            lib.kr_consumer_peer(self._handle, info)
            return RecvError(self.name, cause="closed" if code == lib.KR_E_PEER_CLOSED else "dead", pid=info.pid)
        return consumer_fault(self.name, self._handle, code)

    def _take_fragment(self, batch: RecordBatch, is_fragment: int) -> bool:
        """Whether the batch can be returned as it is. A ring of records has no fragments."""
        return True

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until a record waits or the producer is gone: True. False: ``timeout`` seconds (None: no limit) passed.

        Raises :class:`ClosedError`, and ``ValueError`` for a timeout that is not a number.
        """
        handle = self._handle or self._claim()
        if timeout == 0:
            return bool(self._wait_once(handle, 0))
        deadline = deadline_after(timeout)
        while True:
            code = self._wait_once(handle, nanoseconds_left(deadline))
            if code != lib.KR_WAIT_INTERRUPTED:
                return bool(code != lib.KR_WAIT_TIMEOUT)

    def _wait_once(self, handle: CData, timeout_ns: int) -> int:
        code: int = lib.kr_consumer_wait(handle, timeout_ns, self._spin_ns)
        if code < 0:
            raise self._fault(code)
        return code

    def fileno(self) -> int:
        """A descriptor that is readable when a record waits or the producer is gone (select, epoll, asyncio).

        It may also become readable once a second without a reason (every 100 ms while the producer is in another pid
        namespace). Call ``drain`` or ``wait(0)`` each time. Raises :class:`ClosedError`.
        """
        fd: int = lib.kr_consumer_wait_fd(self._handle or self._claim())
        if fd < 0:
            raise self._fault(fd)
        return fd

    async def wait_async(self, timeout: float | None = None) -> bool:
        """As :meth:`wait` with ``timeout``, for a task of asyncio (uvloop too) or trio, and without spinning.

        Other tasks run at least once. Any number of tasks may wait, and all are woken. Raises :class:`ClosedError` if
        the handle is closed meanwhile. A cancelled wait takes nothing.
        """
        return await self._tasks.until(partial(self.wait, 0), self.fileno, timeout)

    async def read_async(self, timeout: float | None = None) -> bytes | None:
        """As :meth:`read` with ``timeout``, for a task of asyncio (uvloop too) or trio. A cancelled read took nothing.

        Raises as :meth:`read`.
        """
        return await self._take_async(self.try_read, timeout)

    async def _take_async(self, take: Callable[[], T | None], timeout: float | None) -> T | None:
        deadline = deadline_after(timeout)
        while await self.wait_async(seconds_left(deadline)):
            found = take()
            if found is not None:
                return found
        return None

    def batches(self, max_records: int = 1024, max_bytes: int | None = None) -> BatchStream[RecordBatch]:
        """For ``async for``: the batches of :meth:`drain`, until the producer is gone.

        Each has at most ``max_records``, of at most ``max_bytes``. It is open while the loop's body runs, and then ends
        as by a ``with``: see :class:`BatchStream`. Raises as :meth:`drain`.
        """
        return BatchStream(self, partial(self.drain, max_records, max_bytes))

    def __aiter__(self) -> BatchStream[RecordBatch]:
        return self.batches()

    @property
    def sender_gone(self) -> bool:
        """Whether the producer closed its end or died, and all its records were drained. Raises ClosedError."""
        return self._peer_state() < 0

    def _peer_state(self, info: CData | None = None) -> int:
        handle = self._handle or self._claim()
        code = int(lib.kr_consumer_peer(handle, info if info is not None else ffi.new("kr_role_info *")))
        if code == lib.KR_E_FORKED:
            raise self._fault(code)
        return code

    def _sender_end(self) -> tuple[RecvError, int] | None:
        """How the producer ended, and the epoch of its claim. None: it lives, or has not come, or records are left."""
        info = ffi.new("kr_role_info *")
        code = self._peer_state(info)
        if code >= 0:
            return None
        cause = "closed" if code == lib.KR_E_PEER_CLOSED else "dead"
        return RecvError(self.name, cause=cause, pid=info.pid), info.epoch

    def _pass_end(self, epoch: int) -> None:
        """From now on wait for a successor of the producer that ended. Nothing else reports that end again."""
        code = lib.kr_consumer_pass_end(self._handle or self._claim(), epoch)
        if code < 0:
            raise self._fault(code)

    def _freeze(self) -> None:
        """Give views that outlive their batch a private copy of its bytes, and this handle a new mapping."""
        self._cut_off_strays(self._segment.new_lender())

    def close(self) -> None:
        """Give the role up: the producer's next write raises SendError. Views that are alive keep their bytes.

        An open batch ends, and the next consumer drains its records. Closing twice does nothing. Raises
        :class:`SegmentError` (``"resources"``) if there is no memory to keep the bytes of such views.
        """
        if self._is_done:
            return
        if not self._closed and self._handle is None and self._segment.closes_unused_roles:
            with contextlib.suppress(KevyRingError):
                self._claim()
        self._closed = True
        self._handle = None
        code, batch = 0, self._open_batch
        if self._claimant is not None:
            self._last_lender = self._lender or self._last_lender  # set if an earlier close was interrupted
            self._bind(None, 0, None, 0)
            if batch is not None:
                batch._abandon()
            if self._last_lender is not None:
                code = self._last_lender.end()
            lib.kr_consumer_close(self._claimant.handle)
        self._tasks.wake()
        self._segment.leave(self)
        vars(self).pop("_claimant", None)
        self._last_lender = None
        self._is_done = True
        if code < 0:
            raise handle_fault(self.name, code)

    def __del__(self) -> None:
        if hasattr(self, "_tasks"):
            self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        self._segment.handed_over = True
        return _attached, (type(self), self.name, self._spin_ns / 1000)


def _attached(kind: type[Consumer], name: str, spin_us: float) -> Consumer:
    return kind(Segment.attach(name), spin_us=spin_us)
