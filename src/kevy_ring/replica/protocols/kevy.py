"""kevy's replication link, protocols 1 and 2: live frames counted one by one, snapshots in chunks, pings.

kevy 1.18 to 3.x speak protocol 1. Protocol 2 (4.x and 5.x) adds a generation; an offset is valid only within its
generation. Frames: ``*2 :<offset> *N ...``; a snapshot: ``+SNAPSHOT``, chunks, ``+SNAPSHOT_END <offset>``.
"""

from __future__ import annotations

from kevy_ring.errors import OffsetGap, UpstreamRefused
from kevy_ring.events import BytesLike, Frame, ReplicaApply, SnapshotBegin, SnapshotChunk, SnapshotEnd
from kevy_ring.replica.protocol import ChunkAhead, ResumePoint
from kevy_ring.replica.protocols.conversation import Conversation
from kevy_ring.replica.protocols.kevy_states import TRANSITIONS, KevyState, KevyToken
from kevy_ring.replica.protocols.resp import (
    CRLF,
    MAX_GENERATION,
    MAX_OFFSET,
    bulk_ahead,
    encode_command,
    parse_decimal,
    printable,
)
from kevy_ring.replica.refusal import refusal_of_reply

MAX_CHUNK_BYTES = 65_536  # kevy's own chunk size: a larger chunk comes from a hostile or broken primary
MAX_CONTROL_LINE_BYTES = 256  # kevy's own bound; the longest valid line has two u64
MAX_SNAPSHOT_BYTES = 16 << 30  # kevy's own bound

_S, _T = KevyState, KevyToken
_BULK_MARKS = {ord("*"): _T.FRAME, ord("$"): _T.CHUNK}
_LINE_MARKS = (ord("+"), ord("-"))


def frame_head(offset: int) -> bytes:
    """The start of a live frame, before its command."""
    return b"*2\r\n:%d\r\n" % offset


