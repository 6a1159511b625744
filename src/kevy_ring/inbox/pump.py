"""The sending end of one inbox in this process: the producer role, shared by all clones, and the pump.

The pump is a thread that exists only while the overflow holds something. It moves the overflow into the ring as
the shard frees space, so the tail of a burst arrives without another send.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING

from kevy_ring._core import ffi, lib
from kevy_ring.errors import ClosedError
from kevy_ring.inbox.overflow import Overflow, read_overflow
from kevy_ring.inbox.published import read_published
from kevy_ring.ring.fault import handle_fault
from kevy_ring.ring.lender import Lender
from kevy_ring.ring.producer import open_producer
from kevy_ring.ring.segment import Segment

if TYPE_CHECKING:
    from kevy_ring._core import CData

_log = logging.getLogger(__name__)
EXIT_FLUSH_S = 5.0  # a process that ends with a full overflow waits this long for the shard, and no longer
# Words of the header that the sending end publishes; 0 to 3 are the overflow's gauges, from 6 on the application's.
WORD_SNAPSHOTS_BEGUN = 4
WORD_SNAPSHOTS_ENDED = 5
_FLUSH_TICK_S = 0.05
_PUMP_SLICE_NS = 500_000_000


class SendingEnd:
    """The producer role as this process holds it. ``handles`` clones use it; the last one to close gives it up."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.area = segment.new_area()
        self.lender = Lender(self.area, segment.capacity)
        self.producer: CData = open_producer(segment, self.area)
        self.pid = os.getpid()
        self.handles = 0
        self.closed = False
        self.callback: Callable[[Overflow], None] | None = None
        # Of a predecessor only what was published counts: what waited behind the ring went with it.
        self.snapshots_begun = self.snapshots_ended = read_published(segment).snapshots
        for word in (WORD_SNAPSHOTS_BEGUN, WORD_SNAPSHOTS_ENDED):
            lib.kr_producer_set_word(self.producer, word, self.snapshots_ended)
        self.in_snapshot = False
        self._drained = threading.Condition()
        self._pumps = 0  # threads; two for a moment, when one ends and the next has begun
        self._pump_is_wanted = False
        self._close_when_drained = False
        self._flushed_fd = -1  # an eventfd, once it was asked for: not 0 while nothing waits behind the ring
        # Runs at exit, in multiprocessing's children too, before the owner of the segment removes its name.
        self._at_exit = Finalize(self, SendingEnd._flush_at_exit, args=(self.producer,), exitpriority=100)

    @property
    def foreign(self) -> bool:
        """Whether this is a copy in a forked child of the process that has the role."""
        return os.getpid() != self.pid

    @staticmethod
    def _flush_at_exit(producer: CData) -> None:
        deadline = time.monotonic() + EXIT_FLUSH_S
        while read_overflow(producer).events and time.monotonic() < deadline:
            if lib.kr_pump(producer, 10_000_000) < 0:  # the peer is gone, or the handle is closed
                break
        left = read_overflow(producer).events
        if left:
            _log.warning("exit with %d events in the overflow that the shard did not take in time", left)
        lib.kr_producer_close(producer)

    def acted(self, bits: int) -> None:
        """Do what a send asked for: start the pump, call the overflow's watcher."""
        if bits & lib.KR_SEND_PUMP or self._pump_is_wanted:
            self._start_pump()
        if bits & lib.KR_SEND_HIGH:
            self._call(above_high=True)

    def _start_pump(self) -> None:
        with self._drained:
            self._pumps += 1
            self._pump_is_wanted = False
            if self._flushed_fd >= 0:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._flushed_fd)
        try:
            threading.Thread(target=self._pump, name=f"kevy-ring-pump-{self.segment.name}", daemon=True).start()
        except RuntimeError:  # no thread to be had now: the next send that overflows, or a flush, tries again
            _log.warning("ring %s: no thread for the pump, the overflow waits", self.segment.name)
            with self._drained:
                self._pumps -= 1
                self._pump_is_wanted = True

    def _pump(self) -> None:
        while True:
            code = lib.kr_pump(self.producer, _PUMP_SLICE_NS)
            if code == lib.KR_PUMP_LOW:
                self._call(above_high=False)
            elif code != lib.KR_PUMP_AGAIN:
                break
        with self._drained:
            # The core has let a next pump start before this one gets here: only the last one may close.
            self._pumps -= 1
            shall_close = self._pumps == 0 and self._close_when_drained
            self._drained.notify_all()
            if self._pumps == 0:
                self._ring_flushed()
        if shall_close:
            self.shut()

    def _call(self, *, above_high: bool) -> None:
        callback = self.callback
        if callback is None:
            return
        try:
            callback(read_overflow(self.producer, above_high=above_high))
        except Exception:
            _log.exception("the overflow callback of ring %s failed", self.segment.name)

    def flush(self, timeout: float | None) -> bool:
        """Wait until the overflow is empty. False: the time is up, or the receiver is gone."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while read_overflow(self.producer).events:
            left = 0.5 if deadline is None else min(0.5, deadline - time.monotonic())
            if left <= 0 or self.peer_code() < 0 or self.closed:
                return False
            if self._pump_is_wanted:
                self._start_pump()
            with self._drained:
                self._drained.wait(min(left, _FLUSH_TICK_S))
        return True

    @property
    def is_flushed(self) -> bool:
        """Whether nothing waits behind the ring."""
        return not read_overflow(self.producer).events

    def is_flush_over(self) -> bool:
        """Whether a flush has nothing to wait for: all is in the ring, or never will be."""
        if self._pump_is_wanted:
            self._start_pump()
        return self.is_flushed or self.peer_code() < 0 or self.closed

    def fileno(self) -> int:
        """A descriptor that is readable while nothing waits behind the ring, or nothing that does can go on."""
        with self._drained:
            if self.closed or self.foreign:
                raise ClosedError(self.segment.name, "forked" if self.foreign else "closed")
            if self._flushed_fd < 0:
                self._flushed_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                if not self._pumps:
                    self._ring_flushed()
            return self._flushed_fd

    def _ring_flushed(self) -> None:
        if self._flushed_fd >= 0 and (self.is_flushed or self.peer_code() < 0):
            os.eventfd_write(self._flushed_fd, 1)

    def peer_code(self) -> int:
        """0, or the core's code for a receiver that closed or died."""
        code: int = lib.kr_producer_peer(self.producer, ffi.new("kr_role_info *"))
        return code

    def shut(self) -> int:
        """Give the role up now. Returns the number of events that are left in the overflow and lost."""
        if self.closed or self.foreign:
            return 0
        self.closed = True
        left = read_overflow(self.producer).events
        lib.kr_producer_close(self.producer)
        self._at_exit.cancel()
        with self._drained:
            if self._flushed_fd >= 0:
                os.close(self._flushed_fd)
                self._flushed_fd = -1
        self.segment.leave()
        code = self.lender.end()  # a chunk that is still being written must not reach a successor's ring
        if code < 0:
            raise handle_fault(self.segment.name, code)
        return left

    def shut_when_drained(self) -> None:
        """Give the role up as soon as the overflow is empty: for handles that are dropped without a close."""
        if self.closed or self.foreign:
            return
        if self._pump_is_wanted:
            self._start_pump()
        with self._drained:
            self._close_when_drained = True
            if self._pumps:
                return
        self.shut()
