"""The shard: the only receiver of an inbox. It applies events to a sink in order and marks what is applied."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING

from kevy_ring.errors import EventTruncated, RemoteProtocolError, SinkError, ViewsEscaped
from kevy_ring.events import Frame, Kind, ReplicaApply, SnapshotBegin, SnapshotChunk, SnapshotEnd
from kevy_ring.inbox.header_words import ConsumerWord
from kevy_ring.shard.assembly import StopAsked
from kevy_ring.shard.run_loop import FLUSH_INTERVAL_S, RunLoop
from kevy_ring.shard.sinks.sink import ResumableSink, Sink
from kevy_ring.shard.snapshot import LeftOut

if TYPE_CHECKING:
    from kevy_ring.inbox import Batch, ReplicaInboxReceiver

#: After this long inside one batch, ``stop`` is called before each further event, because a sink may need long for one.
PATIENCE_S = 0.25


class Shard(RunLoop):
    """Drains ``receiver`` in bounded batches and applies each to ``sink``, from one thread.

    ``frames``, ``frame_bytes`` (payload), ``entries`` (of snapshots loaded) and ``snapshots`` count what was applied.
    ``applied_offset`` is the offset of the last frame that the sink has (None: nothing applied). It begins with the
    stored offset of a :class:`ResumableSink`. ``frames_skipped`` counts the frames that such a sink had already, and
    ``frames_filtered`` those that did not pass the sink's filter. The shard closes neither the receiver nor the sink.
    ``max_events`` and ``max_bytes`` limit a batch. A durable sink is flushed every ``flush_interval_s`` seconds.
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
        super().__init__(receiver, sink, flush_interval_s)
        self._max_events, self._max_bytes = max_events, max_bytes
        self._apply_batch: Callable[[Batch], None] | None = getattr(sink, "apply_batch", None)
        self._follow: Callable[[str], None] | None = getattr(sink, "follow_history", None)
        self._take_dropped: Callable[[], tuple[int, int]] | None = getattr(sink, "take_dropped", None)
        self._replicating_thread = 0
        before = receiver.stats().consumer_words
        self._refused_before = before[ConsumerWord.REFUSALS]  # of earlier shards; the sink still has their snapshot
        self._left_out_before = before[ConsumerWord.LEFT_OUT]
        self._published = list(before)
        self._resumable = sink if isinstance(sink, ResumableSink) else None
        self._had_offset: int | None = None  # frames up to it are in the sink already
        self._kept = (0, 0)  # frames and frame bytes, as of the last commit
        self._lost: int | None = None
        self._looked_for_losses = False
        self.frame_bytes = self.entries = self.frames_skipped = self.frames_filtered = 0
        #: Keys that the last snapshot's decoder left out, also for an earlier shard of this ring. None: not known.
        self.skipped: int | None = before[ConsumerWord.SKIPPED_KEYS]
        self.left_out = LeftOut()  #: What the last snapshot's decoder left out, by name.
        if self._resumable is not None and self._resumable.stored_offset is not None:
            self._take_up(self._resumable)
            self._flushed_at = float("-inf")
        # A ring may show the counts of an earlier shard process. This one may never apply a batch that replaces them.
        self._publish_counts()

    @property
    def is_replicating(self) -> bool:
        """True only while the calling thread is inside an apply or a load of this shard.

        A store that replicates its own changes to others asks this, so that it does not send its upstream's changes.
        """
        return self._replicating_thread == get_ident()

    @property
    def snapshot_bytes(self) -> int:
        """Bytes received of the snapshot in progress, 0 without one."""
        return self._assembly.size_bytes

    def tick(self) -> int:
        """Drain, apply and release one batch of at most ``max_events`` and ``max_bytes``. Never waits for events.

        Returns the number of events.

        Raises RemoteProtocolError for an event in the wrong place (a chunk or an end outside a snapshot, a frame inside
        one), SnapshotError for a snapshot that cannot be decoded, and what the sink raises. The events before the one
        that failed are applied and released. The one that failed is drained again, and so is a whole batch that the
        sink took in one call. A resumable sink commits before anything is released. If it cannot, nothing is released.

        Raises EventTruncated for a frame whose beginning went to a shard that was killed, and for every later frame
        until a snapshot comes, in later shards too. Raises SinkError for a resumable sink that lacks what earlier
        shards of this ring marked as applied, or that has frames which were never in the ring. (If nothing is marked
        yet, the sink may have more than the ring: the stream is sent again.)
        """
        with self._drained() as batch:
            count = len(batch)
            if count:
                if self._refusals is not None:
                    self._refusals.history = self._receiver.upstream_id
                if self._follow is not None:
                    # The history of the last published event, which is that of this batch or a later one.
                    self._follow(self._receiver.upstream_id)
                self._apply(batch)
                _release(batch, count)
        self._settle()
        return count

    def _drained(self) -> Batch:
        if not self._looked_for_losses:
            self._lost = self._receiver.lost_offset
            if self._resumable is not None:
                _check_sink_of_ring(self._resumable, self._receiver)
            self._looked_for_losses = True
        try:
            return self._receiver.drain(self._max_events, self._max_bytes)
        except EventTruncated as error:
            self._lost = error.offset
            raise

    def _apply(self, batch: Batch) -> None:
        self._replicating_thread = get_ident()
        try:
            if self._apply_batch is not None and self._is_plain(batch):
                self._apply_whole(batch, self._apply_batch)
            else:
                self._apply_each(batch)
        except BaseException:
            self._settle_what_can_be()
            raise
        finally:
            self._replicating_thread = 0
            self._publish_counts()

    def _is_plain(self, batch: Batch) -> bool:
        """Whether the batch is frames only, all of them new."""
        if self.in_snapshot or self._lost is not None or not bool((batch.kinds == Kind.FRAME).all()):
            return False
        # Offsets rise within a history, so the first frame is enough.
        return self._had_offset is None or int(batch.offsets[0]) > self._had_offset

    def _apply_whole(self, batch: Batch, apply_batch: Callable[[Batch], None]) -> None:
        try:
            apply_batch(batch)
        except BaseException:
            self._fall_back()
            raise
        self._count(len(batch), int(batch.lengths.sum()))
        self.applied_offset = int(batch.offsets[-1])
        self._had_offset = None
        self._unmarked = True
        self._commit()

    def _apply_each(self, batch: Batch) -> None:
        patient_until = time.monotonic() + PATIENCE_S
        try:
            for at, event in enumerate(batch):
                if time.monotonic() > patient_until and self._stop():
                    raise StopAsked
                if isinstance(event, Frame):
                    self._apply_frame(event, batch, at)
                else:
                    self._apply_snapshot_event(event, batch, at)
        except BaseException:
            # An error from the loop releases the events before this one. If the commit fails, its error is raised
            # instead, and nothing is released.
            self._commit()
            raise
        self._commit()

    def _apply_frame(self, event: Frame, batch: Batch, at: int) -> None:
        if self.in_snapshot:
            raise RemoteProtocolError(f"a frame (offset {event.offset}) inside a snapshot")
        if self._lost is not None:
            raise EventTruncated(self._receiver.name, offset=self._lost)
        if self._had_offset is not None:
            if event.offset <= self._had_offset:
                self.frames_skipped += 1
                return
            self._had_offset = None
        self._sink.apply(event.offset, event.argv)
        self.applied_offset = event.offset
        self._unmarked = True
        self._count(1, int(batch.lengths[at]))

    def _count(self, frames: int, frame_bytes: int) -> None:
        """Count frames as applied, without those that the sink's filter dropped."""
        dropped, dropped_bytes = self._take_dropped() if self._take_dropped is not None else (0, 0)
        self.frames += frames - dropped
        self.frame_bytes += frame_bytes - dropped_bytes
        self.frames_filtered += dropped

    def _apply_snapshot_event(self, event: ReplicaApply, batch: Batch, at: int) -> None:
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
        self._had_offset = None
        self.skipped, self.left_out, self._left_out_before = snapshot.skipped, snapshot.left_out, 0
        self.entries += snapshot.count
        self.snapshots += 1
        self._kept = (self.frames, self.frame_bytes)
        self._unmarked = True
        if self._lost is not None:
            self._lost = None
            self._receiver.forget_loss()
        if self._resumable is not None:
            # Release the snapshot before it is marked as applied. A shard that is killed in between leaves a snapshot
            # that counts as unfinished, and a new one is requested. In the other order the ring could keep only the
            # rest of a snapshot, which no shard can read.
            _release(batch, at + 1)
            batch.release(at + 1)
        self._settle(now=True)

    def _commit(self) -> None:
        """Make a resumable sink commit before the events are released: no shard gets them again after that.

        Dead letters are on the disk before that. Otherwise a crash could lose an event that the position has passed.
        """
        try:
            self._write_letters()
            if self._resumable is not None:
                self._resumable.commit()
        except BaseException:
            self._fall_back()
            raise
        self._kept = (self.frames, self.frame_bytes)

    def _fall_back(self) -> None:
        """Make a resumable sink forget a batch that it took only in part."""
        if self._resumable is not None:
            if self._refusals is not None:
                self._refusals.forget()
            self._resumable.rollback()
            self._take_up(self._resumable)

    def _take_up(self, sink: ResumableSink) -> None:
        """Continue from the sink's stored offset."""
        self.applied_offset = self._had_offset = sink.stored_offset
        self.frames, self.frame_bytes = self._kept
        self._unmarked = True

    def _publish_counts(self) -> None:
        left_out = self._left_out_before + len(self.left_out.functions)
        refusals = getattr(self._sink, "refusals", None)
        refused = self._refused_before + (refusals.count if refusals is not None else 0)
        counts = (
            (ConsumerWord.FRAMES, self.frames),
            (ConsumerWord.FRAME_BYTES, self.frame_bytes),
            (ConsumerWord.ENTRIES, self.entries),
            (ConsumerWord.SNAPSHOTS, self.snapshots),
            (ConsumerWord.SKIPPED_KEYS, self.skipped or 0),
            (ConsumerWord.LEFT_OUT, left_out),
            (ConsumerWord.REFUSALS, refused),
        )
        for word, count in counts:
            if count != self._published[word]:
                self._receiver.set_word(word, count)
                self._published[word] = count


