"""The exceptions of kevy-ring. The class of an exception says what is at fault.

Each error has fields, so that no caller has to parse a message. All classes here derive from :class:`KevyRingError`.
Bad arguments raise Python's ``ValueError`` and ``TypeError``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from kevy_ring.events import ReplicaApply


class KevyRingError(Exception):
    """The base class of all errors of this package."""


class ClosedError(KevyRingError):
    """This handle was closed in this process, or belongs to another process.

    Fields: ``name`` of the ring; ``reason``: ``"closed"``, ``"forked"``, ``"released"`` (a batch), ``"committed"`` or
    ``"aborted"`` (of a grant).
    """

    def __init__(self, name: str, reason: str = "closed", detail: str = "") -> None:
        text = {
            "closed": f"ring {name!r}: this handle is closed",
            "forked": f"ring {name!r}: this handle was taken by the parent process before the fork; "
            "attach by name in the child instead",
            "released": f"ring {name!r}: this batch is released",
            "committed": f"ring {name!r}: this grant is committed already; reserve space for the next record",
            "aborted": f"ring {name!r}: this grant was given up before it was committed; reserve space again",
        }.get(reason, f"ring {name!r}: {reason}")
        super().__init__(f"{text} ({detail})" if detail else text)
        self.name = name
        self.reason = reason


class BatchOpen(KevyRingError):
    """``drain`` was called while the previous batch of the consumer is open. Release it first.

    Fields: ``name``.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"ring {name!r}: a batch is open; release it before the next drain")
        self.name = name


class GrantOpen(KevyRingError):
    """A grant of this producer is open. Commit or abort it before the next record. Fields: ``name``."""

    def __init__(self, name: str) -> None:
        super().__init__(f"ring {name!r}: a grant is open; commit or abort it before the next record")
        self.name = name


class ObjectTooLarge(KevyRingError, ValueError):
    """An object does not fit into the ring. Nothing of it was written.

    Fields: ``name``; ``needed`` (bytes of its record); ``limit`` (bytes of the largest record of this ring).
    """

    def __init__(self, name: str, *, needed: int, limit: int) -> None:
        fits = 1 << (needed + 32).bit_length()  # a power of two with room for the record's header
        super().__init__(
            f"ring {name!r}: this object needs a record of {needed} bytes, and the largest record of this ring has "
            f"{limit}: send it in parts, or make the ring with a capacity of {fits}"
        )
        self.name = name
        self.needed = needed
        self.limit = limit


class ObjectError(KevyRingError):
    """A record cannot be made into an object. ``__cause__`` is the error of the codec.

    ``recv``, ``try_recv`` and ``recv_many`` have taken the record out of the ring. A batch has not: ``release(index +
    1)`` skips it.

    Fields: ``name``; ``detail``; ``records`` (copies of the records that failed); ``received`` (the objects that were
    made of the other records of the same ``recv_many``, in order); ``index`` (of the record in its batch, else None).
    """

    def __init__(
        self,
        name: str,
        *,
        detail: str,
        records: Sequence[bytes] = (),
        received: Sequence[object] = (),
        index: int | None = None,
    ) -> None:
        more = f" (and {len(records) - 1} more)" if len(records) > 1 else ""
        super().__init__(
            f"ring {name!r}: a record{more} is no object of this codec: {detail}; .records has a copy of its bytes"
        )
        self.name = name
        self.detail = detail
        self.records = list(records)
        self.received = list(received)
        self.index = index


class SendError(KevyRingError):
    """The receiver is gone: it cannot apply events any more.

    Fields: ``name``; ``cause`` (``"closed"`` or ``"dead"``); ``pid`` of the receiver's process (0 if it never came);
    ``event`` (the argument of ``send``, else None); ``unsent`` (all events of the call that were not accepted, in
    order); ``undelivered`` (how many accepted events are in the overflow, which are lost when this sender ends).
    """

    def __init__(
        self,
        name: str,
        *,
        cause: str,
        pid: int = 0,
        event: ReplicaApply | None = None,
        unsent: Sequence[ReplicaApply] = (),
        undelivered: int = 0,
    ) -> None:
        what = "closed its end" if cause == "closed" else "died"
        super().__init__(
            f"ring {name!r}: the receiver (pid {pid}) {what}"
            + (f"; {undelivered} events in the overflow cannot be delivered" if undelivered else "")
        )
        self.name = name
        self.cause = cause
        self.pid = pid
        self.event = event
        self.unsent: Sequence[ReplicaApply] = list(unsent) if unsent else ([event] if event is not None else [])
        self.undelivered = undelivered