class KevyProtocol(Conversation[KevyState, KevyToken]):
    """A replica's side of one link to a kevy primary; see ReplicationProtocol.

    ``resume`` is an earlier link's ``resume_point``. Protocol 1 has no generation, so it can continue only from a point
    without one (``"0"``); from any other it starts with a full sync. Raises ValueError for a ``resume`` that cannot
    come from a kevy link.
    """

    def __init__(self, *, version: int, replica_id: str, resume: ResumePoint | None = None) -> None:
        if version not in (1, 2):
            raise ValueError(f"kevy's replication has protocols 1 and 2, not {version}")
        if not replica_id:
            raise ValueError("a replica needs an id")
        super().__init__(
            name=f"kevy{version}", start=_S.HANDSHAKE, failed=_S.FAILED, end=_T.END, transitions=TRANSITIONS
        )
        self.version = version
        self.generation = 0  # of the received data; 0: none, or protocol 1
        self.ack_generation = 0  # of this link, from the primary's +ACK
        self.next_offset = 0
        if resume is not None:
            self._continue_from(resume)
        self.db = 0  # kevy has only this one
        self._ping_offset: int | None = None  # the newest offset + 1, from a ping
        self._fresh = self.next_offset == 0  # this link asked for the whole history
        self._continuous = True  # the received data has no gap: a later link may continue after it
        self._frame_open = False  # a frame's offset was taken, its command is incomplete
        self._outgoing.append(self._handshake(replica_id))

    @property
    def resume_point(self) -> ResumePoint | None:
        if self.in_snapshot or not self._continuous or not 0 < self.next_offset <= MAX_OFFSET:
            return None
        return ResumePoint(str(self.generation), self.next_offset - 1)

    @property
    def upstream_id(self) -> str:
        return str(self.ack_generation)

    @property
    def upstream_offset(self) -> int | None:
        """See ReplicationProtocol. Only pings carry it, so it is None in protocol 1."""
        if not self._ping_offset:
            return None
        return (max(self._ping_offset, self.next_offset) if self._joined else self._ping_offset) - 1

    def acknowledge(self, applied_offset: int | None) -> bytes:
        """See ReplicationProtocol. kevy expects the next offset; protocol 1 has no acknowledgement."""
        self.getack_pending = False
        if self.version == 1 or self.state not in (_S.ACCEPTED, _S.SNAPSHOT, _S.LIVE):
            return b""
        wanted = 0 if applied_offset is None else min(applied_offset + 1, self.next_offset)
        return b"REPLCONF ACK %d\r\n" % (wanted if self._joined else 0)

    def frames_scanned(self, consumed_bytes: int, frames: int, last_offset: int) -> None:
        if not self.frame_run_ready or frames < 1 or last_offset != self.next_offset + frames - 1:
            raise ValueError(f"{frames} frames up to {last_offset} cannot follow {self.next_offset} now")
        self._intake.skip(consumed_bytes)
        self._reached(last_offset + 1)

    @property
    def _between_frames(self) -> bool:
        return self.state is _S.LIVE and not self._frame_open

    @property
    def _between_chunks(self) -> bool:
        return self.in_snapshot

    def chunk_ahead(self, data: BytesLike) -> ChunkAhead | None:
        head = bulk_ahead(data, 1, min(MAX_CHUNK_BYTES, MAX_SNAPSHOT_BYTES - self.snapshot_bytes))
        return ChunkAhead(*head, CRLF) if head is not None else None

    def chunk_received(self, chunk: ChunkAhead) -> None:
        self._intake.skip(chunk.head_bytes + chunk.body_bytes + len(chunk.tail))
        self._move(_T.CHUNK)
        self.snapshot_bytes += chunk.body_bytes

    @property
    def _joined(self) -> bool:
        """True when the received data belongs to this link's history."""
        return not self.in_snapshot and self.generation == self.ack_generation

    def _continue_from(self, resume: ResumePoint) -> None:
        generation = parse_decimal(resume.upstream_id.encode(), 0, MAX_GENERATION)
        if generation is None or not 0 <= resume.offset < MAX_OFFSET:
            raise ValueError(f"{resume} cannot come from a kevy link")
        if self.version == 2 or generation == 0:
            self.generation = generation
            self._reached(resume.offset + 1)
            self.last_event_offset = None  # this link has had no event yet

    def _handshake(self, replica_id: str) -> bytes:
        start = [b"%d" % self.next_offset]
        if self.version == 2:
            start.insert(0, b"%d" % self.generation)
        return encode_command(b"REPLICATE", b"FROM", *start, b"ID", replica_id.encode())

    def _reached(self, next_offset: int) -> None:
        """Everything before ``next_offset`` was received."""
        self.next_offset = next_offset
        self.received_offset = self.last_event_offset = next_offset - 1 if next_offset else None

    def _step(self, events: list[ReplicaApply], *, one: bool) -> bool:
        if self._frame_open:
            return self._take_frames(events, one)
        mark = self._intake.peek()
        if mark is None:
            return False
        if mark in _LINE_MARKS:
            return self._take_control_line(events)
        token = _BULK_MARKS.get(mark)
        if token is None:
            raise self._intake.violation(f"byte {mark:#04x} starts no unit of a kevy primary")
        self._allow(token)
        if token is _T.CHUNK:
            return self._take_chunk(events)
        if self.state is _S.ACCEPTED:
            self._start_live()
        return self._take_frames(events, one)

    def _start_live(self) -> None:
        """Frames come without a snapshot before them, so they must continue where this link asked for."""
        if self.generation != self.ack_generation:
            self._continuous = False
            raise self._intake.violation(
                f"frames of generation {self.ack_generation}, but the link continues generation {self.generation}"
            )
        self.synced = "full" if self._fresh else "partial"
        self._move(_T.FRAME)

    def _take_frames(self, events: list[ReplicaApply], one: bool) -> bool:
        """Take frames until the bytes or the run end; ``one``: at most one. False when more bytes are needed.

        The state is LIVE, and a frame does not change it, so no frame needs the table.
        """
        intake = self._intake
        take_command = intake.take_command
        offset = self.next_offset
        try:
            while True:
                if not self._frame_open:
                    # Only this head is valid, so one comparison is enough. The slow path examines everything else.
                    head = frame_head(offset)
                    if offset <= MAX_OFFSET and intake.piece.startswith(head, intake.at):
                        intake.at += len(head)
                    elif intake.peek() != ord("*"):
                        return True
                    elif not self._take_head(offset):
                        return False
                argv = take_command()
                self._frame_open = argv is None
                if argv is None:
                    return False
                events.append(Frame(offset, argv))
                offset += 1
                if one:
                    return True
        finally:
            if offset != self.next_offset:
                self._reached(offset)

    def _take_head(self, expected: int) -> bool:
        """Take ``*2 :<expected>``; False while it is incomplete."""
        intake = self._intake
        start = intake.at
        if intake.take_number(b"*", 2, 2) is None:
            return False
        offset = intake.take_number(b":", 0, MAX_OFFSET)
        if offset is None:
            intake.at = start
            return False
        if offset != expected:
            self._continuous = False
            intake.at = start
            raise OffsetGap(expected=expected, got=offset, at=intake.position)
        return True

    def _take_chunk(self, events: list[ReplicaApply]) -> bool:
        room = MAX_SNAPSHOT_BYTES - self.snapshot_bytes
        if not room:
            raise self._intake.violation(f"a snapshot of more than {MAX_SNAPSHOT_BYTES} bytes")
        chunk = self._intake.take_bulk(1, min(MAX_CHUNK_BYTES, room))
        if chunk is None:
            return False
        self._move(_T.CHUNK)
        self.snapshot_bytes += len(chunk)
        events.append(SnapshotChunk(chunk))
        return True

    def _take_control_line(self, events: list[ReplicaApply]) -> bool:
        line = self._intake.take_line(MAX_CONTROL_LINE_BYTES)
        if line is None:
            return False
        if line.startswith(b"-"):
            reply = line[1:].decode("utf-8", "backslashreplace")
            self._allow(_T.REFUSAL, f"error line {reply!r}")
            raise UpstreamRefused(reply, refusal_of_reply(reply, family="kevy", command="REPLICATE"))
        name, *fields = line.split(b" ")
        numbers = [parse_decimal(field, 0, MAX_GENERATION) for field in fields]
        match name, numbers:
            case b"+ACK", [int(generation), int(offset)] if self.version == 2 and offset <= MAX_OFFSET:
                self._accepted(generation)
            case b"+ACK", [int(offset)] if self.version == 1 and offset <= MAX_OFFSET:
                self._accepted(0)
            case b"+PING", [int(generation), int(offset)] if self.version == 2 and offset <= MAX_OFFSET:
                self._pinged(generation, offset)
            case b"+PING", [int(offset)] if self.version == 2 and offset <= MAX_OFFSET:
                self._pinged(0, offset)
            case b"+SNAPSHOT", []:
                self._snapshot_began(events)
            case b"+SNAPSHOT_END", [int(offset)] if offset <= MAX_OFFSET:
                self._snapshot_ended(offset, events)
            case _:
                raise self._intake.violation(f"{printable(line)!r} is no control line of {self.name}")
        return True

    def _accepted(self, generation: int) -> None:
        # The offset of an ACK only repeats the requested one, even if that is ahead of the stream. The frames
        # themselves show where the stream continues.
        self._move(_T.ACK)
        self.established = True
        self.ack_generation = generation
        if self._fresh:
            self.generation = generation

    def _pinged(self, generation: int, next_offset: int) -> None:
        self._move(_T.PING)
        if generation not in (0, self.ack_generation):
            raise self._intake.violation(f"a ping of generation {generation} on a link of {self.ack_generation}")
        self._ping_offset = next_offset
        self.getack_pending = True

    def _snapshot_began(self, events: list[ReplicaApply]) -> None:
        self._move(_T.SNAPSHOT)
        self.synced = self.synced or "full"
        self.in_snapshot = self.snapshot_pending = True
        self.snapshot_bytes = 0
        self._ping_offset = None  # an earlier ping was about the data that the snapshot replaces
        events.append(SnapshotBegin())

    def _snapshot_ended(self, ack_offset: int, events: list[ReplicaApply]) -> None:
        self._move(_T.SNAPSHOT_END)
        self.in_snapshot = self.snapshot_pending = False
        self.generation = self.ack_generation
        self._reached(ack_offset)
        events.append(SnapshotEnd(ack_offset))
