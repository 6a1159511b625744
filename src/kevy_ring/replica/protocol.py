"""The interface of a replication protocol: bytes in, events out, bytes to send. It uses no socket and no clock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol

from kevy_ring.errors import RemoteProtocolError, UpstreamRefused
from kevy_ring.events import BytesLike, ReplicaApply

Synced = Literal["full", "partial"]


class FullSyncReason(Enum):
    """Why a link began with a full sync."""

    FIRST = "first"  # nothing was received into this ring before
    STORE = "store"  # the sink keeps no position, and its process has ended
    RING = "ring"  # a new ring replaced the old one, and the position was lost with it
    INTERRUPTED = "interrupted"  # the last snapshot was not completely received or loaded
    VIOLATION = "violation"  # an offset gap or another violation of the protocol: the received data may be wrong
    HISTORY = "history"  # the upstream does not know the history, or its backlog does not reach back far enough


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where a later link continues: the history, and the last received offset of it.

    ``upstream_id``: a kevy generation in decimal (``"0"``: none, protocol 1) or a Redis replication id (40 hex digits).
    ``offset``: of the last received event, in frames for kevy and in bytes for Redis. ``db``: the selected database
    (always 0 for kevy).
    """

    upstream_id: str
    offset: int
    db: int = 0


@dataclass(frozen=True, slots=True)
class ChunkAhead:
    """A chunk of a snapshot on the wire: ``head_bytes``, then ``body_bytes``, then ``tail``.

    ``body_bytes`` is 0 while the head is incomplete.
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
        """The conversation's state. Each protocol has its own enumeration and one table of transitions."""

    @property
    def error(self) -> RemoteProtocolError | UpstreamRefused | None:
        """The error that ended the conversation, or None. Set as soon as it is known, see ``receive_data``."""

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
    def is_preparing(self) -> bool:
        """True if the upstream said within the handshake that it prepares a snapshot. Only Redis says it."""

    @property
    def in_snapshot(self) -> bool:
        """True after SnapshotBegin was returned and until SnapshotEnd was."""

    @property
    def snapshot_pending(self) -> bool:
        """True after the upstream promised a snapshot and until SnapshotEnd was returned, even if the link ended."""

    @property
    def snapshot_bytes(self) -> int:
        """Bytes in the snapshot's chunks returned so far. After the snapshot: the total of the last one."""

    @property
    def snapshot_total(self) -> int | None:
        """Bytes of the whole snapshot, or None if the upstream did not announce them."""

    @property
    def resume_point(self) -> ResumePoint | None:
        """Where to continue after this link is lost. None: a full sync is needed, also during a snapshot.

        It covers only events that ``receive_data`` has returned. After an OffsetGap it is None.
        """

    @property
    def upstream_id(self) -> str:
        """The history of this link's events, see ResumePoint. Known from the first event on."""

    @property
    def db(self) -> int:
        """The database selected after the last event returned."""

    @property
    def received_offset(self) -> int | None:
        """The last offset received, in the unit of ``Frame.offset``; None before the first."""

    @property
    def last_event_offset(self) -> int | None:
        """The offset of this link's last event; None before the first.

        It is less than ``received_offset`` if bytes without an event (a Redis PING) followed. A shard whose applied
        offset equals it has caught up.
        """

    @property
    def upstream_offset(self) -> int | None:
        """The newest offset that the upstream has reported, in the same unit; None if it reported none."""

    @property
    def getack_pending(self) -> bool:
        """True after the upstream asked for an acknowledgement; ``acknowledge`` clears it."""

    @property
    def refused_silently(self) -> bool:
        """True if the stream ended before any reply byte. kevy refuses an unknown protocol version in this way."""

    def data_to_send(self) -> bytes:
        """Bytes to write now, such as the handshake's next step; ``b""`` if there are none. Returns each byte once."""

    def receive_data(self, data: BytesLike) -> list[ReplicaApply]:
        """The events that ``data`` completes. Each owns its memory. They do not depend on how a stream is split.

        On a violation, the events before it are returned, ``error`` is set, and the next call raises it. If there is
        no event before it, it is raised at once. So every event that ``resume_point`` covers is returned.

        Raises RemoteProtocolError (OffsetGap among them) or UpstreamRefused, and nothing else.
        """

    def receive_eof(self) -> None:
        """The stream has ended. Raises RemoteProtocolError within the handshake, a snapshot or a frame."""

    def acknowledge(self, applied_offset: int | None) -> bytes:
        """The wire bytes that acknowledge ``applied_offset``; ``b""`` if the protocol allows none now.

        None acknowledges offset 0. Pass it while a snapshot is loaded, because the applied offset from before the
        snapshot belongs to another history. Never acknowledges more than was received.
        """

    # For a native scanner: while frame_run_ready, it may parse whole plain frames itself.

    @property
    def frame_run_ready(self) -> bool:
        """True between two frames if no bytes are pending and the kind of sync is known."""

    @property
    def next_offset(self) -> int:
        """kevy: the offset that the next frame must have. Redis: the bytes of the stream before the next command."""

    def frames_scanned(self, consumed_bytes: int, frames: int, last_offset: int) -> None:
        """A scanner took ``frames`` whole frames in ``consumed_bytes`` bytes; the last has ``last_offset``.

        The scanner stops before a control line or an unexpected offset (kevy), and before SELECT, PING and REPLCONF
        (Redis). Raises ValueError if ``frame_run_ready`` is false or the numbers contradict the stream.
        """

    # For a snapshot's body: while chunk_run_ready, a chunk may be received directly into the ring.

    @property
    def chunk_run_ready(self) -> bool:
        """True between two chunks of a snapshot if no bytes are pending."""

    def chunk_ahead(self, data: BytesLike) -> ChunkAhead | None:
        """The chunk that starts with ``data``, the next bytes of the stream; None if no chunk comes next.

        Call it only while ``chunk_run_ready``. It returns None for an invalid head: ``receive_data`` raises the error.
        """

    def chunk_received(self, chunk: ChunkAhead) -> None:
        """The whole chunk was received, its tail was checked, and it was sent as a SnapshotChunk."""

    def receive_to_frame_run(self, data: BytesLike) -> tuple[list[ReplicaApply], int]:
        """Like ``receive_data``, but stops as soon as a frame or chunk run is ready.

        Returns the events and how many bytes of ``data`` were taken. The caller gives the rest to the scanner.
        """
