"""Every exception that kevy-ring raises on purpose, told apart by whose fault it is.

Errors carry fields; nobody needs to parse a message. ``ValueError`` and ``TypeError`` from Python
are raised as they are for bad arguments; everything here derives from :class:`KevyRingError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kevy_ring.events import ReplicaApply


class KevyRingError(Exception):
    """The root of all errors of this package."""


class ClosedError(KevyRingError):
    """This handle was closed by its own side, or belongs to another process.

    Fields: ``name`` (the ring), ``reason``: ``"closed"``, ``"forked"``, ``"released"`` (of a batch), ``"committed"`` or
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
    """``drain`` was called while the previous batch of the same consumer is still open.

    Fields: ``name``.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"ring {name!r}: a batch is open; release it before the next drain")
        self.name = name


class SendError(KevyRingError):
    """The receiver is gone: nothing that is sent can be applied any more.

    Fields: ``name``; ``event`` (the event that ``send`` was given, or None); ``unsent`` (all events
    of the call that were not accepted, in order); ``cause`` (``"closed"`` or ``"dead"``); ``pid`` of
    the receiver's process (0 when it never arrived); ``undelivered`` (events accepted earlier that
    still lie in the overflow and die with this sender).
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
    """There is no memory for the overflow. What was accepted before is delivered; ``unsent`` was not taken.

    Fields: ``name``; ``taken`` (how many events of the call were accepted); ``event`` (the event that ``send`` was
    given, or None); ``unsent`` (all events of the call that were not accepted, in order).
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
            f"{len(self.unsent)} were not (see .unsent)"
        )


class RecvError(KevyRingError):
    """The sender is gone and everything that it published has been received.

    Fields: ``name``; ``cause`` (``"closed"`` or ``"dead"``); ``pid`` of the sender's process.
    """

    def __init__(self, name: str, *, cause: str, pid: int = 0) -> None:
        what = "closed its end" if cause == "closed" else "died"
        super().__init__(f"ring {name!r}: the sender (pid {pid}) {what}, and all that it published was received")
        self.name = name
        self.cause = cause
        self.pid = pid


class RoleTaken(KevyRingError):
    """Another live process has this role of the ring. Fields: ``name``, ``role``, ``pid``."""

    def __init__(self, name: str, *, role: str, pid: int) -> None:
        super().__init__(f"ring {name!r}: the {role} role is held by the live process {pid}")
        self.name = name
        self.role = role
        self.pid = pid


class SegmentError(KevyRingError):
    """A segment cannot be made, found, mapped or trusted.

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
    """Shared memory holds what no honest peer writes; the ring is refused from now on.

    Fields: ``name``; ``position`` (the free-running position of the record, or 0 for the header);
    ``field`` (which part is wrong).
    """

    def __init__(self, name: str, *, position: int, field: str) -> None:
        super().__init__(f"ring {name!r} is corrupt at position {position}: {field}")
        self.name = name
        self.position = position
        self.field = field


class EventTruncated(KevyRingError):
    """The first part of an event larger than the ring went to a receiver that is gone; the rest was skipped.

    What is missing must be fetched from the upstream again. Fields: ``name``, ``offset``.
    """

    def __init__(self, name: str, *, offset: int) -> None:
        super().__init__(f"ring {name!r}: the beginning of the event at offset {offset} went to another receiver")
        self.name = name
        self.offset = offset


