"""The consumer of a ring: takes batches of records, reads them where they lie, gives their space back."""

from __future__ import annotations

import contextlib
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kevy_ring._core import ffi, lib
from kevy_ring.errors import ClosedError, KevyRingError, RecvError
from kevy_ring.ring.batch import Columns, RecordBatch
from kevy_ring.ring.batch_stream import BatchStream
from kevy_ring.ring.calls import ConsumerCalls, address_of
from kevy_ring.ring.claimant import Claimant, claimant_of
from kevy_ring.ring.deadline import deadline_after, nanoseconds_left, seconds_left
from kevy_ring.ring.event_loop import WaitingTasks
from kevy_ring.ring.fault import consumer_fault, handle_fault, role_failure
from kevy_ring.ring.lender import Lender
from kevy_ring.ring.segment import Segment, handle_repr

if TYPE_CHECKING:
    from kevy_ring._core import CData

NO_LIMIT = 2**64 - 1
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

    _area: CData | None
    _claimant: Claimant | None = None  # from before it has the role
    _columns: Columns | None  # of the last drain
    _spare_columns: Columns | None = None  # of the last one of another number of records
    _lender: Lender | None  # of the area, once a view of it was asked for
    _nothing: RecordBatch  # of all empty drains: they allocate nothing

    def __init__(self, segment: Segment, *, spin_us: float = DEFAULT_SPIN_US) -> None:
        self._segment = segment.enter(self)
        self.name = segment.name
        self._spin_ns = int(spin_us * 1000)
        self._handle: Any = None  # once it has the role
        self._closed = self._is_done = False
        self._tasks = WaitingTasks()
        self._nothing = RecordBatch()
        self._out = ffi.cast("kr_batch *", self._place_of_out())

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
        self._area = claimant.area
        self._bind(claimant.handle, address_of(claimant.handle), self._spin_ns)
        self._handle = claimant.handle
        return claimant.handle

    def _has_taken_role(self) -> None:
        """Prepare what depends on the role, before anything else may use it; again after an interruption."""

    def _fault(self, code: int) -> Exception:
        return consumer_fault(self.name, self._handle, code)

    def _taken(self, max_records: int, max_bytes: int | None) -> RecordBatch:
        """The next batch, by one call of the core.

        While a batch is open in any thread the core refuses, and touches neither columns nor ``_out``.
        """
        limit = NO_LIMIT
        if max_bytes is not None:
            if max_bytes < 1:
                raise ValueError("a drain takes at least one byte")
            limit = min(max_bytes, NO_LIMIT)
        if self._handle is None:
            self._claim()
        if self._strays:
            self._freeze()
        return self._take(self._take_columns(max_records), limit)

    def _take_columns(self, max_records: int) -> Columns:
        """The last ones, those before them, or new ones: who asks for one record and for many in turn needs two.

        They are nobody else's while the core fills them; a batch that is open reads its own, and may hand out views of
        them while this thread is on its way into the core.
        """
        if max_records < 1:
            raise ValueError("a drain takes at least one record")
        if self._open_batch is None:
            columns, self._columns = self._columns, None
            if columns is not None and columns.asked == max_records and not columns.exposed:
                return columns
            spare, self._spare_columns = self._spare_columns, columns
            if spare is not None and spare.asked == max_records and not spare.exposed:
                return spare
        return Columns(min(max_records, self._segment.capacity // 16), max_records)

    def _lend(self) -> Lender:
        lender = self._lender
        if lender is None:
            lender = self._lender = Lender(self._area, self._segment.capacity)
        return lender

    def _drain(self, max_records: int = 1024, max_bytes: int | None = None) -> RecordBatch:
        """``drain`` of another number of records than the last time, and of what is refused."""
        return self._taken(max_records, max_bytes)

    def _read_many(self, max_records: int) -> list[bytes]:
        """``read_many`` of more than the core takes at once, and of what it refuses."""
        with self.drain(max_records) as batch:
            copies: list[bytes] = batch.copies()
            return copies

    def _try_read(self) -> bytes | None:
        """``try_read`` at the end, and of what the core refuses."""
        records = self._read_many(1)
        if not records:
            self._raise_at_the_end()
        return records[0] if records else None

    def _raise_at_the_end(self) -> None:
        """Raise RecvError when the producer is gone and all that it published was taken."""
        info = ffi.new("kr_role_info *")
        code = self._peer_state(info)
        if code < 0:
            raise RecvError(self.name, cause="closed" if code == lib.KR_E_PEER_CLOSED else "dead", pid=info.pid)

    def _refused(self, code: int) -> None:
        raise self._fault(code)

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
        fresh = self._segment.new_area()
        self._cut_off_strays(fresh, address_of(fresh))

    def close(self) -> None:
        """Give the role up; the producer's next write fails. Views that are still alive keep their bytes."""
        if self._is_done:
            return
        if not self._closed and self._handle is None and self._segment.closes_unused_roles:
            with contextlib.suppress(KevyRingError):
                self._claim()
        self._closed = True
        self._handle = None
        code, batch, lender = 0, self._open_batch, self._lender
        if self._claimant is not None:
            self._bind(None, 0, 0)
            if batch is not None:
                batch._abandon()
            if lender is not None and lender.escaped():
                code = lender.cut_off()
            lib.kr_consumer_close(self._claimant.handle)
        self._tasks.wake()
        self._segment.leave(self)
        vars(self).pop("_claimant", None)
        self._area = self._lender = None
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
        if getattr(self, "_out", None) is not None:
            self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        self._segment.handed_over = True
        return _attached, (type(self), self.name, self._spin_ns / 1000)


def _attached(kind: type[Consumer], name: str, spin_us: float) -> Consumer:
    return kind(Segment.attach(name), spin_us=spin_us)
