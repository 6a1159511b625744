"""The shard's end of an inbox: bounded drains, read where the events lie."""

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
from kevy_ring.ring.deadline import deadline_after, seconds_left
from kevy_ring.ring.record import PAYLOAD_MAX_BYTES, RecordFlag, packed_record
from kevy_ring.ring.segment import Segment
from kevy_ring.ring.stats import RingStats, read_stats
from kevy_ring.ring.time_in_ring import TimeInRing, read_time_in_ring

# As plain integers: flags are looked at for every fragment.
_FIRST, _LAST = int(RecordFlag.FIRST), int(RecordFlag.LAST)


class ReplicaInboxReceiver(ReceiverCalls, Consumer):
    """Receives replicated events of one upstream. Made by :func:`replica_inbox_pair` or :meth:`attach`.

    The consumer role is taken on first use, by the process that uses the handle first. Iterable: yields events
    with memory of their own until the sender is gone.
    """

    def __init__(self, segment: Segment, *, spin_us: float = DEFAULT_SPIN_US) -> None:
        super().__init__(segment, spin_us=spin_us)
        self._assembly: bytearray | None = None  # payload of an event larger than the ring, as far as it came
        self._part_at: int | None = None  # position of the last fragment that is part of it, and of how many bytes
        self._part_from = 0  # it consisted before: one that is drained again takes its own place
        self._untold_loss: int | None = None  # the lost offset of a predecessor, until it was raised or asked for
        self._known_loss: int | None = None  # the lost offset when it was asked for
        self._lost_before: tuple[int | None, int] = (None, 0)  # the lost offset and the head when the role was taken
        self._nothing = Batch()  # of all empty drains: they allocate nothing

    @classmethod
    def attach(
        cls, name: str, timeout: float | None = 0.0, *, spin_us: float = DEFAULT_SPIN_US
    ) -> ReplicaInboxReceiver:
        """The receiver of an existing inbox; waits up to ``timeout`` seconds for it to be made.

        Takes the role at once. Raises :class:`SegmentError` and :class:`RoleTaken`.
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
        """Raise that the end of an event was lost, once."""
        if self._untold_loss is not None:
            told = EventTruncated(self.name, offset=self._untold_loss)
            self._untold_loss = None
            self._careful = self._assembly is not None
            raise told

    def _take_fragment(self, batch: Batch, is_fragment: int) -> bool:  # type: ignore[override] # its batches are Batches
        """Whether the batch is that of whole events now. Else its space was given back, and another one is needed."""
        if not is_fragment:
            # Whole records follow: the sender of an unfinished event is gone.
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
                # Published before the space is given back: a death between the two then hides nothing.
                self._publish_word(ConsumerWord.LOST_OFFSET, word_of_offset(offset))
                del payload
                batch._pass()
                raise EventTruncated(self.name, offset=offset)
            del payload
            batch._pass()
            return False
        # No sender takes a larger event. Without this limit, fragments without an end would fill all memory.
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
        """Make the batch of the last fragment that of the whole event, which was larger than the ring."""
        argc = int.from_bytes(payload[:4], "little") if kind == Kind.FRAME else 0
        if (kind == Kind.FRAME and not argc) or 4 + 4 * argc > len(payload):
            raise CorruptRing(self.name, position=self._position, field="number of arguments")
        batch._become(packed_record(kind, offset, payload), len(payload), argc)

    def __enter__(self) -> ReplicaInboxReceiver:
        return self

    def __iter__(self) -> Iterator[OwnedApply]:
        while True:
            try:
                event = self.recv()
            except RecvError:
                return
            if event is not None:
                yield event

    async def recv_async(self, timeout: float | None = None) -> OwnedApply | None:
        """As :meth:`recv`, for a task of asyncio (uvloop too) or trio. A call that is cancelled took nothing.

        Each call lets other tasks run: for many events take batches (``async for batch in receiver``).
        """
        deadline = deadline_after(timeout)
        while await self.wait_async(seconds_left(deadline)):
            event = self.try_recv()
            if event is not None:
                return event
        return None

    def batches(self, max_events: int = 1024, max_bytes: int | None = None) -> BatchStream[Batch]:
        """For ``async for``: batches as :meth:`drain` gives them, until the sender is gone.

        Each is open while the loop's body runs, and released behind it as by a ``with``: see :class:`BatchStream`.
        """
        return BatchStream(self, partial(self.drain, max_events, max_bytes))

    def __aiter__(self) -> BatchStream[Batch]:
        return self.batches()

    def mark_applied(self, offset: int | None) -> None:
        """Tell the sender's side that everything up to ``offset`` is applied. May go back after a snapshot.

        None: nothing of the stream is applied (what an empty upstream's snapshot stands for). Inside an open batch, a
        SnapshotEnd counts as applied when the iteration has reached it.
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
        """The last event that lies in the ring or went through it, whoever sent it and however that process ended."""
        if self._closed:
            raise ClosedError(self.name)
        return read_published(self._segment)

    @property
    def upstream_id(self) -> str:
        """The history that the last published event belongs to, as in :attr:`published`; empty: not known."""
        if self._closed:
            raise ClosedError(self.name)
        return read_upstream_id(self._segment)

    @property
    def lost_offset(self) -> int | None:
        """The offset of an event that :class:`EventTruncated` told of, to this receiver or to a predecessor; else None.

        It stays until :meth:`forget_loss`, because the applied stream has a gap there. If a receiver has not asked, its
        first drain, or another call that takes events, raises that error.
        """
        self._untold_loss, self._known_loss = None, lost_offset(self.stats())
        return self._known_loss

    def forget_loss(self) -> None:
        """The gap is made good, by a snapshot."""
        self._untold_loss = None
        self._publish_word(ConsumerWord.LOST_OFFSET, word_of_offset(None))

    def _publish_word(self, which: int, value: int) -> None:
        code = lib.kr_consumer_set_word(self._handle or self._claim(), which, value)
        if code < 0:
            raise self._fault(code)

    def set_word(self, which: int, value: int) -> None:
        """Publish one of the application's words (8 to 15, unsigned 64 bits) in the ring's header."""
        if which not in FREE_CONSUMER_WORDS:
            raise ValueError(f"the application's words are {FREE_CONSUMER_WORDS[0]} to 15: {which}")
        self._publish_word(which, value)

    def stats(self) -> RingStats:
        """Positions, roles and counters as the header has them now."""
        if self._closed:
            raise ClosedError(self.name)
        return read_stats(self._segment)

    def time_in_ring(self) -> TimeInRing:
        """How long events have lain in the ring, of one in 1,024 of them; what they waited behind it is not in it."""
        if self._closed:
            raise ClosedError(self.name)
        return read_time_in_ring(self._segment)
