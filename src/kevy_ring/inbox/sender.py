"""The runner's end of an inbox: ``send`` returns in microseconds, even if the shard is stopped."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from kevy_ring._calls import SenderCalls
from kevy_ring._core import lib
from kevy_ring.errors import ClosedError, KevyRingError, OutOfMemory
from kevy_ring.events import BytesLike, ReplicaApply
from kevy_ring.inbox.frame_scanner import FrameRun, FrameScanner
from kevy_ring.inbox.header_words import FREE_PRODUCER_WORDS
from kevy_ring.inbox.overflow import Overflow, read_overflow
from kevy_ring.inbox.resume_point import Published, read_published
from kevy_ring.inbox.sending_end import SENDER, SendingEnd
from kevy_ring.ring.deadline import checked_timeout
from kevy_ring.ring.event_loop import WaitingTasks
from kevy_ring.ring.fault import handle_fault
from kevy_ring.ring.producer import receiver_gone
from kevy_ring.ring.segment import Handle, Segment, address_of
from kevy_ring.ring.stats import read_stats

if TYPE_CHECKING:
    from kevy_ring._core import CData

_GONE = (lib.KR_E_PEER_CLOSED, lib.KR_E_PEER_DEAD)


class ReplicaInboxSender(SenderCalls, Handle):
    """Sends replicated events to one shard. Made by :func:`replica_inbox_pair` or :meth:`attach`.

    It takes the producer role on first use, for the process that uses the handle first. It can be pickled to another
    process. Many threads may use one handle at once, or each its own :meth:`clone`. When the last handle is closed, or
    its ``with`` ends, the receiver sees that the sender is gone. A handle that took its role before a fork raises
    :class:`ClosedError` in the child.

    ``send``, ``send_many`` and ``reserve_chunk`` come from ``SenderCalls`` (csrc/python/sender.c).

        sender.send_many([Frame(18, [b"DEL", b"k"]), Frame(19, [b"INCR", b"n"])])
        left = sender.close(timeout=1.0)
    """

    _end: SendingEnd | None = None  # set before it has the role: see kevy_ring.ring.claimant

    def __init__(self, segment: Segment, end: SendingEnd | None = None) -> None:
        self._segment = segment
        self.name = segment.name
        self._handle: CData | None = None  # set when it has the role
        self._tasks = WaitingTasks()
        self._closed = self._is_done = False
        if end is None:
            segment.enter(self)
        else:
            self._take(end)

    @classmethod
    def attach(cls, name: str, timeout: float | None = 0.0) -> ReplicaInboxSender:
        """The sender of the inbox ``name``. Waits up to ``timeout`` seconds (None: without limit) for it to be made.

        Takes the role at once. Raises :class:`SegmentError` (``reason`` says why) and :class:`RoleTaken`.
        """
        sender = cls(Segment.attach(name, timeout))
        sender._claim()
        return sender

    def _claim(self) -> CData:
        """Take the role, or continue a claim that was interrupted or that another thread runs."""
        if self._closed:
            raise ClosedError(self.name)
        if self._end is not None and self._end.foreign and self._handle is None:
            vars(self).pop("_end", None)  # made before a fork, and without the role: it belongs to the parent
        end: SendingEnd = self._end or vars(self).setdefault("_end", SendingEnd(self._segment))
        end.take()
        self._take(end)
        self._segment.leave(self)  # the end has entered the segment itself
        return end.sender

    def _take(self, end: SendingEnd) -> None:
        """Use ``end``, which has the role. Calling it again changes nothing."""
        end.enter(self)
        self._end = end
        self._bind(end.sender, address_of(end.sender), end.lender)
        self._handle = end.sender

    def _role(self) -> SendingEnd:
        """The end that has the role. Takes the role at the first use."""
        if self._handle is None or self._end is None:
            self._claim()
        assert self._end is not None
        return self._end

    def _fault(self, code: int, event: ReplicaApply | None = None, unsent: Sequence[ReplicaApply] = ()) -> Exception:
        """The exception for an error code of the core, with the events that were not taken."""
        if code in _GONE:
            end = self._role()
            left = read_overflow(end.sender).events
            return receiver_gone(self.name, end.producer, code, event=event, unsent=unsent, undelivered=left)
        if code == lib.KR_E_TOO_LARGE:
            return ValueError("an event is at most 4 GiB")
        if code == lib.KR_E_NOMEM:
            return OutOfMemory(self.name, event=event, unsent=unsent)
        return handle_fault(self.name, code)

    def _unsent(self, code: int, sent: Any, is_list: int, taken: int) -> Exception:
        """The exception for a send of one event, or of a list of which ``taken`` events were accepted."""
        event, unsent = (None, sent[taken:]) if is_list else (sent, ())
        if code < 0:
            return self._fault(code, event, unsent)
        return OutOfMemory(self.name, taken=taken, event=event, unsent=unsent)

    def _tell_no_thread(self) -> None:
        self._role().warn_no_thread()

    def scan_frames(self, scanner: FrameScanner, received: BytesLike, offset: int) -> FrameRun:
        """Send the run of plain frames at the start of ``received``, in one call of the core and with one publish.

        ``scanner`` knows the protocol. Returns what was taken. ``received``: contiguous bytes from the wire.
        ``offset``: for kevy the offset that the next frame must have; for Redis the number of bytes of the stream
        before ``received``. Raises as :meth:`send`.
        """
        code = scanner.scan(self._handle or self._claim(), received, offset)
        if code < 0:
            raise self._fault(code)
        if code & lib.KR_SEND_NO_THREAD:
            self._tell_no_thread()
        return scanner.run()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until the overflow is empty: True. False: ``timeout`` seconds (None: no limit) passed, or the receiver
        is gone.

        Raises :class:`ClosedError`, and ``ValueError`` for a timeout that is not a number.
        """
        return self._role().flush(checked_timeout(timeout))

    async def flush_async(self, timeout: float | None = None) -> bool:
        """As :meth:`flush` with ``timeout``, for a task of asyncio (uvloop too) or trio. Other tasks run at least once.

        Raises :class:`ClosedError` if the handle is closed meanwhile.
        """
        await self._tasks.until(lambda: self._role().is_flush_over(), self.fileno, timeout)
        return not read_overflow(self._role().sender).events

    def fileno(self) -> int:
        """A descriptor that is readable while the overflow is empty or the receiver is gone (select, epoll, asyncio).

        With it a program can stop reading from its upstream until the shard has caught up. It is closed with the last
        handle. Raises :class:`ClosedError`.
        """
        return self._role().fileno()

    @property
    def overflow(self) -> Overflow:
        """The events that wait in this process because the ring was full."""
        if self._end is None:
            return Overflow(0, 0, 0, 0.0)
        return read_overflow(self._end.sender)

    def watch_overflow(self, high: int, low: int, callback: Callable[[Overflow], None] | None) -> None:
        """Call ``callback(overflow)`` when the overflow rises to ``high`` bytes, and when it falls to ``low`` bytes.

        The calls alternate, once for each crossing. A separate thread makes them: a send does not wait for it, and the
        overflow may have changed meanwhile. An exception of the callback is logged. None ends the watch. Raises
        ``ValueError`` unless 0 <= low < high, RuntimeError if no thread can be started, and :class:`ClosedError`.
        """
        if callback is not None and not 0 <= low < high:
            raise ValueError(f"the marks of the overflow are 0 <= low < high, not low={low}, high={high}")
        code = self._role().overflow_watch.start(high, low, callback)
        if code < 0:
            raise self._fault(code)

    @property
    def receiver_gone(self) -> bool:
        """Whether the receiver closed its end or died: then every send fails. Raises :class:`ClosedError`."""
        return self._role().peer_code() in _GONE

    @property
    def applied_offset(self) -> int | None:
        """The newest offset that the shard has marked as applied; None before the first."""
        return read_stats(self._segment).applied_offset

    @property
    def loading(self) -> bool:
        """Whether a snapshot was sent, from its SnapshotBegin on, that the shard has not marked as applied."""
        return self._role().is_snapshot_pending

    @property
    def published(self) -> Published:
        """The last event that was published in the ring, also if a dead predecessor published it.

        Events in the overflow of a dead predecessor are lost and come after this one: fetch them from the upstream
        again.
        """
        return read_published(self._segment)

    def set_upstream(self, upstream_id: str, db: int = 0) -> None:
        """Name the history of the events that are sent from now on. A successor reads it in :attr:`published`.

        ``upstream_id``: at most 64 bytes (a Redis replication id, a kevy generation in decimal). ``db``: the selected
        database until an event selects another one. Raises ``ValueError`` for a longer id, and :class:`ClosedError`.
        """
        name = upstream_id.encode()
        code = lib.kr_sender_set_upstream(self._handle or self._claim(), name, len(name), db)
        if code < 0:
            raise self._fault(code)

    def set_word(self, which: int, value: int) -> None:
        """Publish ``value`` (unsigned 64 bits) in the application's word ``which`` (4, 6 to 15) of the ring's header.

        Raises ``ValueError`` for another word, and :class:`ClosedError`.
        """
        if which not in FREE_PRODUCER_WORDS:
            raise ValueError(f"the application's words are 4 and 6 to 15, not {which}")
        code = lib.kr_producer_set_word(self._role().producer, which, value)
        if code < 0:
            raise self._fault(code)

    def clone(self) -> ReplicaInboxSender:
        """Another handle on the same role, for another thread. Raises :class:`ClosedError`."""
        if self._closed:
            raise ClosedError(self.name)
        return ReplicaInboxSender(self._segment, self._role())

    def close(self, timeout: float = 5.0) -> int:
        """Close this handle. The last one waits up to ``timeout`` seconds for the overflow, then gives the role up.

        Returns how many events were left in the overflow and are lost; if there are any, it also warns
        (``ResourceWarning``). An open grant of a chunk is given up: its ``commit`` then raises :class:`ClosedError`.
        Raises ``ValueError`` for a timeout that is not a number.
        """
        if self._is_done:
            return 0
        checked_timeout(timeout)
        self._closed = True  # if this close is interrupted, the next one finishes it, or the drop of the handle
        self._handle = None
        self._bind(None, 0, None)
        self._tasks.wake()
        end = self._end
        left = 0
        if end is None or not end.has_role:
            self._close_unused()
        elif end.leave(self) and not end.foreign:
            end.end_grant()
            end.flush(timeout)
            left = end.shut()
        self._is_done = True
        vars(self).pop("_end", None)
        if left:
            warnings.warn(
                f"ring {self.name!r}: closed with {left} events in the overflow, which are lost; use a longer timeout",
                ResourceWarning,
                stacklevel=2,
            )
        return left

    def _close_unused(self) -> None:
        """Close a handle that never took its role."""
        if self._segment.closes_unused_roles:
            with contextlib.suppress(KevyRingError):
                sender = SENDER.new_handle(self._segment, self._segment.new_area())
                SENDER.claim(self._segment, sender)
                lib.kr_sender_close(sender)
        if self._end is not None:
            self._end.shut()
        self._segment.leave(self)

    def __del__(self) -> None:
        if getattr(self, "_is_done", True):
            return
        self._closed = self._is_done = True
        end = self._end
        if end is None or not end.has_role:
            self._close_unused()
        elif end.leave(self):
            end.shut_when_drained()

    def __reduce__(self) -> tuple[Any, ...]:
        self._segment.handed_over = True
        return _attached_sender, (self.name,)


def _attached_sender(name: str) -> ReplicaInboxSender:
    return ReplicaInboxSender(Segment.attach(name))
