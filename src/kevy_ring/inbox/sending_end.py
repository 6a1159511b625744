"""The sending end of one inbox in this process: the producer role, shared by all clones of a sender.

The pump behind it is a thread of the core (csrc/inbox/pump.c). While the overflow is not empty, the pump moves it into
the ring as the shard frees space, so the end of a burst arrives without another send. Only the core starts the pump and
knows whether it runs. A signal handler may raise between any two steps of Python: it cannot stop the pump.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import weakref
from typing import TYPE_CHECKING

from kevy_ring._core import ffi, lib
from kevy_ring.errors import ClosedError
from kevy_ring.inbox.exit_flush import flush_at_exit
from kevy_ring.inbox.header_words import is_snapshot_pending
from kevy_ring.inbox.overflow import read_overflow
from kevy_ring.inbox.overflow_watch import OverflowWatch
from kevy_ring.ring.fault import handle_fault, role_failure
from kevy_ring.ring.segment import Segment
from kevy_ring.ring.stats import read_stats

if TYPE_CHECKING:
    from kevy_ring._core import CData

_log = logging.getLogger(__name__)
_FLUSH_TICK_S = 0.05  # a signal that came just before a sleep waits so long for its handler


def new_sender(segment: Segment, area: CData) -> CData:
    """A handle for the producer role of ``segment`` and for the overflow, which :func:`take_sender` takes."""
    if segment.map is None:
        raise ClosedError(segment.name)
    return ffi.gc(lib.kr_sender_new(segment.map, area), lib.kr_sender_free)


def take_sender(segment: Segment, sender: CData) -> None:
    """Take the role for this process, or raise :class:`RoleTaken`. A handle that has it keeps it."""
    why = ffi.new("kr_failure *")
    if lib.kr_sender_take(sender, why):
        raise role_failure(segment.name, "producer", why)


class SendingEnd:
    """The producer role as this process holds it; :meth:`take` takes it.

    Whatever interrupts a method, the core stays in order: an event that was accepted is delivered, at the latest after
    the last reference to this object is gone, by the pump alone.
    """

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.lender = segment.new_lender()
        self.sender: CData = new_sender(segment, self.lender.area)
        self.producer: CData = lib.kr_sender_producer(self.sender)  # a part of the sender, which it must not outlive
        self.pid = os.getpid()
        self.closed = False
        self.overflow_watch = OverflowWatch(self.sender, segment.name)
        self._handles: dict[int, weakref.ref[object]] = {}  # of this process, by id; changed by one step each
        segment.enter(self)

    def take(self) -> None:
        """Take the role, or find that it was taken by a call that was interrupted. Raises :class:`RoleTaken`."""
        flush_at_exit()
        take_sender(self.segment, self.sender)

    @property
    def has_role(self) -> bool:
        """Whether the role was taken through this object."""
        return bool(lib.kr_producer_has_role(self.producer))

    @property
    def foreign(self) -> bool:
        """Whether this is a copy in a forked child of the process that has the role."""
        return os.getpid() != self.pid

    def enter(self, handle: object) -> None:
        """Count one more handle."""
        self._handles[id(handle)] = weakref.ref(handle)

    def leave(self, handle: object) -> bool:
        """Count one handle less, once. Whether no handle is left."""
        self._handles.pop(id(handle), None)
        return not any(left() is not None for left in tuple(self._handles.values()))

    def tell_that_no_thread_is_to_be_had(self) -> None:
        """The core could not start the pump. Told once: each later send that overflows tries again."""
        with contextlib.suppress(Exception):  # of a handler of the log: the event was accepted
            _log.warning(
                "ring %s: no thread can be started for the pump (see ulimit -u and the cgroup's pids.max); what waits "
                "in the overflow moves when a later send can start one, or by flush()",
                self.segment.name,
            )

    def flush(self, timeout: float | None) -> bool:
        """Wait until the overflow is empty. False: the time is up, or the receiver is gone."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _FLUSH_TICK_S if deadline is None else min(_FLUSH_TICK_S, deadline - time.monotonic())
            code = lib.kr_flush(self.sender, max(0, int(left * 1e9)))
            if code != lib.KR_WAIT_TIMEOUT or left <= 0:
                return bool(code in (lib.KR_WAIT_READY, lib.KR_E_FORKED))

    @property
    def is_flushed(self) -> bool:
        """Whether nothing waits behind the ring."""
        return not read_overflow(self.sender).events

    def is_flush_over(self) -> bool:
        """Whether a flush has nothing to wait for: all is in the ring, or never will be."""
        return bool(lib.kr_flush(self.sender, 0) != lib.KR_WAIT_TIMEOUT)

    def fileno(self) -> int:
        """A descriptor that is readable while nothing waits behind the ring, or nothing of it can move."""
        fd: int = lib.kr_flushed_fd(self.sender)
        if fd < 0:
            raise handle_fault(self.segment.name, fd)
        return fd

    def peer_code(self) -> int:
        """0, or the core's code for a receiver that closed or died."""
        code: int = lib.kr_producer_peer(self.producer, ffi.new("kr_role_info *"))
        return code

    @property
    def is_snapshot_pending(self) -> bool:
        """Whether a snapshot was begun that the shard has not marked as applied."""
        sent = ffi.new("kr_snapshots_sent *")
        lib.kr_sender_snapshots(self.sender, sent)
        return is_snapshot_pending(read_stats(self.segment), sent.ended, is_open=bool(sent.is_open))

    def shut(self) -> int:
        """Give the role up now. Returns the number of events that are left in the overflow and lost."""
        if self.foreign:
            return 0
        left: int = lib.kr_sender_close(self.sender)
        self.closed = True
        self.segment.leave(self)
        code = self.lender.end()  # a chunk that is still being written must not reach a successor's ring
        if code < 0:
            raise handle_fault(self.segment.name, code)
        return left

    def shut_when_drained(self) -> None:
        """Give the role up as soon as the overflow is empty: for handles that are dropped without a close."""
        if self.closed or self.foreign:
            return
        if self.lender.may_be_written:  # by a view that outlived its grant: the pump continues in a mapping of its own
            lib.kr_sender_rebase(self.sender, self.segment.new_area())
            self.lender.end()
        is_closed = lib.kr_sender_close_when_drained(self.sender)
        self.closed = True
        self.segment.leave(self, keeps_name=not is_closed)
