"""A sender that keeps its events, with a shard that applies them at once unless a test says otherwise."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from kevy_ring import ReplicaInboxReceiver, ReplicaInboxSender, replica_inbox_pair
from kevy_ring.errors import SendError
from kevy_ring.events import Frame, ReplicaApply, SnapshotBegin, SnapshotChunk, SnapshotEnd
from kevy_ring.inbox import FrameRun, FrameScanner, Overflow
from kevy_ring.inbox.header_words import ProducerWord

DEADLINE_S = 120.0


class RecordedGrant:
    """Replaces a ChunkGrant: it has its own memory, and sends it at the commit."""

    def __init__(self, sender: RecordingSender, length: int) -> None:
        self.view = memoryview(bytearray(length))
        self._sender = sender

    def commit(self, length: int) -> None:
        self._sender.send_many([SnapshotChunk(bytes(self.view[:length]))])

    def abort(self) -> None:
        self.view = memoryview(b"")


class RecordingSender:
    """Replaces a ReplicaInboxSender. ``applies``: every event counts as applied when it is sent."""

    def __init__(self, *, applies: bool = True) -> None:
        self.events: list[ReplicaApply] = []
        self.applies = applies
        self.applied_offset: int | None = None
        self.loading = False
        self.receiver_gone = False
        self.overflow = Overflow(0, 0, 0, 0.0)
        self.words: dict[int, int] = {}
        self.upstreams: list[tuple[str, int]] = []  # the histories named so far, with the database at their start
        self._changed = threading.Condition()
        self._ring: tuple[ReplicaInboxSender, ReplicaInboxReceiver] | None = None

    def send_many(self, events: Sequence[ReplicaApply]) -> None:
        if self.receiver_gone:
            raise SendError("recorded", cause="closed", event=events[0], unsent=events)
        with self._changed:
            for event in events:
                self.events.append(event)
                self._apply(event)
            self._changed.notify_all()

    def reserve_chunk(self, length: int) -> RecordedGrant:
        return RecordedGrant(self, length)

    def scan_frames(self, scanner: FrameScanner, received: memoryview, offset: int) -> FrameRun:
        """Send through a real ring and empty it at once."""
        if self.receiver_gone:
            raise SendError("recorded", cause="closed")
        if self._ring is None:
            self._ring = replica_inbox_pair()
        sender, receiver = self._ring
        run = sender.scan_frames(scanner, received, offset)
        frames = [receiver.recv(timeout=DEADLINE_S) for _ in range(run.frames)]
        if frames:
            self.send_many([frame for frame in frames if frame is not None])
        return run

    def _apply(self, event: ReplicaApply) -> None:
        if isinstance(event, SnapshotBegin):
            self.loading = True
        elif isinstance(event, SnapshotEnd) and self.applies:
            self.loading = False
            self.applied_offset = event.ack_offset - 1 if event.ack_offset else None
        elif isinstance(event, Frame) and self.applies:
            self.applied_offset = event.offset

    def set_upstream(self, upstream_id: str, db: int) -> None:
        self.upstreams.append((upstream_id, db))

    def set_word(self, index: int, value: int) -> None:
        with self._changed:
            self.words[index] = value
            self._changed.notify_all()

    def word(self, word: ProducerWord) -> int:
        return self.words.get(word, 0)

    def wait_until(self, condition: Callable[[], bool], what: str = "") -> None:
        """Wait until the condition holds. It is checked after each event and word, and from time to time."""
        deadline = time.monotonic() + DEADLINE_S
        with self._changed:
            while not condition():
                if time.monotonic() >= deadline:
                    raise TimeoutError(f"not within {DEADLINE_S} s: {what}; words {self.words}; {self.events[-5:]}")
                self._changed.wait(0.05)

    def wait_for_frames(self, count: int) -> list[Frame]:
        self.wait_until(lambda: len(self.frames) >= count, f"{count} frames")
        return self.frames

    @property
    def frames(self) -> list[Frame]:
        return [event for event in list(self.events) if isinstance(event, Frame)]

    @property
    def offsets(self) -> list[int]:
        return [frame.offset for frame in self.frames]

    def count(self, kind: type) -> int:
        return sum(isinstance(event, kind) for event in list(self.events))

    @property
    def last_snapshot(self) -> bytes:
        """The bytes of the last whole snapshot."""
        body, whole = b"", b""
        for event in list(self.events):
            if isinstance(event, SnapshotBegin):
                body = b""
            elif isinstance(event, SnapshotChunk):
                body += bytes(event.data)
            elif isinstance(event, SnapshotEnd):
                whole = body
        return whole
