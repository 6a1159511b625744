"""The shard's end of an inbox: it drains events in batches, and reads them in place."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from kevy_ring._calls import ReceiverCalls
from kevy_ring._core import lib
from kevy_ring.errors import ClosedError, CorruptRing, EventTruncated, RecvError
from kevy_ring.events import Kind, OwnedApply
from kevy_ring.inbox.batch import Batch
from kevy_ring.inbox.encoding import checked_offset
from kevy_ring.inbox.header_words import FREE_CONSUMER_WORDS, ConsumerWord, lost_offset, word_of_offset
from kevy_ring.inbox.resume_point import Published, read_published, read_upstream_id
from kevy_ring.ring.batch_stream import BatchStream
from kevy_ring.ring.consumer import DEFAULT_SPIN_US, Consumer
from kevy_ring.ring.record import PAYLOAD_MAX_BYTES, RecordFlag, packed_record
from kevy_ring.ring.segment import Segment
from kevy_ring.ring.stats import RingStats, read_stats
from kevy_ring.ring.time_in_ring import TimeInRing, read_time_in_ring

# As plain integers, because each fragment tests its flags.
_FIRST, _LAST = int(RecordFlag.FIRST), int(RecordFlag.LAST)


class ReplicaInboxReceiver(ReceiverCalls, Consumer):
    """Receives the replicated events of one upstream. Made by :func:`replica_inbox_pair` or :meth:`attach`.

    It takes the consumer role on first use, for the process that uses the handle first. It can be pickled to another
    process. :meth:`close`, or the end of a ``with``, gives the role up.

    ``for event in receiver`` yields events that are copied out of the ring, until the sender is gone.
    ``async for batch in receiver`` is :meth:`batches` with its defaults. ``spin_us``: see :class:`Consumer`.

        with receiver.drain(max_events=100) as batch:
            for event in batch:
                print(event)
            if batch.count:
                receiver.mark_applied(int(batch.offsets[-1]))
    """

    def __init__(self, segment: Segment, *, spin_us: float = DEFAULT_SPIN_US) -> None:
        super().__init__(segment, spin_us=spin_us)
        self._assembly: bytearray | None = None  # the payload so far of an event larger than the ring
        # The position of the last fragment in it, and its length before that: a fragment that is drained again
        # replaces itself.
        self._part_at: int | None = None
        self._part_from = 0
        self._untold_loss: int | None = None  # the lost offset of a predecessor, until it is raised or read
        self._known_loss: int | None = None  # the lost offset when it was read
        self._lost_before: tuple[int | None, int] = (None, 0)  # the lost offset and the head when the role was taken
        self._nothing = Batch()  # every empty drain returns it, so that it allocates nothing

    @classmethod
    def attach(
        cls, name: str, timeout: float | None = 0.0, *, spin_us: float = DEFAULT_SPIN_US
    ) -> ReplicaInboxReceiver:
        """The receiver of the inbox ``name``. Waits up to ``timeout`` seconds (None: without limit) for it to be made.

        ``spin_us``: see :class:`Consumer`. Takes the role at once. Raises :class:`SegmentError` (``reason`` says why)
        and :class:`RoleTaken`.
        """
        receiver = cls(Segment.attach(name, timeout), spin_us=spin_us)
        receiver._claim()
        return receiver

    def _has_taken_role(self) -> None:
        stats = self.stats()
        self._snapshots_released = stats.consumer_words[ConsumerWord.SNAPSHOTS_APPLIED]
        lost = lost_offset(stats)
        self._lost_before = (lost, stats.head)
        self._untold_loss = None if lost == self._known_loss else lost
        self._careful = self._untold_loss is not None

    def _before_drain(self) -> None:
        """Raise the loss of an event, once."""
        if self._untold_loss is not None:
            told = EventTruncated(self.name, offset=self._untold_loss)
            self._untold_loss = None
            self._careful = self._assembly is not None
            raise told

    def _take_fragment(self, batch: Batch, is_fragment: int) -> bool:  # type: ignore[override] # its batches are Batches
        """Whether the batch has whole events now. If not, it is released, and another drain is needed."""
        if not is_fragment:
            # A whole record comes after an unfinished event: the sender of that event is gone.
            self._assembly = self._part_at = None
            self._careful = False
            return True
        flags, position = self._flags, self._position
        kind, offset, payload = batch._part()
        if flags & _FIRST:
            self._assembly, self._part_at = bytearray(), None
            self._careful = True
        assembly = self._assembly
        if assembly is None:
            if flags & _LAST and (offset, position) != self._lost_before:
                # Before the release: if this process dies in between, its successor finds the fragment or the word.
                self._publish_word(ConsumerWord.LOST_OFFSET, word_of_offset(offset))
                del payload
                batch._pass()
                raise EventTruncated(self.name, offset=offset)
            del payload
            batch._pass()
            return False
        # No sender sends a larger event. Without this limit, endless fragments would fill the memory.
        if len(assembly) + len(payload) > PAYLOAD_MAX_BYTES:
            raise CorruptRing(self.name, position=position, field="record length")
        if position == self._part_at:
            del assembly[self._part_from :]
        self._part_at, self._part_from = position, len(assembly)
        assembly += payload
        del payload
        if flags & _LAST:
            self._complete(batch, kind, offset, bytes(assembly))
            return True
        batch._pass()
        return False

    def _complete(self, batch: Batch, kind: int, offset: int, payload: bytes) -> None:
        """Replace the last fragment in its batch by the whole event."""
        argc = int.from_bytes(payload[:4], "little") if kind == Kind.FRAME else 0
        if (kind == Kind.FRAME and not argc) or 4 + 4 * argc > len(payload):
            raise CorruptRing(self.name, position=self._position, field="number of arguments")
        batch._become(packed_record(kind, offset, payload), len(payload), argc)

    def __iter__(self) -> Iterator[OwnedApply]:
        while True:
            try:
                event = self.recv()
            except RecvError:
                return
            if event is not None:
                yield event

    async def recv_async(self, timeout: float | None = None) -> OwnedApply | None:
        """As :meth:`recv` with ``timeout``, for a task of asyncio (uvloop too) or trio. A cancelled call took nothing.

        Raises as :meth:`recv`. Each call lets other tasks run. For many events use batches: ``async for batch in
        receiver``.
        """
        return await self._take_async(self.try_recv, timeout)

    def batches(self, max_events: int = 1024, max_bytes: int | None = None) -> BatchStream[Batch]:
        """For ``async for``: the batches of ``drain(max_events, max_bytes)``, until the sender is gone.

        Raises as :meth:`drain`, in the loop. Each batch is open while the loop's body runs. Then it ends as by a
        ``with``: see :class:`BatchStream`.
        """
        return BatchStream(self, partial(self.drain, max_events, max_bytes))

    def __aiter__(self) -> BatchStream[Batch]:
        return self.batches()

    def mark_applied(self, offset: int | None) -> None:
        """Publish that everything up to ``offset`` is applied. After a snapshot the offset may be lower than before.

        None: nothing of the stream is applied, as after the snapshot of an empty upstream. Inside an open batch, a
        SnapshotEnd counts as applied when the iteration has reached it. Raises ``TypeError`` or ``ValueError`` for a
        bad offset, and :class:`ClosedError`.
        """
        number = 0 if offset is None else checked_offset(offset)
        if self._handle is None:
            self._claim()
        batch = self._open_batch
        ended = self._snapshots_released + (batch.snapshots_ended() if isinstance(batch, Batch) else 0)
        words = (
            (ConsumerWord.APPLIED_OFFSET, number),
            (ConsumerWord.HAS_APPLIED, int(offset is not None)),
            (ConsumerWord.SNAPSHOTS_APPLIED, ended),
        )
        for which, value in words:
            self._publish_word(which, value)

    @property
    def published(self) -> Published:
        """The last event that was published in the ring, also if the process that sent it is dead.

        Raises :class:`ClosedError`.
        """
        return read_published(self._open_segment())

    @property
    def upstream_id(self) -> str:
        """The history of the last published event, as in :attr:`published`; empty if not known.

        Raises :class:`ClosedError`.
        """
        return read_upstream_id(self._open_segment())

    @property
    def lost_offset(self) -> int | None:
        """The offset of an event that was lost, as :class:`EventTruncated` reports it; None: none was lost.

        A predecessor of this receiver may have lost it. It stays until :meth:`forget_loss`, because the applied stream
        has a gap there. If a receiver has not read this, its first call that takes events raises that error.
        """
        self._untold_loss, self._known_loss = None, lost_offset(self.stats())
        return self._known_loss

    def forget_loss(self) -> None:
        """Reset :attr:`lost_offset`: a snapshot has repaired the gap. Raises :class:`ClosedError`."""
        self._untold_loss = None
        self._publish_word(ConsumerWord.LOST_OFFSET, word_of_offset(None))

    def _publish_word(self, which: int, value: int) -> None:
        code = lib.kr_consumer_set_word(self._handle or self._claim(), which, value)
        if code < 0:
            raise self._fault(code)

    def set_word(self, which: int, value: int) -> None:
        """Publish ``value`` (unsigned 64 bits) in the word ``which`` of the application (8 to 15) in the ring's header.

        Raises ``ValueError`` for another word, and :class:`ClosedError`.
        """
        if which not in FREE_CONSUMER_WORDS:
            raise ValueError(f"the application's words are {FREE_CONSUMER_WORDS[0]} to 15, not {which}")
        self._publish_word(which, value)

    def stats(self) -> RingStats:
        """The positions, roles and counters in the header now. Raises :class:`ClosedError`."""
        return read_stats(self._open_segment())

    def time_in_ring(self) -> TimeInRing:
        """How long events stay in the ring, without the time in the overflow; one in 1,024 is measured.

        Raises :class:`ClosedError`.
        """
        return read_time_in_ring(self._open_segment())

    def _open_segment(self) -> Segment:
        if self._closed:
            raise ClosedError(self.name)
        return self._segment
