"""The shard: the one reader of an inbox, which applies to a sink in order and says how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from threading import get_ident
from typing import TYPE_CHECKING

from kevy_ring.errors import RemoteProtocolError
from kevy_ring.events import Frame, Kind, ReplicaApply, SnapshotBegin, SnapshotChunk, SnapshotEnd
from kevy_ring.shard.assembly import SnapshotAssembly, StopAsked
from kevy_ring.shard.sinks.sink import Sink

if TYPE_CHECKING:
    from kevy_ring.inbox import Batch, ReplicaInboxReceiver

#: How long ``run`` sleeps at most before it asks ``stop`` again.
POLL_S = 0.1
#: How often a shard that outlives its sender looks for the next one.
NEXT_SENDER_S = 0.02
#: After this long inside one batch ``stop`` is asked before each further event: a sink may need long for one.
PATIENCE_S = 0.25
#: How often a durable sink is flushed while events flow; the runner acknowledges about as often.
FLUSH_INTERVAL_S = 0.1

#: What the shard publishes in the consumer's words of the ring's header, for other processes to read.
FRAMES_WORD, FRAME_BYTES_WORD, ENTRIES_WORD, SNAPSHOTS_WORD = 8, 9, 10, 11


class RunEnd(Enum):
    """Why ``Shard.run`` returned."""

    STOPPED = "stopped"
    SENDER_GONE = "sender gone"


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run came to. ``snapshot_unfinished``: it ended in mid-snapshot, and nothing of that one was applied."""

    end: RunEnd
    applied_offset: int | None
    frames: int
    snapshots: int
    snapshot_unfinished: bool


