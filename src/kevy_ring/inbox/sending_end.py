"""The sending end of one inbox in this process: the producer role, shared by all clones of a sender.

The pump is a thread of the core (csrc/inbox/pump.c). It moves the overflow into the ring as the shard frees space, so
the end of a burst arrives without another send. Only the core starts the pump and knows whether it runs. So a signal
handler that raises between two steps of Python cannot stop the pump.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import weakref
from typing import TYPE_CHECKING

from kevy_ring._core import ffi, lib
from kevy_ring.inbox.exit_flush import flush_at_exit
from kevy_ring.inbox.header_words import is_snapshot_pending
from kevy_ring.inbox.overflow_watch import OverflowWatch
from kevy_ring.ring.claimant import RoleCalls
from kevy_ring.ring.fault import handle_fault
from kevy_ring.ring.segment import Segment
from kevy_ring.ring.stats import read_stats

if TYPE_CHECKING:
    from kevy_ring._core import CData

_log = logging.getLogger(__name__)
_FLUSH_TICK_S = 0.05  # a signal that comes just before a sleep is handled after at most this time


#: The producer role, with the overflow.
SENDER = RoleCalls("producer", lib.kr_sender_new, lib.kr_sender_take, lib.kr_sender_free)


class SendingEnd:
    """The producer role of one inbox in this process; :meth:`take` takes it.

    A method may be interrupted at any point without harm to the core: the pump delivers every accepted event, also
    after the last reference to this object is dropped.
    """

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.lender = segment.new_lender()
        self.sender: CData = SENDER.new_handle(segment, self.lender.area)
        self.producer: CData = lib.kr_sender_producer(
            self.sender
        )  # a part of the sender: it must not outlive the sender
        self.pid = os.getpid()
        self.closed = False
        self.overflow_watch = OverflowWatch(self.sender, segment.name)
        self._handles: dict[int, weakref.ref[object]] = {}  # of this process, by id; one step makes each change
        segment.enter(self)

    def take(self) -> None:
        """Take the role, unless an interrupted call has taken it already. Raises :class:`RoleTaken`."""
        flush_at_exit(self)
        SENDER.claim(self.segment, self.sender)

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
        """Count one handle less, once. Returns whether no handle is left."""
        self._handles.pop(id(handle), None)
        return not any(left() is not None for left in tuple(self._handles.values()))

    def warn_no_thread(self) -> None:
        """Warn that the core could not start the pump. Each later send that overflows tries to start it again."""
        with contextlib.suppress(Exception):  # of a log handler: the event was accepted, so send must not raise
            _log.warning(
                "ring %s: no thread can be started for the pump (see ulimit -u and the cgroup's pids.max); the "
                "overflow moves into the ring when a later send can start one, or when flush() is called",
                self.segment.name,
            )

    def flush(self, timeout: float | None) -> bool:
        """Wait until the overflow is empty: True. False: the time is up, or the receiver is gone."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _FLUSH_TICK_S if deadline is None else min(_FLUSH_TICK_S, deadline - time.monotonic())
            code = lib.kr_flush(self.sender, max(0, int(left * 1e9)))
            if code != lib.KR_WAIT_TIMEOUT or left <= 0:
                return bool(code in (lib.KR_WAIT_READY, lib.KR_E_FORKED))

    def is_flush_over(self) -> bool:
        """Whether a flush has nothing to wait for: the overflow is empty, or the receiver is gone."""
        return bool(lib.kr_flush(self.sender, 0) != lib.KR_WAIT_TIMEOUT)

    def fileno(self) -> int:
        """A descriptor that is readable while the overflow is empty or the receiver is gone."""
        fd: int = lib.kr_flushed_fd(self.sender)
        if fd < 0:
            raise handle_fault(self.segment.name, fd)
        return fd

    def peer_code(self) -> int:
        """0, or the core's code if the receiver closed its end or died."""
        code: int = lib.kr_producer_peer(self.producer, ffi.new("kr_role_info *"))
        return code

    @property
    def is_snapshot_pending(self) -> bool:
        """Whether a snapshot has begun that the shard has not marked as applied."""
        sent = ffi.new("kr_snapshots_sent *")
        lib.kr_sender_snapshots(self.sender, sent)
        return is_snapshot_pending(read_stats(self.segment), sent.ended, is_open=bool(sent.is_open))

    def end_grant(self) -> None:
        """Give back the space of an open grant of a chunk, because the pump moves nothing past it.

        Views of the grant get a private copy of their bytes, so they cannot write into later records.
        """
        if self.closed or self.foreign:
            return
        if self.lender.may_be_written:
            lib.kr_sender_rebase(self.sender, self.segment.new_area())
            self.lender.end()
        lib.kr_chunk_abort(self.sender)

    def shut(self) -> int:
        """Give the role up now. Returns how many events were left in the overflow and are lost."""
        if self.foreign:
            return 0
        left: int = lib.kr_sender_close(self.sender)
        self.closed = True
        self.segment.leave(self)
        code = self.lender.end()  # views of an open grant must not write into a successor's ring
        if code < 0:
            raise handle_fault(self.segment.name, code)
        return left

    def shut_when_drained(self) -> None:
        """Give the role up when the overflow is empty. For handles that are dropped without a close."""
        if self.closed or self.foreign:
            return
        self.end_grant()
        is_closed = lib.kr_sender_close_when_drained(self.sender)
        self.closed = True
        self.segment.leave(self, keeps_name=not is_closed)