class OutOfMemory(KevyRingError, MemoryError):
    """There is no memory for the overflow. Accepted events are delivered; the events in ``unsent`` were not accepted.

    Fields: ``name``; ``taken`` (how many events of the call were accepted); ``event`` (the argument of ``send``, else
    None); ``unsent`` (all events of the call that were not accepted, in order).
    """

    def __init__(
        self, name: str, *, taken: int = 0, event: ReplicaApply | None = None, unsent: Sequence[ReplicaApply] = ()
    ) -> None:
        self.unsent: Sequence[ReplicaApply] = list(unsent) if unsent else ([event] if event is not None else [])
        self.name = name
        self.taken = taken
        self.event = event
        super().__init__(
            f"ring {name!r}: no memory for the overflow: {taken} events were taken and will be delivered, "
            f"{len(self.unsent)} were not: send those in .unsent again later"
        )


class RecvError(KevyRingError):
    """The sender is gone, and all events that it published were received.

    Fields: ``name``; ``cause`` (``"closed"`` or ``"dead"``); ``pid`` of the sender's process.
    """

    def __init__(self, name: str, *, cause: str, pid: int = 0) -> None:
        what = "closed its end" if cause == "closed" else "died"
        super().__init__(f"ring {name!r}: the sender (pid {pid}) {what}, and all that it published was received")
        self.name = name
        self.cause = cause
        self.pid = pid


class GroupEnded(RecvError):
    """No ring is left in a group: every producer closed its end or died, and all that they published was delivered.

    Fields: those of :class:`RecvError`, with the ``name`` ``"group"`` and the ``cause`` and ``pid`` of the last end.
    """

    def __init__(self, last: RecvError | None) -> None:
        super().__init__("group", cause=last.cause if last else "closed", pid=last.pid if last else 0)
        self.args = ("no ring is left in this group: all producers are gone, and all that they published was received",)


class ConsumerGone(SendError):
    """A distributor cannot write to a ring, because its consumer closed its end or died.

    Fields: those of :class:`SendError`; ``name``, ``cause`` and ``pid`` say which consumer. ``unsent``: the records of
    the call that are in no ring, in order. ``indexes``: their indexes in the sequence of the call. ``unread``: how many
    records are in that ring that no consumer released; a successor of the consumer reads them, or
    ``take_back(error.name)`` returns them.
    """

    unsent: Sequence[Any]

    def __init__(
        self, name: str, *, cause: str, pid: int, unsent: Sequence[Any], indexes: Sequence[int], unread: int
    ) -> None:
        super().__init__(name, cause=cause, pid=pid)
        self.unsent, self.indexes, self.unread = unsent, indexes, unread
        what = "closed its end" if cause == "closed" else "died"
        self.args = (
            f"ring {name!r}: the consumer (pid {pid}) {what}; it left {unread} records in the ring, which a successor "
            f"reads, or take_back() returns; {len(unsent)} records of this call were not written",
        )


class TasksLost(KevyRingError):
    """A process got objects from a queue and ended before it called ``task_done`` for them. The others are done.

    Fields: ``name`` of the ring; ``lost`` (how many objects).
    """

    def __init__(self, name: str, *, lost: int) -> None:
        super().__init__(f"ring {name!r}: {lost} objects were got by a process that ended before task_done()")
        self.name = name
        self.lost = lost


class RoleTaken(KevyRingError):
    """Another live process has this role of the ring. Fields: ``name``, ``role``, ``pid``."""

    def __init__(self, name: str, *, role: str, pid: int) -> None:
        super().__init__(
            f"ring {name!r}: the {role} role is held by the live process {pid}: stop it, or use another ring"
        )
        self.name = name
        self.role = role
        self.pid = pid


class SegmentError(KevyRingError):
    """A segment cannot be made, found or mapped, or its header is wrong.

    Fields: ``name``; ``reason``, one of ``"exists"``, ``"missing"``, ``"timeout"``, ``"permission"``,
    ``"space"``, ``"not-a-ring"``, ``"version"``, ``"geometry"``, ``"resources"``; ``detail``; ``errno`` (0 when no
    system call failed); ``needed`` and ``free`` in bytes (for ``"space"``, else 0).
    """

    def __init__(
        self, name: str, *, reason: str, detail: str = "", errno: int = 0, needed: int = 0, free: int = 0
    ) -> None:
        super().__init__(f"segment {name!r}: {reason}" + (f": {detail}" if detail else ""))
        self.name = name
        self.reason = reason
        self.detail = detail
        self.errno = errno
        self.needed = needed
        self.free = free


class CorruptRing(KevyRingError):
    """The ring holds bytes that no correct peer writes. This handle reads nothing more from it.

    Fields: ``name``; ``position`` (the free-running position of the record, or 0 for the header); ``field`` (the part
    that is wrong).
    """

    def __init__(self, name: str, *, position: int, field: str) -> None:
        super().__init__(f"ring {name!r} is corrupt at position {position}: {field}")
        self.name = name
        self.position = position
        self.field = field


