"""Fan-out by key: all records of a key go to the same consumer, in order."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from zlib import crc32

from kevy_ring.errors import SendError
from kevy_ring.events import BytesLike
from kevy_ring.group.producers import Producers, bytes_of, consumer_gone, wait_for_any, write_many
from kevy_ring.ring import Producer
from kevy_ring.ring.deadline import deadline_after, seconds_left


def ring_of_key(key: BytesLike, rings: int) -> int:
    """The index of the ring of ``key``, the same in every process, run and version.

    CRC-32 alone is linear: the keys of a series may all have the same remainder. So it is multiplied by the golden
    ratio, and its high bits choose.
    """
    return (crc32(key) * 2654435761 % 2**32) * rings >> 32


class KeyedDistributor(Producers):
    """Writes each record to the ring of its key, of those of ``producers``: the same one in every process and run.

        distributor, consumers = KeyedDistributor.create(4)   # pass each consumer to a process of its own
        with distributor:
            distributor.write(b"user:1", record)

    **Order.** The records of one key arrive in the order in which they were written: they go to one ring, and none
    passes another. So a record waits for room in its own ring, also if other rings have room. The set of rings is
    fixed, because another number of rings would be another ring for most keys.

    **A consumer that is gone.** A write to its ring raises :class:`ConsumerGone`, with the ``name`` of the ring, what
    was not written (``unsent``) and how many records the ring still has (``unread``). No record ever goes to another
    ring. Writes to the other rings succeed. When a successor has taken the role, by the name of the ring, it gets what
    was not released, and writes succeed again.

    Raises ``ValueError`` for a record larger than the ring, and :class:`ClosedError`. All methods may be called from
    any thread; the order of a key is that of the calls.
    """

    def ring_of(self, key: BytesLike) -> int:
        """The index in :attr:`producers` of the ring of ``key``, as :func:`ring_of_key` has it."""
        return ring_of_key(key, len(self._producers))

    def producer_of(self, key: BytesLike) -> Producer:
        """The producer of the ring of ``key``."""
        return self._producers[ring_of_key(key, len(self._producers))]

    def try_write(self, key: BytesLike, record: BytesLike) -> bool:
        """Write ``record`` to the ring of ``key``, and publish it. False: that ring is full now. Never waits."""
        if not self._has_roles:
            self.take_roles()
        producer = self.producer_of(key)
        try:
            return producer.try_write(record)
        except SendError as gone:
            if producer.accept_successor():
                return self.try_write(key, record)
            raise consumer_gone(producer, gone, [record], [0]) from gone

    def write(self, key: BytesLike, record: BytesLike, timeout: float | None = None) -> bool:
        """As :meth:`try_write`, but wait up to ``timeout`` seconds (None: no limit) for room. False: the time is up."""
        deadline = deadline_after(timeout)
        while not self.try_write(key, record):
            if not wait_for_any([(self.producer_of(key), bytes_of(record))], deadline):
                return False
        return True

    async def write_async(self, key: BytesLike, record: BytesLike, timeout: float | None = None) -> bool:
        """Write ``record`` to the ring of ``key`` as :meth:`write`, in a task of asyncio (uvloop too) or trio.

        A cancelled write wrote nothing.
        """
        producer, deadline = self.producer_of(key), deadline_after(timeout)
        while not self.try_write(key, record):
            with contextlib.suppress(SendError):  # try_write raises it, or accepts a successor
                if not await producer.wait_async(bytes_of(record), seconds_left(deadline)):
                    return False
        return True

    def write_many(
        self, keys: Sequence[BytesLike], records: Sequence[BytesLike], timeout: float | None = 0.0
    ) -> list[int]:
        """Write records, each to the ring of its key. Returns the indexes of those that were not written, in order.

        An empty list: all were written. If a record does not fit, no later one of its ring is written. It waits up to
        ``timeout`` seconds (None: no limit) for room; by default not at all. One call of the core for each ring.

            left = distributor.write_many(keys, records)
            keys, records = [keys[i] for i in left], [records[i] for i in left]   # for the next call

        If a consumer is gone, the records of the other rings are written first. Then :class:`ConsumerGone` names the
        ring; ``unsent`` and ``indexes`` have all records of the call that are in no ring. Raises ``ValueError`` for
        lengths that differ, and for a record larger than the ring if nothing else could be written.
        """
        if len(keys) != len(records):
            raise ValueError(f"there is one key for each record, not {len(keys)} for {len(records)}")
        if not self._has_roles:
            self.take_roles()
        call = _Writing(self._producers, keys, records)
        deadline = deadline_after(timeout)
        while True:
            while call.offer():
                pass
            wants = call.wants()
            if not wants or not wait_for_any(wants, deadline):
                return call.end()


class _Writing:
    """One call of write_many: which records each ring has yet to take."""

    def __init__(self, producers: list[Producer], keys: Sequence[BytesLike], records: Sequence[BytesLike]) -> None:
        self._producers = producers
        self._records = records
        self._open: dict[int, list[int]] = {}  # for each ring: the indexes of its records that are not written
        self._refused: dict[int, list[int]] = {}  # the same, of the rings that raised an error
        self._errors: dict[int, Exception] = {}
        for i, key in enumerate(keys):
            self._open.setdefault(ring_of_key(key, len(producers)), []).append(i)

    def offer(self) -> bool:
        """Offer each ring its records. False: none was taken."""
        done = 0
        for ring, indexes in list(self._open.items()):
            try:
                taken = write_many(self._producers[ring], [self._records[i] for i in indexes])
            except (SendError, ValueError, TypeError) as error:
                self._errors[ring] = error
                self._refused[ring] = self._open.pop(ring)
                continue
            done += taken
            del indexes[:taken]
            if not indexes:
                del self._open[ring]
        return done > 0

    def wants(self) -> list[tuple[Producer, int]]:
        """The rings that are full, each with the bytes of the next record for it."""
        return [(self._producers[ring], bytes_of(self._records[left[0]])) for ring, left in self._open.items()]

    def end(self) -> list[int]:
        """The indexes that were not written, in order. Raises the error of a ring."""
        left = sorted(i for indexes in (*self._open.values(), *self._refused.values()) for i in indexes)
        for ring, error in self._errors.items():
            if isinstance(error, SendError):
                unsent = [self._records[i] for i in left]
                raise consumer_gone(self._producers[ring], error, unsent, left) from error
        if self._errors and len(left) == len(self._records):
            raise next(iter(self._errors.values()))
        return left
