"""The consumer of a ring: takes batches of records, reads them where they lie, gives their space back."""

from __future__ import annotations

import contextlib
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kevy_ring._calls import ConsumerCalls, Lender
from kevy_ring._core import ffi, lib
from kevy_ring.errors import ClosedError, KevyRingError, RecvError
from kevy_ring.ring.batch import RecordBatch
from kevy_ring.ring.batch_stream import BatchStream
from kevy_ring.ring.claimant import Claimant, claimant_of
from kevy_ring.ring.deadline import deadline_after, nanoseconds_left, seconds_left
from kevy_ring.ring.event_loop import WaitingTasks
from kevy_ring.ring.fault import consumer_fault, handle_fault, role_failure
from kevy_ring.ring.segment import Segment, address_of, handle_repr

if TYPE_CHECKING:
    from kevy_ring._core import CData

DEFAULT_SPIN_US = 30.0


def _new_consumer(segment: Segment, area: CData) -> CData:
    """A handle for the consumer role of ``segment``, without the role."""
    if segment.map is None:
        raise ClosedError(segment.name)
    return ffi.gc(lib.kr_consumer_new(segment.map, area), lib.kr_consumer_free)


class Consumer(ConsumerCalls):
    """The one reader of a ring. Made by :meth:`Ring.consumer`.

    Pickles to another process, which takes the role on first use. One batch at a time.

    ``spin_us``: how long :meth:`wait` and :meth:`read` look at the ring before they sleep, at most (0: not at all). A
    window in which nothing came is half as long the next time, and whole again once events come that fast: an event
    every few milliseconds costs no spinning.
    """

    _claimant: Claimant | None = None  # from before it has the role
    _last_lender: Lender | None = None  # of a handle that is being closed

    def __init__(self, segment: Segment, *, spin_us: float = DEFAULT_SPIN_US) -> None:
        self._segment = segment.enter(self)
        self.name = segment.name
        self._spin_ns = int(spin_us * 1000)
        self._handle: Any = None  # once it has the role
        self._closed = self._is_done = False
        self._tasks = WaitingTasks()
        self._nothing = RecordBatch()  # of all empty drains: they allocate nothing

    def _claim(self) -> CData:
        """Take the role, or continue a claim that was interrupted or that runs in another thread."""
        if self._handle is not None:
            return self._handle
        if self._closed:
            raise ClosedError(self.name)
        claimant = claimant_of(self, self._segment, _new_consumer)
        why = ffi.new("kr_failure *")
        if lib.kr_consumer_take(claimant.handle, why):
            raise role_failure(self.name, "consumer", why)
        self._has_taken_role()
        self._bind(claimant.handle, address_of(claimant.handle), claimant.lender, self._spin_ns)
        self._handle = claimant.handle
        return claimant.handle

    def _has_taken_role(self) -> None:
        """Prepare what depends on the role, before anything else may use it; again after an interruption."""

    def _fault(self, code: int) -> Exception:
        """The exception for a result of the core. A producer that is gone: all that it published was taken."""
        if code in (lib.KR_E_PEER_CLOSED, lib.KR_E_PEER_DEAD):
            info = ffi.new("kr_role_info *")
            lib.kr_consumer_peer(self._handle, info)
            return RecvError(self.name, cause="closed" if code == lib.KR_E_PEER_CLOSED else "dead", pid=info.pid)
        return consumer_fault(self.name, self._handle, code)

    def _take_fragment(self, batch: RecordBatch, is_fragment: int) -> bool:
        """Whether the batch can be given out as it is; a ring of records knows no events that come in parts."""
        return True

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until there is something to drain, or the producer is gone: True. False: ``timeout`` seconds passed."""
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
        """A descriptor that is readable when there is something to drain or the producer is gone.

        Once a second it may be readable without either (every 100 ms while the producer is in another pid namespace):
        a look by ``drain`` or ``wait(0)`` is due then.
        """
        fd: int = lib.kr_consumer_wait_fd(self._handle or self._claim())
        if fd < 0:
            raise self._fault(fd)
        return fd

    async def wait_async(self, timeout: float | None = None) -> bool:
        """As :meth:`wait`, for a task of asyncio (uvloop too) or trio, and without spinning.

        Other tasks run at least once. Any number of tasks may wait, and all are woken. Raises :class:`ClosedError` when
        the handle is closed meanwhile. A wait that is cancelled takes nothing.
        """
        return await self._tasks.until(self._is_awake, self.fileno, timeout)

    def _is_awake(self) -> bool:
        return self.wait(0)

    async def read_async(self, timeout: float | None = None) -> bytes | None:
        """As :meth:`read`, for a task. A read that is cancelled took nothing."""
        deadline = deadline_after(timeout)
        while await self.wait_async(seconds_left(deadline)):
            record = self.try_read()
            if record is not None:
                return record
        return None

    def batches(self, max_records: int = 1024, max_bytes: int | None = None) -> BatchStream[RecordBatch]:
        """For ``async for``: batches as :meth:`drain` gives them, until the producer is gone.

        Each is open while the loop's body runs, and released behind it as by a ``with``: see :class:`BatchStream`.
        """
        return BatchStream(self, partial(self.drain, max_records, max_bytes))

    def __aiter__(self) -> BatchStream[RecordBatch]:
        return self.batches()

    @property
    def sender_gone(self) -> bool:
        """Whether the producer closed its end or died, and all that it published has been drained."""
        return self._peer_state() < 0

    def _peer_state(self, info: CData | None = None) -> int:
        handle = self._handle or self._claim()
        code = int(lib.kr_consumer_peer(handle, info if info is not None else ffi.new("kr_role_info *")))
        if code == lib.KR_E_FORKED:
            raise self._fault(code)
        return code

    def _freeze(self) -> None:
        """Give the views that outlive their batch a private copy of its bytes, and the ring a new mapping."""
        self._cut_off_strays(self._segment.new_lender())

    def close(self) -> None:
        """Give the role up; the producer's next write fails. Views that are still alive keep their bytes."""
        if self._is_done:
            return
        if not self._closed and self._handle is None and self._segment.closes_unused_roles:
            with contextlib.suppress(KevyRingError):
                self._claim()
        self._closed = True
        self._handle = None
        code, batch = 0, self._open_batch
        if self._claimant is not None:
            self._last_lender = self._lender or self._last_lender  # from an interrupted close
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

    def __repr__(self) -> str:
        return handle_repr(self, self._segment, self._handle, closed=self._closed)

    def __enter__(self) -> Consumer:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_tasks"):
            self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        self._segment.handed_over = True
        return _attached, (type(self), self.name, self._spin_ns / 1000)


def _attached(kind: type[Consumer], name: str, spin_us: float) -> Consumer:
    return kind(Segment.attach(name), spin_us=spin_us)
