"""The producer of a ring: writes records and reveals them with one store."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any

from kevy_ring._calls import ProducerCalls
from kevy_ring._core import ffi, lib
from kevy_ring.errors import ClosedError, KevyRingError, SendError
from kevy_ring.events import BytesLike
from kevy_ring.ring.claimant import PRODUCER, Claimant, claimant_of
from kevy_ring.ring.deadline import deadline_after, nanoseconds_left
from kevy_ring.ring.event_loop import WaitingTasks
from kevy_ring.ring.fault import handle_fault
from kevy_ring.ring.packed import contiguous_bytes, element_lengths, uint32_lengths
from kevy_ring.ring.segment import Handle, Segment, address_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from kevy_ring._core import CData


def receiver_gone(name: str, producer: CData, code: int, **fields: Any) -> SendError:
    """The error for a receiver that closed or died."""
    info = ffi.new("kr_role_info *")
    lib.kr_producer_peer(producer, info)
    return SendError(name, cause="closed" if code == lib.KR_E_PEER_CLOSED else "dead", pid=info.pid, **fields)


class Producer(ProducerCalls, Handle):
    """The one producer of a ring. Made by :meth:`Ring.producer`.

    It can be pickled to another process, which takes the role on first use. :meth:`close`, or the end of a ``with``,
    gives the role up. All methods may be called from any thread. They raise :class:`SendError` when the consumer has
    closed its end or died, and :class:`ClosedError` on a handle that is closed, or that took its role before a fork.

        while not producer.try_write(record):
            producer.wait(len(record))
    """

    _claimant: Claimant | None = None  # set before it has the role

    def __init__(self, segment: Segment) -> None:
        self._tasks = WaitingTasks()
        self._handle: Any = None  # set when it has the role
        self._closed = self._is_done = False
        self.name = segment.name
        self._segment = segment.enter(self)

    def _claim(self) -> CData:
        """Take the role, or continue a claim that was interrupted or that another thread runs."""
        if self._closed:
            raise ClosedError(self.name)
        claimant = claimant_of(self, self._segment, PRODUCER)
        PRODUCER.claim(self._segment, claimant.handle)
        self._bind(claimant.handle, address_of(claimant.handle), claimant.lender)
        self._handle = claimant.handle
        return claimant.handle

    def _fault(self, code: int) -> Exception:
        if code in (lib.KR_E_PEER_CLOSED, lib.KR_E_PEER_DEAD):
            return receiver_gone(self.name, self._handle, code)
        if code == lib.KR_E_TOO_LARGE:
            return ValueError(
                f"ring {self.name!r}: a record can never be larger than the ring ({self._segment.capacity} bytes)"
            )
        if code == lib.KR_E_ARGUMENT:
            return ValueError(f"ring {self.name!r}: the lengths do not add up to the bytes")
        return handle_fault(self.name, code)

    def write_packed(self, packed: BytesLike | npt.NDArray[Any], lengths: npt.ArrayLike | None = None) -> int:
        """Write records that are joined in ``packed``, and publish them at once. Returns how many fitted. Never waits.

        ``lengths``: their sizes in bytes, as a list or an array of integers of shape (n,). An array of uint32 is used
        as it is; others are converted. None: ``packed`` is a numpy array, and each element along its first axis is one
        record. A structured array gives one record for each structure.

        Raises ``ValueError`` if the lengths do not add up to the bytes, or are no sizes of records; ``TypeError`` if
        they are not integers, or if ``packed`` is not contiguous or has Python objects; else as :meth:`write_many`.

            producer.write_packed(b"onetwothree", [3, 3, 5])
            producer.write_packed(np.array([(1, 2.5), (2, 7.0)], [("key", "<u8"), ("price", "<f8")]))
        """
        handle = self._handle or self._claim()
        if lengths is None:
            lengths = element_lengths(packed)
        sizes = ffi.from_buffer("uint32_t[]", uint32_lengths(lengths))
        joined = ffi.from_buffer(contiguous_bytes(packed))
        done: int = lib.kr_producer_write_many(handle, joined, len(joined), sizes, len(sizes))
        if done < 0:
            raise self._fault(done)
        return done

    def wait(self, length: int = 1, timeout: float | None = None) -> bool:
        """Sleep until a record of ``length`` bytes fits: True. False: ``timeout`` seconds (None: no limit) passed.

        Raises :class:`SendError` if the consumer goes away meanwhile, ``ValueError`` for a length larger than the ring,
        and :class:`ClosedError`.
        """
        handle = self._handle or self._claim()
        deadline = deadline_after(timeout)
        while True:
            code = lib.kr_producer_wait(handle, length, nanoseconds_left(deadline))
            if code == lib.KR_WAIT_GONE:
                raise self._fault(lib.kr_producer_peer(handle, ffi.new("kr_role_info *")))
            if code < 0:
                raise self._fault(code)
            if code != lib.KR_WAIT_INTERRUPTED:
                return bool(code == lib.KR_WAIT_READY)

    async def wait_async(self, length: int = 1, timeout: float | None = None) -> bool:
        """As :meth:`wait`, for a task of asyncio (uvloop too) or trio: ``length`` bytes, ``timeout`` seconds.

        Other tasks run at least once. Raises as :meth:`wait`; :class:`ClosedError` also if the handle is closed
        meanwhile.
        """
        return await self._tasks.until(partial(self.wait, length, 0), partial(self.fileno, length), timeout)

    def fileno(self, length: int = 1) -> int:
        """A descriptor that is readable when ``length`` bytes fit or the consumer is gone (select, epoll, asyncio).

        It may also become readable once a second without a reason (every 100 ms while the consumer is in another pid
        namespace). Call this again, or ``wait(length, 0)``, each time. Raises ``ValueError`` for a length larger than
        the ring, and :class:`ClosedError`.
        """
        fd = lib.kr_producer_wait_fd(self._handle or self._claim(), length)
        if fd < 0:
            raise self._fault(fd)
        return int(fd)

    @property
    def receiver_gone(self) -> bool:
        """Whether the consumer closed its end or died (one load). Raises :class:`ClosedError`."""
        code = lib.kr_producer_peer(self._handle or self._claim(), ffi.new("kr_role_info *"))
        return code in (lib.KR_E_PEER_CLOSED, lib.KR_E_PEER_DEAD)

    def accept_successor(self) -> bool:
        """Write again after :class:`SendError`, if a new consumer has the role. False: the consumer is still gone.

        The new consumer reads the records that the old one did not release. Raises :class:`ClosedError`.
        """
        code: int = lib.kr_producer_accept_successor(self._handle or self._claim())
        if code < 0:
            raise self._fault(code)
        return bool(code)

    def close(self) -> None:
        """Publish the committed records and give the role up. The consumer sees the end after the last record.

        Views of an open grant keep their bytes, but nothing that is written to them reaches the ring any more. Closing
        twice does nothing. Raises :class:`SegmentError` (``"resources"``) if there is no memory to keep the bytes of
        such views.
        """
        if self._is_done:
            return
        if not self._closed and self._handle is None and self._segment.closes_unused_roles:
            with contextlib.suppress(KevyRingError):
                self._claim()
        self._closed = True
        self._handle = None
        self._bind(None, 0, None)
        if self._claimant is not None:
            lib.kr_producer_close(self._claimant.handle)
        self._tasks.wake()
        self._segment.leave(self)
        # After the role is given up: until then another thread may write a record, which must reach the ring.
        code = self._claimant.lender.end() if self._claimant is not None else 0
        vars(self).pop("_claimant", None)
        self._is_done = True
        if code < 0:
            raise handle_fault(self.name, code)

    def __del__(self) -> None:
        if getattr(self, "_segment", None) is not None:
            self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        self._segment.handed_over = True
        return _attached_producer, (self.name,)


def _attached_producer(name: str) -> Producer:
    return Producer(Segment.attach(name))
