"""The shard: the one reader of an inbox, which applies to a sink in order and says how far it is."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from contextlib import suppress
from threading import get_ident
from typing import TYPE_CHECKING

from kevy_ring.errors import EventTruncated, RemoteProtocolError, SinkError, ViewsEscaped
from kevy_ring.events import Frame, Kind, ReplicaApply, SnapshotBegin, SnapshotChunk, SnapshotEnd
from kevy_ring.inbox.header_words import ConsumerWord
from kevy_ring.ring.event_loop import running_loop
from kevy_ring.shard.assembly import SnapshotAssembly, StopAsked
from kevy_ring.shard.run_result import RunEnd, RunResult
from kevy_ring.shard.sinks.sink import ResumableSink, Sink
from kevy_ring.shard.snapshot import LeftOut

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


class Shard:
    """Drains ``receiver`` in bounded batches and applies each to ``sink``, from one thread.

    ``frames``, ``frame_bytes`` (payload), ``entries`` (of snapshots loaded) and ``snapshots`` count what was applied,
    ``applied_offset`` is where the stream stands in the sink (None: nothing applied): at first where a
    :class:`ResumableSink` says, and ``frames_skipped`` counts the frames that it had already. Neither the receiver nor
    the sink is closed by the shard.
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
        self._follow: Callable[[str], None] | None = getattr(sink, "follow_history", None)
        self._assembly = SnapshotAssembly(sink)
        self._stop: Callable[[], bool] = _never
        self._replicating_thread = 0
        self._unmarked = False
        self._flushed_at = time.monotonic()
        before = receiver.stats().consumer_words
        # Of earlier shards on this ring, whose snapshot and whose refusals are in the sink as well.
        self.refused_before = before[ConsumerWord.REFUSALS]
        self._left_out_before = before[ConsumerWord.LEFT_OUT]
        self._published = list(before)
        self._resumable = sink if isinstance(sink, ResumableSink) else None
        self._had_offset: int | None = None  # frames up to it are in the sink already
        self._kept = (0, 0)  # frames and frame bytes, as of the last commit
        self._lost: int | None = None
        self._looked_for_losses = False
        self.applied_offset: int | None = None
        self.frames = self.frame_bytes = self.entries = self.snapshots = self.frames_skipped = 0
        #: Keys of the last snapshot that its decoder left out, also where an earlier shard of this ring has loaded it;
        #: None where that cannot be told.
        self.skipped: int | None = before[ConsumerWord.SKIPPED_KEYS]
        #: What the last snapshot's decoder left out, by name.
        self.left_out = LeftOut()
        if self._resumable is not None and self._resumable.stored_offset is not None:
            self._take_up(self._resumable)
            self._flushed_at = float("-inf")

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
    def left_out_besides(self) -> int:
        """What the last snapshot's decoder left out beside keys: expiries of fields (hashes), function libraries."""
        return self._left_out_before + len(self.left_out.field_expiries) + len(self.left_out.functions)

    @property
    def snapshot_bytes(self) -> int:
        """Bytes received of the snapshot in progress, 0 without one."""
        return self._assembly.size_bytes

    def tick(self) -> int:
        """Drain and apply one batch, within the budget; return the number of events. Never waits for events.

        Raises RemoteProtocolError for an event that cannot stand where it stands (a frame or an end without the
        snapshot around it, a frame inside one), SnapshotError for a snapshot that cannot be decoded, and what the sink
        raises. The events before the one that failed are applied and released, the failed one is seen again;
        a batch that the sink took as one is seen again as a whole. A resumable sink is made to commit before anything
        is released; where it cannot, nothing is.

        Raises EventTruncated for a frame whose beginning went to a shard that was killed, and for every later one until
        a snapshot comes, by whatever shard; and SinkError for a resumable sink that has not what this ring's earlier
        shards have marked as applied, or has what was never in it. (Where nothing is marked yet, a sink may have more:
        a stream is sent again.)
        """
        with self._drained() as batch:
            count = len(batch)
            if count:
                if self._follow is not None:
                    # Of what was published last, which is this history or a later one.
                    self._follow(self._receiver.upstream_id)
                self._apply(batch)
                _drop_cycles_with_views(batch, count)
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
        return self._ended(end)

    async def run_async(self, stop: Callable[[], bool] = lambda: False, *, outlives_sender: bool = False) -> RunResult:
        """As :meth:`run`, for a task of asyncio (uvloop too) or trio.

        Other tasks run between batches: ``max_events`` bounds how long one keeps them waiting, but a snapshot's end is
        applied in one step. When it is cancelled, what was applied is marked.
        """
        self._stop = stop
        try:
            end = await self._run_async(outlives_sender)
        except BaseException:
            self._settle_what_can_be()
            raise
        finally:
            self._stop = _never
        return self._ended(end)

    def _ended(self, end: RunEnd) -> RunResult:
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

    async def _run_async(self, outlives_sender: bool) -> RunEnd:
        while not self._stop():
            gone = self._receiver.sender_gone  # before the tick, as above
            try:
                found = self.tick()
            except StopAsked:
                break
            if not found and gone:
                if not outlives_sender:
                    return RunEnd.SENDER_GONE
                await running_loop().pause(NEXT_SENDER_S)
            await self._receiver.wait_async(0 if found else self._wait_s())
        return RunEnd.STOPPED

    @property
    def _in_transaction(self) -> bool:
        return bool(getattr(self._sink, "in_transaction", False))

    def _wait_s(self) -> float:
        if not self._unmarked or self._in_transaction:
            return POLL_S
        return min(POLL_S, max(0.0, self._flushed_at + self._flush_interval_s - time.monotonic()))

    def _drained(self) -> Batch:
        if not self._looked_for_losses:
            self._look_for_losses()
        try:
            return self._receiver.drain(self._max_events, self._max_bytes)
        except EventTruncated as error:
            self._lost = error.offset
            raise

    def _look_for_losses(self) -> None:
        """See what earlier shards of this ring left undone, and that this one has the sink of theirs."""
        stats = self._receiver.stats()
        self._lost = self._receiver.lost_offset
        marked = stats.applied_offset
        if self._resumable is not None and marked is not None:
            stored = self._resumable.stored_offset
            # Marked is what a sink had flushed: what lies between the two is nowhere. And beyond what was ever
            # published a sink of this ring cannot be: it would skip what it never had.
            end = self._published_end()
            if stored is None or stored < marked or (end is not None and stored > max(end, marked)):
                stands = "is empty" if stored is None else f"stands at offset {stored}"
                was = f"was applied up to {marked}" + ("" if end is None else f" of {end}")
                detail = f"it {stands}, but ring {self._receiver.name} {was}, to another sink"
                raise SinkError(type(self._resumable).__name__, reason="refused", detail=detail)
        self._looked_for_losses = True

    def _published_end(self) -> int | None:
        """The last offset in the ring; None where there is none, or a snapshot waits: it may go back with that."""
        published = self._receiver.published
        return None if published.has_unapplied_snapshot(self._receiver.stats()) else published.offset

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
        # Offsets rise within a history: the first frame tells for all.
        return self._had_offset is None or int(batch.offsets[0]) > self._had_offset

    def _apply_whole(self, batch: Batch, apply_batch: Callable[[Batch], None]) -> None:
        try:
            apply_batch(batch)
        except BaseException:
            self._fall_back()
            raise
        self.frames += len(batch)
        self.frame_bytes += int(batch.lengths.sum())
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
            # What the loop raised releases the events before this one. A commit that fails is raised in its place, and
            # releases nothing.
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
        self.frames += 1
        self.frame_bytes += int(batch.lengths[at])

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
            # Given back before it is counted as applied: a shard that is killed in between leaves a snapshot that
            # counts as unfinished and is asked for again, and never the rest of one, of which nobody can make sense.
            _drop_cycles_with_views(batch, at + 1)
            batch.release(at + 1)
        self._settle(now=True)

    def _commit(self) -> None:
        """What is given back to the ring is never seen again: a resumable sink has to have it before."""
        if self._resumable is None:
            return
        try:
            self._resumable.commit()
        except BaseException:
            self._take_up(self._resumable)
            raise
        self._kept = (self.frames, self.frame_bytes)

    def _fall_back(self) -> None:
        """Let a resumable sink forget the batch that it took a part of."""
        if self._resumable is not None:
            self._resumable.rollback()
            self._take_up(self._resumable)

    def _take_up(self, sink: ResumableSink) -> None:
        """Go on where the sink stands."""
        self.applied_offset = self._had_offset = sink.stored_offset
        self.frames, self.frame_bytes = self._kept
        self._unmarked = True

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
            self._publish_counts()  # a sink may learn of refused commands here
        self._receiver.mark_applied(self.applied_offset)  # None: a kevy snapshot of offset 0, before the first frame
        self._unmarked = False

    def _settle_what_can_be(self) -> None:
        """Mark the events before the one that failed; the failure itself is what the caller has to hear of."""
        with suppress(Exception):
            self._settle(now=True)

    def _publish_counts(self) -> None:
        refusals = getattr(self._sink, "refusals", None)
        refused = self.refused_before + (refusals.count if refusals is not None else 0)
        counts = (
            (ConsumerWord.FRAMES, self.frames),
            (ConsumerWord.FRAME_BYTES, self.frame_bytes),
            (ConsumerWord.ENTRIES, self.entries),
            (ConsumerWord.SNAPSHOTS, self.snapshots),
            (ConsumerWord.SKIPPED_KEYS, self.skipped or 0),
            (ConsumerWord.LEFT_OUT, self.left_out_besides),
            (ConsumerWord.REFUSALS, refused),
        )
        for word, count in counts:
            if count != self._published[word]:
                self._receiver.set_word(word, count)
                self._published[word] = count


def _drop_cycles_with_views(batch: Batch, upto: int) -> None:
    """Release events. Where views are left, free the cycles that may hold them; the next ``release`` tells.

    A store may catch an exception and keep it in a cycle, with all frames below it: also those that hold views.
    """
    try:
        batch.release(upto)
    except ViewsEscaped:
        gc.collect()


def _never() -> bool:
    return False


def _or_none_yet(offset: int | None) -> int:
    return -1 if offset is None else offset