class EventTruncated(KevyRingError):
    """An event larger than the ring is lost: a receiver that is gone took its first part, and the rest was skipped.

    Fetch the event from the upstream again. Fields: ``name``, ``offset``.
    """

    def __init__(self, name: str, *, offset: int) -> None:
        super().__init__(
            f"ring {name!r}: the event at offset {offset} is lost: another receiver took its beginning and is gone; "
            "fetch it from the upstream again, with a full sync"
        )
        self.name = name
        self.offset = offset


class ViewsEscaped(KevyRingError):
    """Views into a batch or a grant are alive, so its space is not given back. Drop them, then release or commit again.

    Fields: ``name``; ``held`` (the bytes of the ring that stay taken).
    """

    def __init__(self, name: str, *, held: int, of: str = "batch") -> None:
        todo = {
            "batch": "copy what you keep with bytes(view), drop the views, and call release() again",
            "grant": "drop them (del, or view.release()), and call commit() or abort() again",
        }[of]
        super().__init__(f"ring {name!r}: views into this {of} are still alive, {held} bytes stay held; {todo}")
        self.name = name
        self.held = held


class RemoteProtocolError(KevyRingError):
    """The upstream broke its protocol. The link must be dropped.

    Fields: ``detail``; ``at`` (bytes of the stream consumed before the error, or None).
    """

    def __init__(self, detail: str, *, at: int | None = None) -> None:
        super().__init__(detail if at is None else f"{detail} (byte {at} of the stream)")
        self.detail = detail
        self.at = at


class OffsetGap(RemoteProtocolError):
    """The stream skipped or repeated an offset. Fields: ``expected``, ``got``."""

    def __init__(self, *, expected: int, got: int, at: int | None = None) -> None:
        super().__init__(f"offset gap: expected {expected}, got {got}", at=at)
        self.expected = expected
        self.got = got


class RefusalKind(Enum):
    """Why an upstream cannot be followed."""

    LOGIN = "login"  # a missing or wrong password, or an unknown user
    PERMISSION = "permission"  # the user may not run the commands of a replica
    COMMAND = "command"  # PSYNC (or REPLICATE) is renamed, forbidden or unknown there
    PROTECTED = "protected"  # Redis's protected mode takes no links from other machines
    TLS = "tls"  # one side speaks TLS and the other does not, or a certificate is not accepted
    SENTINEL = "sentinel"  # the port is that of a Sentinel
    SILENT = "silent"  # the upstream closes every handshake without a byte
    PROTOCOL = "protocol"  # the upstream breaks the protocol in the same way each time
    SNAPSHOT = "snapshot"  # the upstream announces a full sync, and the link ends before the whole snapshot has come
    BUSY = "busy"  # the upstream is loading, has lost its own primary, or has no room now
    OTHER = "other"  # another error reply


class Refusal(NamedTuple):
    """Why an upstream cannot be followed, in fields.

    ``remedy``: a hint for people, or empty. ``is_permanent``: waiting alone does not help. ``times``: how many attempts
    in a row have ended in this way.
    """

    kind: RefusalKind
    remedy: str = ""
    is_permanent: bool = False
    times: int = 1

    @property
    def is_confirmed(self) -> bool:
        """Whether it is certain that the refusal is permanent: a second attempt ended in the same way.

        A server that is starting may refuse once. A TLS mismatch needs no second attempt: no server has one at a start.
        """
        return self.is_permanent and (self.times > 1 or self.kind is RefusalKind.TLS)


class UpstreamRefused(KevyRingError):
    """The upstream answered the handshake with an error line.

    Fields: ``reply`` (its text); ``refusal`` (a :class:`Refusal`: the meaning and the remedy).
    """

    def __init__(self, reply: str, refusal: Refusal | None = None) -> None:
        super().__init__(f"the upstream refused: {reply}")
        self.reply = reply
        self.refusal = refusal if refusal is not None else Refusal(RefusalKind.OTHER)


class LinkError(KevyRingError):
    """The link to an upstream cannot be made, or broke without a regular end.

    Fields: ``upstream`` (its URL without secrets); ``reason``, one of ``"connect"`` (refused, unresolved, TLS),
    ``"timeout"``, ``"broken"``; ``detail``; ``errno`` (0 when no system call failed); ``refusal`` (a :class:`Refusal`
    where another attempt alone does not help, as with TLS, else None).
    """

    def __init__(
        self, upstream: str, *, reason: str, detail: str = "", errno: int = 0, refusal: Refusal | None = None
    ) -> None:
        super().__init__(f"{upstream}: {reason}" + (f": {detail}" if detail else ""))
        self.upstream = upstream
        self.reason = reason
        self.detail = detail
        self.errno = errno
        self.refusal = refusal