class ViewsEscaped(KevyRingError):
    """Views into a batch or a grant outlive it, so its space stays held; drop them and release or commit again.

    Fields: ``name``; ``held`` (bytes of the ring that stay held).
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
    """The upstream sent what its protocol does not allow; the link must be dropped.

    Fields: ``detail``; ``at`` (bytes of the stream consumed before the error, or None).
    """

    def __init__(self, detail: str, *, at: int | None = None) -> None:
        super().__init__(detail if at is None else f"{detail} (byte {at} of the stream)")
        self.detail = detail
        self.at = at


class OffsetGap(RemoteProtocolError):
    """The stream skipped or repeated an offset: continuity is broken. Fields: ``expected``, ``got``."""

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
    PROTOCOL = "protocol"  # the upstream breaks the protocol, each time in the same way
    SNAPSHOT = "snapshot"  # a full sync is promised, and the link ends before the whole snapshot came
    BUSY = "busy"  # the upstream loads, has lost its own primary, or has no room now
    OTHER = "other"  # an error reply that is none of these


class Refusal(NamedTuple):
    """Why an upstream cannot be followed, as facts: no caller has to parse a message.

    ``remedy``: what to do, for people; empty where nothing is known. ``is_permanent``: waiting alone does not help.
    ``times``: how many attempts in a row have ended in this way.
    """

    kind: RefusalKind
    remedy: str = ""
    is_permanent: bool = False
    times: int = 1

    @property
    def is_confirmed(self) -> bool:
        """Whether it is permanent, and not just a moment of a server that is being restarted.

        A mismatch of TLS needs no second attempt: no server shows one while it starts.
        """
        return self.is_permanent and (self.times > 1 or self.kind is RefusalKind.TLS)


class UpstreamRefused(KevyRingError):
    """The upstream answered the handshake with an error line.

    Fields: ``reply`` (its text); ``refusal`` (what it means and what to do).
    """

    def __init__(self, reply: str, refusal: Refusal | None = None) -> None:
        super().__init__(f"the upstream refused: {reply}")
        self.reply = reply
        self.refusal = refusal if refusal is not None else Refusal(RefusalKind.OTHER)


class LinkError(KevyRingError):
    """The link to an upstream cannot be made, or broke in a way that is not the upstream's own end of it.

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
    """A snapshot's bytes cannot be decoded; nothing of it was applied. Fields: ``detail``, ``at`` (byte)."""

    def __init__(self, detail: str, *, at: int = 0) -> None:
        super().__init__(f"snapshot: {detail} (byte {at})")
        self.detail = detail
        self.at = at


class SinkError(KevyRingError):
    """A sink cannot take what it is given; what it did not take is not marked as applied.

    Fields: ``sink`` (its kind, and the place it writes to); ``reason``, one of ``"missing-extra"`` (a package is not
    installed), ``"untested-version"`` (of a package whose private names the sink uses), ``"space"`` (a full disk or a
    quota), ``"io"``, ``"refused"`` (the target answers with an error or cannot hold it), ``"locked"`` (another sink
    writes there), ``"timeout"``, ``"closed"`` (its reader has gone), ``"load"`` (the user's own code cannot be found);
    ``detail``; ``errno`` (0 when no system call failed).
    """

    def __init__(self, sink: str, *, reason: str, detail: str = "", errno: int = 0) -> None:
        super().__init__(f"sink {sink}: {reason}" + (f": {detail}" if detail else ""))
        self.sink = sink
        self.reason = reason
        self.detail = detail
        self.errno = errno


class TargetRefused(SinkError):
    """A sink does not write to a Redis server, since that would destroy data. Another attempt ends in the same way.

    Fields: those of SinkError (``reason`` is ``"refused"``), and ``cause``, one of ``"same-server"`` (the target is the
    upstream or of its history), ``"replica"`` (the target is a replica), ``"loop"`` (what was written came back in the
    stream), ``"foreign-keys"`` (the target holds keys of others), ``"unchecked"`` (INFO is refused), ``"in-use"``
    (another run writes there); ``keys``: how many keys each database holds, for ``"foreign-keys"``.
    """

    def __init__(self, sink: str, *, cause: str, detail: str, keys: Mapping[int, int] | None = None) -> None:
        super().__init__(sink, reason="refused", detail=detail)
        self.cause = cause
        self.keys: Mapping[int, int] = dict(keys or {})


class PrimaryGone(KevyRingError):
    """The process of an embedded upstream died, or does not answer any more.

    Fields: ``pid``; ``exitcode`` (negative: the signal that killed it; None: it lives but is silent).
    """

    def __init__(self, *, pid: int, exitcode: int | None) -> None:
        what = "does not answer" if exitcode is None else f"ended with exit code {exitcode}"
        super().__init__(f"the embedded upstream (pid {pid}) {what}")
        self.pid = pid
        self.exitcode = exitcode