class Shard:
    """Drains ``receiver`` in bounded batches and applies each to ``sink``, from one thread.

    ``frames``, ``frame_bytes`` (payload), ``entries`` (of snapshots loaded) and ``snapshots`` count what was applied,
    ``applied_offset`` is where the stream stands in the sink (None: nothing applied). Neither the receiver nor the
    sink is closed by the shard.
    """

    def __init__(
        self,
        receiver: ReplicaInboxReceiver,
        sink: Sink,
        *,
        max_events: int = 1024,
        max_bytes: int | None = None,
        flush_interval_s: float = FLUSH_INTERVAL_S,
    ) -> None:
        self._receiver = receiver
        self._sink = sink
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._flush_interval_s = flush_interval_s
        self._apply_batch: Callable[[Batch], None] | None = getattr(sink, "apply_batch", None)
        self._assembly = SnapshotAssembly(sink)
        self._stop: Callable[[], bool] = _never
        self._replicating_thread = 0
        self._unmarked = False
        self._flushed_at = time.monotonic()
        self._published = (0, 0, 0, 0)
        self.applied_offset: int | None = None
        self.frames = self.frame_bytes = self.entries = self.snapshots = 0
        #: Keys of the last snapshot that its decoder left out; None where that cannot be told.
        self.skipped: int | None = 0

    @property
    def is_replicating(self) -> bool:
        """True only while the calling thread is inside an apply or a load of this shard.

        A store that sends its own changes on asks this, and keeps what it was told by its upstream to itself.
        """
        return self._replicating_thread == get_ident()

    @property
    def in_snapshot(self) -> bool:
        """True while a snapshot has begun and not ended."""
        return self._assembly.in_progress

    @property
    def snapshot_bytes(self) -> int:
        """Bytes received of the snapshot in progress, 0 without one."""
        return self._assembly.size_bytes

    def tick(self) -> int:
        """Drain and apply one batch, within the budget; return the number of events. Never waits for events.

        Raises RemoteProtocolError for an event that cannot stand where it stands (a frame or an end without the
        snapshot around it, a frame inside one), SnapshotError for a snapshot that cannot be decoded, and what the sink
        raises. The events before the one that failed are applied and released, the failed one is seen again;
        a batch that the sink took as one is seen again as a whole.
        """
        with self._receiver.drain(self._max_events, self._max_bytes) as batch:
            count = len(batch)
            if count:
                self._apply(batch)
        self._settle()
        return count

    def run(self, stop: Callable[[], bool] = lambda: False, *, outlives_sender: bool = False) -> RunResult:
        """Apply until ``stop()`` is true or the sender is gone; with ``outlives_sender`` another one is waited for.

        ``stop`` is asked between batches, at least every 0.1 s while nothing comes, and inside a batch or a load that
        takes long.

        When the sender is gone all that it published is applied first. Raises what ``tick`` raises; what was applied
        before is marked.
        """
        self._stop = stop
        try:
            end = self._run(outlives_sender)
        finally:
            self._stop = _never
        self._settle(now=True)
        unfinished = end is not RunEnd.STOPPED and self.in_snapshot
        if unfinished:
            self._assembly.abort()
        return RunResult(end, self.applied_offset, self.frames, self.snapshots, unfinished or self.in_snapshot)

    def close(self) -> None:
        """Forget a half snapshot and mark what was applied."""
        self._assembly.abort()
        self._settle(now=True)

    def _run(self, outlives_sender: bool) -> RunEnd:
        while not self._stop():
            try:
                # Asked before the tick: what was published before the sender went is then drained by it.
                gone = self._receiver.sender_gone
                if not self.tick():
                    if gone and not outlives_sender:
                        return RunEnd.SENDER_GONE
                    if gone:
                        time.sleep(NEXT_SENDER_S)
                    self._receiver.wait(self._wait_s())
            except StopAsked:
                break
        return RunEnd.STOPPED

    @property
    def _in_transaction(self) -> bool:
        return bool(getattr(self._sink, "in_transaction", False))

    def _wait_s(self) -> float:
        if not self._unmarked or self._in_transaction:
            return POLL_S
        return min(POLL_S, max(0.0, self._flushed_at + self._flush_interval_s - time.monotonic()))

    def _apply(self, batch: Batch) -> None:
        self._replicating_thread = get_ident()
        try:
            if self._apply_batch is not None and not self.in_snapshot and _only_frames(batch):
                self._apply_batch(batch)
                self.frames += len(batch)
                self.frame_bytes += int(batch.lengths.sum())
                self.applied_offset = int(batch.offsets[-1])
                self._unmarked = True
            else:
                self._apply_each(batch)
        except BaseException:
            self._settle_what_can_be()
            raise
        finally:
            self._replicating_thread = 0
            self._publish_counts()

    def _apply_each(self, batch: Batch) -> None:
        apply = self._sink.apply
        patient_until = time.monotonic() + PATIENCE_S
        for at, event in enumerate(batch):
            if time.monotonic() > patient_until and self._stop():
                raise StopAsked
            if isinstance(event, Frame):
                if self.in_snapshot:
                    raise RemoteProtocolError(f"a frame (offset {event.offset}) inside a snapshot")
                apply(event.offset, event.argv)
                self.applied_offset = event.offset
                self._unmarked = True
                self.frames += 1
                self.frame_bytes += int(batch.lengths[at])
            else:
                self._apply_snapshot_event(event)

    def _apply_snapshot_event(self, event: ReplicaApply) -> None:
        if isinstance(event, SnapshotBegin):
            self._assembly.begin()
            return
        if not self.in_snapshot:
            raise RemoteProtocolError(f"{type(event).__name__} outside a snapshot")
        if isinstance(event, SnapshotChunk):
            self._assembly.feed(event.data)
            return
        assert isinstance(event, SnapshotEnd)
        snapshot = self._assembly.finish(event.ack_offset, self._stop)
        self.applied_offset = snapshot.applied_offset
        self.skipped = snapshot.skipped
        self.entries += snapshot.count
        self.snapshots += 1
        self._unmarked = True
        self._settle(now=True)

    def _settle(self, *, now: bool = False) -> None:
        """Mark what is applied, once it is where it has to be."""
        if not self._unmarked or self._in_transaction:
            return
        if self._sink.durable:
            at = time.monotonic()
            if not now and at - self._flushed_at < self._flush_interval_s:
                return
            self._sink.flush()
            self._flushed_at = at
        self._receiver.mark_applied(self.applied_offset)  # None: a kevy snapshot of offset 0, before the first frame
        self._unmarked = False

    def _settle_what_can_be(self) -> None:
        """Mark the events before the one that failed; the failure itself is what the caller has to hear of."""
        with suppress(Exception):
            self._settle(now=True)

    def _publish_counts(self) -> None:
        counts = (self.frames, self.frame_bytes, self.entries, self.snapshots)
        for word, new, old in zip(
            (FRAMES_WORD, FRAME_BYTES_WORD, ENTRIES_WORD, SNAPSHOTS_WORD), counts, self._published, strict=True
        ):
            if new != old:
                self._receiver.set_word(word, new)
        self._published = counts


def _never() -> bool:
    return False


def _only_frames(batch: Batch) -> bool:
    return bool((batch.kinds == Kind.FRAME).all())