class SnapshotError(KevyRingError):
    """The bytes of a snapshot cannot be decoded. Nothing of it was applied. Fields: ``detail``, ``at`` (the byte)."""

    def __init__(self, detail: str, *, at: int = 0) -> None:
        super().__init__(f"snapshot: {detail} (byte {at})")
        self.detail = detail
        self.at = at


class SinkError(KevyRingError):
    """A sink cannot take events. The events that it did not take are not marked as applied.

    Fields: ``sink`` (its kind, and the place it writes to); ``reason``, one of ``"missing-extra"`` (a package is not
    installed), ``"untested-version"`` (of a package whose private names the sink uses), ``"space"`` (a full disk or a
    quota), ``"io"``, ``"refused"`` (the target answers with an error or cannot hold it), ``"locked"`` (another sink
    writes there), ``"timeout"``, ``"closed"`` (its reader has gone), ``"load"`` (the user's own code cannot be found,
    or fails in a filter); ``detail``; ``errno`` (0 when no system call failed).
    """

    def __init__(self, sink: str, *, reason: str, detail: str = "", errno: int = 0) -> None:
        super().__init__(f"sink {sink}: {reason}" + (f": {detail}" if detail else ""))
        self.sink = sink
        self.reason = reason
        self.detail = detail
        self.errno = errno


class DeadLetterError(SinkError):
    """The file of dead letters cannot be written. Its events are not marked as applied. Fields: those of SinkError.

    A run ends with it: a new process of a sink that keeps no position would load a snapshot and pass the events over.
    """


class TargetRefused(SinkError):
    """A sink refuses to write to a Redis server, because that would destroy data. Another attempt ends in the same way.

    Fields: those of SinkError (``reason`` is ``"refused"``), and ``cause``, one of ``"same-server"`` (the target is the
    upstream or of its history), ``"replica"`` (the target is a replica), ``"loop"`` (what was written came back in the
    stream), ``"foreign-keys"`` (the target holds keys that this sink did not write), ``"unchecked"`` (INFO is refused),
    ``"in-use"`` (another run writes there); ``keys``: how many keys each database holds, for ``"foreign-keys"``.
    """

    def __init__(self, sink: str, *, cause: str, detail: str, keys: Mapping[int, int] | None = None) -> None:
        super().__init__(sink, reason="refused", detail=detail)
        self.cause = cause
        self.keys: Mapping[int, int] = dict(keys or {})


class FilterRefused(KevyRingError):
    """A command of the stream needs keys on both sides of a filter and cannot be cut down. Nothing of it is applied.

    It ends the run under every ``--on-error``, because a part of the command would pass.

    Fields: ``command`` (its name); ``offset``; ``filter`` (its text); ``detail``; ``key`` (one that decides it, or
    None).
    """

    def __init__(self, command: bytes, offset: int, filter: str, detail: str, *, key: bytes | None = None) -> None:
        name = command[:40].decode("utf-8", "backslashreplace")
        super().__init__(
            f"the filter {filter} cannot apply {name} at offset {offset}: {detail}. Nothing of it was applied. Give a "
            "filter with all of these keys or with none of them, and a new place for the sink"
        )
        self.command = command
        self.offset = offset
        self.filter = filter
        self.detail = detail
        self.key = key


class EventRefused(KevyRingError):
    """A sink could not take an event, and the policy for that is to stop. Another attempt ends in the same way.

    Fields: ``sink``; ``offset`` of the event (None: it is not known); ``db``; ``command``: its name (empty: it is a
    snapshot); ``detail``.
    """

    def __init__(self, sink: str, *, offset: int | None, detail: str, db: int = 0, command: bytes = b"") -> None:
        super().__init__(
            f"sink {sink}: refused at offset {offset}: {detail}. The position stays before it (--on-error stop). Mend "
            "the cause, or start with --on-error skip or dead-letter:FILE"
        )
        self.sink = sink
        self.offset = offset
        self.db = db
        self.command = command
        self.detail = detail


class PrimaryGone(KevyRingError):
    """The process of an embedded upstream died or does not answer.

    Fields: ``pid``; ``exitcode`` (negative: the signal that killed it; None: it lives but does not answer).
    """

    def __init__(self, *, pid: int, exitcode: int | None) -> None:
        what = "does not answer" if exitcode is None else f"ended with exit code {exitcode}"
        super().__init__(f"the embedded upstream (pid {pid}) {what}")
        self.pid = pid
        self.exitcode = exitcode
