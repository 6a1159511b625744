"""Replication over one connection: bytes from the link, through the protocol, into the inbox."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from kevy_ring.errors import LinkError, Refusal, RemoteProtocolError, SendError, UpstreamRefused
from kevy_ring.events import Frame, ReplicaApply, SnapshotBegin, SnapshotChunk, SnapshotEnd
from kevy_ring.inbox import FrameScanner, ReplicaInboxSender, ScanEnd
from kevy_ring.replica.link_words import LinkWords
from kevy_ring.replica.options import DEFAULT_OPTIONS, FollowOptions
from kevy_ring.replica.protocol import ReplicationProtocol, Synced
from kevy_ring.replica.protocols.chunk_run import ChunkInRing
from kevy_ring.replica.runner.link import Link
from kevy_ring.replica.snapshots.kevysnap_writer import write_snapshot
from kevy_ring.replica.stop import StopSignal

# Measured: half of it needs more calls per byte, and twice as much no longer fits into the cache.
RECEIVE_BYTES = 512 << 10
# A shorter unfinished frame waits in the receive buffer for its rest and is scanned once. The protocol module assembles
# a longer one outside of the buffer.
UNFINISHED_LIMIT = RECEIVE_BYTES // 2
# The most that is received at once before a chunk's head. The rest of its body then goes straight into the ring.
SNAPSHOT_HEAD_BYTES = 4096

# How often a feed checks whether the receiver lives, an acknowledgement is due, and the upstream is silent.
TICK_S = 0.1
# How often a paused feed checks whether it may read again.
PAUSE_TICK_S = 0.02
# kevy 2 expects the applied position about every 100 ms, Redis every second.
ACKNOWLEDGE_EVERY_S = {"kevy1": TICK_S, "kevy2": TICK_S, "redis": 1.0}
# The handshake's replies come at once, or within seconds from a busy server.
HANDSHAKE_SILENCE_S = 30.0
# kevy 2 pings every second. A Redis primary pings every ten seconds, sends a newline every second while it saves, and
# its own repl-timeout is 60 s. kevy 1 sends nothing while nothing changes, so only TCP keep-alive finds a dead peer.
STREAM_SILENCE_S = {"kevy1": float("inf"), "kevy2": 30.0, "redis": 60.0}
# An upstream that is silent for this long within a snapshot is dead.
SNAPSHOT_SILENCE_S = 60.0


class EndCause(Enum):
    """Why a feed ended."""

    STOPPED = "stopped"
    RECEIVER_GONE = "the receiver is gone"
    CLOSED = "the upstream closed the link"
    SILENT = "the upstream fell silent"
    BROKEN = "the link broke"
    REFUSED = "the upstream refused"
    VIOLATION = "the upstream broke the protocol"


@dataclass(frozen=True, slots=True)
class FeedEnd:
    """Why a feed ended. ``detail`` is for people and has no secrets.

    ``established_s``: the seconds since the handshake. ``refusal``: set if the upstream or TLS gave a reason.
    """

    cause: EndCause
    detail: str = ""
    established_s: float = 0.0
    refusal: Refusal | None = None


class Feed:
    """Follows one link to its end. The owner opens the link and closes it; the protocol object must be new.

    ``synced`` is called once, with how the link started. ``paused`` is called with the bytes in the overflow when they
    exceed the options' ``overflow_limit`` and reading stops, and with 0 when reading continues. ``preparing`` is called
    once if the upstream says that it prepares a snapshot.
    """

    def __init__(
        self,
        link: Link,
        protocol: ReplicationProtocol,
        sender: ReplicaInboxSender,
        words: LinkWords,
        stop: StopSignal,
        *,
        options: FollowOptions = DEFAULT_OPTIONS,
        synced: Callable[[Synced], None] = lambda how: None,
        paused: Callable[[int], None] = lambda waiting_bytes: None,
        preparing: Callable[[], None] = lambda: None,
    ) -> None:
        self._link = link
        self._protocol = protocol
        self._sender = sender
        self._words = words
        self._stop = stop
        self._options = options
        self._tell_synced = synced
        self._tell_paused = paused
        self._tell_preparing: Callable[[], None] | None = preparing
        self._is_paused = False
        self._chunk: ChunkInRing | None = None
        self._begun = False  # an event of this link was sent
        self._started_in_db = protocol.db
        self._scanner = FrameScanner("redis" if protocol.name == "redis" else "kevy")
        self._synced = False  # whether this link's start was counted
        self._seen_state: Enum | None = None
        self._established_at: float | None = None
        self._heard_at = self._acknowledge_at = self._tick_at = time.monotonic()

    def run(self) -> FeedEnd:
        """Forward until the link, the upstream, the receiver or ``stop`` ends it. Their errors become the result."""
        refusal = None
        try:
            cause, detail = self._follow()
        except SendError as error:
            cause, detail = EndCause.RECEIVER_GONE, str(error)
        except UpstreamRefused as error:
            cause, detail, refusal = EndCause.REFUSED, error.reply, error.refusal
        except RemoteProtocolError as error:
            cause, detail = EndCause.VIOLATION, str(error)
        except LinkError as error:
            cause, detail, refusal = EndCause.BROKEN, error.detail, error.refusal
        if self._chunk is not None:
            self._chunk.abort()
        self._note_sync()  # also if the first bytes after the handshake broke the protocol
        self._words.publish(self._protocol)
        stood = time.monotonic() - self._established_at if self._established_at is not None else 0.0
        return FeedEnd(cause, self._link.upstream.scrub(detail), stood, refusal)

    def _follow(self) -> tuple[EndCause, str]:
        protocol, link, limit = self._protocol, self._link, self._options.overflow_limit
        received = memoryview(bytearray(RECEIVE_BYTES))
        kept = 0  # bytes of an unfinished frame at the start of the buffer
        link.send(protocol.data_to_send())
        while not self._stop.is_set():
            if limit is not None and self._must_pause(limit):
                self._stop.wait(PAUSE_TICK_S)
                count = None
            else:
                into = self._room(received, kept)
                count = link.recv_into(into, self._tick_at - time.monotonic())
                del into
            now = time.monotonic()
            if count:
                self._heard_at = self._words.heard_at_s = now
                kept = self._take(received, kept, count)
                link.send(protocol.data_to_send())
                if protocol.state is not self._seen_state:
                    self._changed(now)
                if protocol.getack_pending:
                    self._acknowledge(now)
                    self._acknowledge_at = now + TICK_S  # the asking upstream waits for events that are not applied yet
            elif count == 0:
                return EndCause.CLOSED, self._end_of_stream()
            if now >= self._tick_at:
                self._tick_at = now + TICK_S
                if self._sender.receiver_gone:
                    return EndCause.RECEIVER_GONE, ""
                if self._is_paused:
                    self._heard_at = now
                elif now - self._heard_at > self._silence_limit():
                    return EndCause.SILENT, f"nothing arrived for {now - self._heard_at:.1f} s"
                if now >= self._acknowledge_at:
                    self._acknowledge(now)
                self._words.publish(protocol)
                if protocol.is_preparing and not protocol.established and self._tell_preparing is not None:
                    self._tell_preparing()
                    self._tell_preparing = None
        return EndCause.STOPPED, ""

    def _must_pause(self, limit: int) -> bool:
        waiting = self._sender.overflow.bytes
        must = waiting > (limit // 2 if self._is_paused else limit)
        if must != self._is_paused:
            self._is_paused = must
            self._tell_paused(waiting if must else 0)
        return must

    def _room(self, received: memoryview, kept: int) -> memoryview:
        """Where the next bytes go: into the ring for the rest of an open chunk, else into the receive buffer."""
        if self._chunk is not None:
            return self._chunk.view
        # In a snapshot the buffer needs only a chunk's head, so little of its body is received here.
        limit = SNAPSHOT_HEAD_BYTES if self._protocol.chunk_run_ready else RECEIVE_BYTES
        return received[kept : kept + limit]

    def _take(self, received: memoryview, kept: int, count: int) -> int:
        """Forward the received bytes. Returns how many bytes of an unfinished unit are kept at the buffer's start.

        A run of plain frames goes to the ring in one call, a chunk directly into the ring's memory. The protocol
        handles everything else: it reads one unit and gives the rest back.
        """
        protocol, at = self._protocol, 0
        if self._chunk is not None:
            self._chunk.received(count)
            self._finish_chunk()
            return 0
        count += kept
        while at < count:
            if protocol.chunk_run_ready:
                chunk = protocol.chunk_ahead(received[at:count])
                if chunk is not None:
                    if not chunk.body_bytes:
                        return self._keep(received, at, count)
                    grant = self._sender.reserve_chunk(chunk.body_bytes + len(chunk.tail))
                    self._chunk = ChunkInRing(grant, chunk)
                    at += chunk.head_bytes
                    at += self._chunk.take(received[at:count])
                    self._finish_chunk()
                    continue
            if protocol.frame_run_ready and self._begun:
                run = self._sender.scan_frames(self._scanner, received[at:count], protocol.next_offset)
                if run.frames:
                    protocol.frames_scanned(run.consumed, run.frames, run.last_offset)
                    at += run.consumed
                left = count - at
                if run.end == ScanEnd.NEED and left <= UNFINISHED_LIMIT:
                    return self._keep(received, at, count)
            events, taken = protocol.receive_to_frame_run(received[at:count])
            self._scanner.reset()
            at += taken
            self._forward(events)
            if protocol.error is not None:
                raise protocol.error
        return 0

    def _keep(self, received: memoryview, at: int, count: int) -> int:
        received[: count - at] = bytes(received[at:count])
        return count - at

    def _finish_chunk(self) -> None:
        chunk = self._chunk
        if chunk is not None and chunk.is_whole:
            self._chunk = None
            chunk.commit()
            self._begun = True
            self._protocol.chunk_received(chunk.chunk)

    def _forward(self, events: list[ReplicaApply]) -> None:
        if not events:
            return
        if not self._begun:
            self._begun = True
            # Count it before the snapshot is sent: an observer of the ring waits for a snapshot after each full sync.
            self._note_sync()
            self._sender.set_upstream(self._protocol.upstream_id, self._started_in_db)
            if self._protocol.synced == "full" and isinstance(events[0], Frame):
                # The history from its first frame on replaces the store's content, as a snapshot does.
                events = [*empty_snapshot(), *events]
        self._sender.send_many(events)

    def _changed(self, now: float) -> None:
        """The conversation changed its state. This is rare, so everything that depends on it is updated here."""
        protocol = self._protocol
        self._seen_state = protocol.state
        if protocol.established and self._established_at is None:
            self._established_at = now
        self._note_sync()
        self._words.publish(protocol)
        # A diskless Redis primary starts its stream only after the first acknowledgement of the RDB.
        self._acknowledge(now)

    def _note_sync(self) -> None:
        how = self._protocol.synced
        if how is not None and not self._synced:
            self._synced = True
            self._words.count_sync(how)
            self._words.publish(self._protocol)
            self._tell_synced(how)

    def _acknowledge(self, now: float) -> None:
        if self._link.unsent_bytes:
            return  # the upstream does not read now; a later acknowledgement replaces this one
        self._acknowledge_at = now + ACKNOWLEDGE_EVERY_S[self._protocol.name]
        sender = self._sender
        self._link.send(self._protocol.acknowledge(None if sender.loading else sender.applied_offset))

    def _silence_limit(self) -> float:
        protocol = self._protocol
        if self._options.silence_s is not None:
            return self._options.silence_s
        if not protocol.established:
            return HANDSHAKE_SILENCE_S
        return SNAPSHOT_SILENCE_S if protocol.in_snapshot else STREAM_SILENCE_S[protocol.name]

    def _end_of_stream(self) -> str:
        try:
            self._protocol.receive_eof()
        except RemoteProtocolError as error:
            # Not a violation: a link may be cut anywhere, and the resume point covers what was received.
            return str(error)
        return ""


def empty_snapshot() -> list[ReplicaApply]:
    """The events that empty the store before a kevy stream that starts at offset 0."""
    return [SnapshotBegin(), *(SnapshotChunk(piece) for piece in write_snapshot([])), SnapshotEnd(0)]
