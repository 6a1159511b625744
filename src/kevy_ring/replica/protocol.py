"""What the runner asks of a replication protocol: bytes in, events out, bytes to send; no socket and no clock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol

from kevy_ring.errors import RemoteProtocolError, UpstreamRefused
from kevy_ring.events import BytesLike, ReplicaApply

Synced = Literal["full", "partial"]


class FullSyncReason(Enum):
    """Why a link had to begin with a full sync."""

    FIRST = "first"  # nothing was received before
    STORE = "store"  # the sink keeps no position, and what the shard had applied went with its process
    RING = "ring"  # a new ring replaced the old one, and the position was lost with it
    INTERRUPTED = "interrupted"  # the snapshot before was not received or not loaded whole
    VIOLATION = "violation"  # an offset gap or another fault of the stream: what was received is in doubt
    HISTORY = "history"  # the upstream does not know the history, or its backlog does not reach back far enough


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where a later link goes on: the history, and the last offset received of it.

    ``upstream_id``: a kevy generation in decimal (``"0"``: none, protocol 1) or a Redis replication id (40
    hex digits). ``offset``: of the last received event in the protocol's own unit, frames for kevy and bytes
    for Redis; the two never mix. ``db``: the selected database (always 0 for kevy).
    """

    upstream_id: str
    offset: int
    db: int = 0


@dataclass(frozen=True, slots=True)
class ChunkAhead:
    """A chunk of a snapshot on the wire: ``head_bytes``, then ``body_bytes``, then ``tail``.

    No body bytes: the head is not whole yet.
    """

    head_bytes: int
    body_bytes: int
    tail: bytes


class ReplicationProtocol(Protocol):
    """One link's conversation with an upstream. One object per connection, from one thread.

    The owner writes ``data_to_send()`` after construction and after every call; hands every received byte to
    ``receive_data`` and the end of the stream (a reset counts as an end) to ``receive_eof``.
    """

    @property
    def name(self) -> str:
        """``"kevy1"``, ``"kevy2"`` or ``"redis"``."""

    @property
    def state(self) -> Enum:
        """Where the conversation stands; each protocol has its own enumeration and one table of transitions."""

    @property
    def error(self) -> RemoteProtocolError | UpstreamRefused | None:
        """What ended the conversation, or None. Set as soon as it is known, see ``receive_data``."""

    @property
    def established(self) -> bool:
        """True once the upstream has accepted the handshake."""

    @property
    def synced(self) -> Synced | None:
        """How this link started, once known: ``"full"`` from a snapshot or from the first offset, else ``"partial"``.

        A kevy upstream may start from offset 0 with frames and no snapshot: ``"full"`` with a Frame as the
        first event. A store that holds anything must then be emptied before that frame is applied.
        """

    @property
    def in_snapshot(self) -> bool:
        """True from SnapshotBegin returned to SnapshotEnd returned."""

    @property
    def snapshot_pending(self) -> bool:
        """True from the upstream's promise of a snapshot to SnapshotEnd returned; also when the link ended between."""

    @property
    def snapshot_bytes(self) -> int:
        """Bytes of the snapshot's body in the chunks returned so far (the last one's total afterwards)."""

    @property
    def snapshot_total(self) -> int | None:
        """Bytes of the whole snapshot where the upstream announced them, else None."""

    @property
    def resume_point(self) -> ResumePoint | None:
        """What to continue from after losing this link; None: only a full sync will do (so also in mid-snapshot).

        It covers only events that ``receive_data`` has returned. After an OffsetGap it is None.
        """

    @property
    def upstream_id(self) -> str:
        """The history that this link's events belong to, see ResumePoint; known from the first event on."""

    @property
    def db(self) -> int:
        """The database selected after the last event returned."""

    @property
    def received_offset(self) -> int | None:
        """The last offset received, in the unit of ``Frame.offset``; None before the first."""

    @property
    def last_event_offset(self) -> int | None:
        """What the shard's applied offset is once it has applied this link's last event; None before its first.

        Less than ``received_offset`` where bytes that are no event (a Redis PING) came after it, so it is this that
        an applied offset is compared with to see that the shard has caught up.
        """

    @property
    def upstream_offset(self) -> int | None:
        """The newest offset that the upstream is known to have, same unit; None where it never said."""

    @property
    def getack_pending(self) -> bool:
        """True when the upstream asked for an acknowledgement now; ``acknowledge`` clears it."""

    @property
    def refused_silently(self) -> bool:
        """True when the stream ended before any reply byte: how kevy refuses a version that it does not speak."""

    def data_to_send(self) -> bytes:
        """Bytes to write now (the handshake's next step), each once; ``b""`` when there are none."""

    def receive_data(self, data: BytesLike) -> list[ReplicaApply]:
        """The events in ``data`` and what was pending, each owning its memory. Any split of a stream gives the same.

        On a violation the events before it are returned, ``error`` is set, and the next call raises it; with no
        event before it, it is raised at once. So no event that ``resume_point`` covers is ever withheld.

        Raises RemoteProtocolError (OffsetGap among them) or UpstreamRefused, and nothing else.
        """

    def receive_eof(self) -> None:
        """The stream has ended. Raises RemoteProtocolError where it may not end (handshake, snapshot, half a frame)."""

    def acknowledge(self, applied_offset: int | None) -> bytes:
        """The wire bytes that acknowledge what the shard has applied; ``b""`` where the protocol has none now.

        None acknowledges nothing (as offset 0): pass it while a snapshot is being loaded, since an applied
        offset from before it belongs to another history. Never acknowledges more than was received.
        """

    # The seam for a native scanner: while frame_run_ready, it may walk whole plain frames itself.

    @property
    def frame_run_ready(self) -> bool:
        """True when the stream stands between two frames, with nothing pending and the kind of sync known."""

    @property
    def next_offset(self) -> int:
        """kevy: the offset that the next frame must have. Redis: the bytes of the stream before the next command."""

    def frames_scanned(self, consumed_bytes: int, frames: int, last_offset: int) -> None:
        """A scanner took ``frames`` whole frames in ``consumed_bytes`` bytes; the last has ``last_offset``.

        It stops before anything else: a control line or an unexpected offset (kevy); SELECT, PING and REPLCONF
        (Redis). Only while ``frame_run_ready``; ValueError when it is not or the figures cannot be.
        """

    # The seam for a snapshot's body: while chunk_run_ready, a chunk may be received where it will lie.

    @property
    def chunk_run_ready(self) -> bool:
        """True when the stream stands between two chunks of a snapshot, with nothing pending."""

    def chunk_ahead(self, data: BytesLike) -> ChunkAhead | None:
        """The chunk whose head ``data`` (the next bytes of the stream) begins with; None when no chunk comes next.

        Only while ``chunk_run_ready``. An invalid head is no chunk: ``receive_data`` says what is wrong with it.
        """

    def chunk_received(self, chunk: ChunkAhead) -> None:
        """The chunk was received, head, body and tail, and sent as a SnapshotChunk; its tail was compared."""

    def receive_to_frame_run(self, data: BytesLike) -> tuple[list[ReplicaApply], int]:
        """As ``receive_data``, but stops after the first unit at whose end a frame or chunk run is ready.

        Returns the events and how many bytes of ``data`` were taken; the rest is the scanner's again.
        """