def _check_sink_of_ring(sink: ResumableSink, receiver: ReplicaInboxReceiver) -> None:
    """Refuse a sink that lacks events which this ring marked as applied, or has more than the ring ever had.

    The ring no longer has the events between the sink's offset and a later mark. A sink beyond the last published event
    would skip frames that it never had. Raises SinkError (``"refused"``).
    """
    stats = receiver.stats()
    marked = stats.applied_offset
    if marked is None:
        return
    stored = sink.stored_offset
    published = receiver.published
    # A snapshot that is not applied yet may set the offset back, so a sink beyond it may be right.
    end = None if published.has_unapplied_snapshot(stats) else published.offset
    if stored is None or stored < marked or (end is not None and stored > max(end, marked)):
        holds = "is empty" if stored is None else f"ends at offset {stored}"
        was = f"was applied up to {marked}" + ("" if end is None else f" of {end}")
        detail = f"it {holds}, but ring {receiver.name} {was}, to another sink. Name that sink, or use another ring"
        raise SinkError(type(sink).__name__, reason="refused", detail=detail)


def _release(batch: Batch, upto: int) -> None:
    """Release events. If views are left, collect garbage. The end of the batch then raises if views are still left.

    A store may catch an exception and keep it in a cycle, together with its stack frames, which may hold views.
    """
    try:
        batch.release(upto)
    except ViewsEscaped:
        gc.collect()
