"""One connection's worth of replication: bytes from the link, through the protocol, into the inbox."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from kevy_ring.errors import LinkError, Refusal, RemoteProtocolError, SendError, UpstreamRefused
from kevy_ring.events import Frame, ReplicaApply, SnapshotBegin, SnapshotChunk, SnapshotEnd
from kevy_ring.inbox import FrameScanner, ScanEnd
from kevy_ring.replica.link_words import LinkWords
from kevy_ring.replica.options import DEFAULT_OPTIONS, FollowOptions
from kevy_ring.replica.protocol import ReplicationProtocol, Synced
from kevy_ring.replica.protocols.chunk_run import ChunkInRing
from kevy_ring.replica.runner.link import Link
from kevy_ring.replica.runner.sender import ReplicaSender
from kevy_ring.replica.snapshots.kevysnap_writer import write_snapshot
from kevy_ring.replica.stop import StopSignal

# Measured: fewer calls for each byte than with half of it, and twice as much no longer lies in the cache.
RECEIVE_BYTES = 512 << 10
# A frame that is still unfinished at this size is put together by the protocol module, which holds it outside of the
# receive buffer; shorter ones wait in the buffer for the rest and are scanned once.
UNFINISHED_LIMIT = RECEIVE_BYTES // 2
# What is received at once while a chunk's head is awaited: the rest of its body then goes straight into the ring.
SNAPSHOT_HEAD_BYTES = 4096

# How often a feed looks up from the stream: at the receiver's life, at the acknowledgement that is due, at silence.
TICK_S = 0.1
# How often a feed that does not read looks whether it may again.
PAUSE_TICK_S = 0.02
# kevy 2 wants the applied position about every 100 ms; Redis every second (it counts a replica's seconds).
ACKNOWLEDGE_EVERY_S = {"kevy1": TICK_S, "kevy2": TICK_S, "redis": 1.0}
# The handshake's replies come at once, from a busy server within seconds.
HANDSHAKE_SILENCE_S = 30.0
# kevy 2 pings every second, a Redis primary every ten (and while it saves, newlines every second), and repl-timeout
# is 60 s on its side too. kevy 1 says nothing while nothing changes: there only the kernel's keep-alive tells.
STREAM_SILENCE_S = {"kevy1": float("inf"), "kevy2": 30.0, "redis": 60.0}
# Nobody is silent in the middle of a snapshot for this long and alive.
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
    """Why a feed ended, and the words for it (no secrets). ``established_s``: how long the handshake had stood.

    ``refusal``: what a refusal means, where the upstream or TLS said it.
    """

    cause: EndCause
    detail: str = ""
    established_s: float = 0.0
    refusal: Refusal | None = None


class Feed:
    """Follows one link to its end. The owner opened the link and closes it; the protocol object is new.

    ``synced`` is called once, with how the link started; ``paused`` with the bytes behind the ring when they are more
    than the options' ``overflow_limit`` and reading stops, and with 0 when it goes on.
    """

    def __init__(
        self,
        link: Link,
        protocol: ReplicationProtocol,
        sender: ReplicaSender,
        words: LinkWords,
        stop: StopSignal,
        *,
        options: FollowOptions = DEFAULT_OPTIONS,
        synced: Callable[[Synced], None] = lambda how: None,
        paused: Callable[[int], None] = lambda waiting_bytes: None,
    ) -> None:
        self._link = link
        self._protocol = protocol
        self._sender = sender
        self._words = words
        self._stop = stop
        self._options = options
        self._tell_synced = synced
        self._tell_paused = paused
        self._is_paused = False
        self._chunk: ChunkInRing | None = None
        self._begun = False  # an event of this link was sent, or none needs to stand before the first frame
        self._started_in_db = protocol.db
        self._scanner = FrameScanner("redis" if protocol.name == "redis" else "kevy")
        self._synced = False  # how this link started was counted
        self._seen_state: Enum | None = None
        self._established_at: float | None = None
        self._heard_at = self._acknowledge_at = self._tick_at = time.monotonic()

    def run(self) -> FeedEnd:
        """Forward until the link, the upstream, the receiver or ``stop`` ends it. Raises nothing of these."""
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
        self._note_sync()  # a link whose first bytes broke the protocol has started with a sync too
        self._words.publish(self._protocol)
        stood = time.monotonic() - self._established_at if self._established_at is not None else 0.0
        return FeedEnd(cause, self._link.upstream.scrub(detail), stood, refusal)

    def _follow(self) -> tuple[EndCause, str]:
        protocol, link, limit = self._protocol, self._link, self._options.overflow_limit
        received = memoryview(bytearray(RECEIVE_BYTES))
        kept = 0  # bytes of an unfinished frame, in front of what comes next
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
                self._heard_at = now
                kept = self._take(received, kept, count)
                link.send(protocol.data_to_send())
                if protocol.state is not self._seen_state:
                    self._changed(now)
                if protocol.getack_pending:
                    self._acknowledge(now)
                    self._acknowledge_at = now + TICK_S  # who asks waits for more than is applied at this moment
            elif count == 0:
                return EndCause.CLOSED, self._end_of_stream()
            if now >= self._tick_at:
                self._tick_at = now + TICK_S
                if self._sender.receiver_gone:
                    return EndCause.RECEIVER_GONE, ""
                if self._is_paused:
                    self._heard_at = now
                elif now - self._heard_at > self._silence_limit():
                    return EndCause.SILENT, f"nothing came for {now - self._heard_at:.1f} s"
                if now >= self._acknowledge_at:
                    self._acknowledge(now)
                self._words.publish(protocol)
        return EndCause.STOPPED, ""

    def _must_pause(self, limit: int) -> bool:
        waiting = self._sender.overflow.bytes
        must = waiting > (limit // 2 if self._is_paused else limit)
        if must != self._is_paused:
            self._is_paused = must
            self._tell_paused(waiting if must else 0)
        return must

    def _room(self, received: memoryview, kept: int) -> memoryview:
        """Where the next bytes go: the rest of an open chunk straight into the ring, else the receive buffer."""
        if self._chunk is not None:
            return self._chunk.view
        # In a snapshot only a chunk's head is wanted here, and as little of its body as comes along.
        limit = SNAPSHOT_HEAD_BYTES if self._protocol.chunk_run_ready else RECEIVE_BYTES
        return received[kept : kept + limit]

    def _take(self, received: memoryview, kept: int, count: int) -> int:
        """Forward what has come; returns how many bytes of something unfinished now stand in front.

        Runs of plain frames go from the bytes to the ring in one call, chunks into the ring's own memory. All else is
        the protocol's: it reads one unit and gives the rest back.
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
            # Counted before its snapshot is sent: who watches the ring waits for a snapshot after each full sync.
            self._note_sync()
            self._sender.set_upstream(self._protocol.upstream_id, self._started_in_db)
            if self._protocol.synced == "full" and isinstance(events[0], Frame):
                # The whole history from its first frame replaces what a store holds just as a snapshot does.
                events = [*empty_snapshot(), *events]
        self._sender.send_many(events)

    def _changed(self, now: float) -> None:
        """The conversation took a step: rare, so all that depends on it is looked at here."""
        protocol = self._protocol
        self._seen_state = protocol.state
        if protocol.established and self._established_at is None:
            self._established_at = now
        self._note_sync()
        self._words.publish(protocol)
        # A diskless Redis primary starts its stream only when the first acknowledgement after the RDB has come.
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
            return  # the upstream does not read now; the next acknowledgement says more than this one
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
            # A link may be cut anywhere: what was received up to there is whole, and a resume point tells of it.
            return str(error)
        return ""


def empty_snapshot() -> list[ReplicaApply]:
    """The events that empty a store of a kevy stream which starts at offset 0."""
    return [SnapshotBegin(), *(SnapshotChunk(piece) for piece in write_snapshot([])), SnapshotEnd(0)]
