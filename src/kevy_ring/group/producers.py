"""What the distributors have in common: their producers, the error for a consumer that is gone, and the end."""

from __future__ import annotations

import math
import select
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from kevy_ring.errors import ConsumerGone, SendError
from kevy_ring.events import BytesLike
from kevy_ring.group.ends import WorkerConsumer, make_segments
from kevy_ring.ring import Consumer, Producer
from kevy_ring.ring.deadline import seconds_left
from kevy_ring.ring.event_loop import LOOK_S
from kevy_ring.ring.stats import read_stats


class Producers:
    """The producers of several rings, in one process. :class:`Distributor` and :class:`KeyedDistributor` write to them.

    It owns the producers, and closes them. It can be pickled to another process, which takes the roles on first use.
    """

    def __init__(self, producers: Iterable[Producer]) -> None:
        self._producers = list(producers)
        if not self._producers:
            raise ValueError("there is at least one ring, not 0")
        self._has_roles = False

    @classmethod
    def create(cls, rings: int, capacity: int = 1 << 20, name: str | None = None) -> tuple[Self, list[Consumer]]:
        """Make ``rings`` rings of ``capacity`` bytes each. Returns the writer, and consumers for other processes.

        Each of those processes uses its consumer in a ``with``. That takes the role at once, so that a write fails
        after its end even if it read nothing. With ``name``, ring ``i`` is named ``f"{name}-{i}"``. Raises as
        :meth:`Ring.create`, and ``ValueError`` without a ring; then no ring is left behind.
        """
        segments = make_segments(rings, capacity, name)
        return cls(map(Producer, segments)), [WorkerConsumer(segment) for segment in segments]

    @property
    def producers(self) -> list[Producer]:
        """The producers, in order."""
        return list(self._producers)

    def __len__(self) -> int:
        return len(self._producers)

    def take_roles(self) -> None:
        """Take the producer role of every ring for this process, as the first write and ``with`` do.

        So that each consumer learns of the end, also one that got no record. Raises :class:`RoleTaken`.
        """
        for producer in self._producers:
            if producer._handle is None:
                producer._claim()
        self._has_roles = True

    def take_back(self, name: str) -> list[bytes]:
        """The records in ring ``name`` that its consumer, which is gone, did not release. They leave the ring.

        The consumer may have processed the first of them before it was killed. Raises ``ValueError`` if there is no
        such ring or its consumer is not gone, and :class:`RoleTaken` if a successor has come meanwhile.
        """
        producer = next((each for each in self._producers if each.name == name), None)
        if producer is None or not producer.receiver_gone:
            raise ValueError(f"ring {name!r}: " + ("its consumer is not gone" if producer else "not in this group"))
        records: list[bytes] = []
        with Consumer(producer._segment) as consumer:
            while found := consumer.read_many():
                records += found
        return records

    def close(self) -> None:
        """Publish everything and give all roles up: each consumer sees the end after its last record."""
        for producer in self._producers:
            producer.close()

    def __enter__(self) -> Self:
        self.take_roles()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} rings: {', '.join(each.name for each in self._producers)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (list(self._producers),)


def consumer_gone(producer: Producer, gone: SendError, unsent: Sequence[Any], indexes: Sequence[int]) -> ConsumerGone:
    """The error for a ring whose consumer is gone, with what was not delivered."""
    stats = read_stats(producer._segment.if_open())
    unread = stats.events_in - stats.events_out
    return ConsumerGone(
        gone.name, cause=gone.cause, pid=gone.pid, unsent=list(unsent), indexes=list(indexes), unread=unread
    )


def write_many(producer: Producer, records: Sequence[BytesLike]) -> int:
    """As ``producer.write_many``, to a successor of its consumer if there is one. One call of the core."""
    try:
        return producer.write_many(records)
    except SendError:
        if not producer.accept_successor():
            raise
        return producer.write_many(records)


def bytes_of(record: BytesLike) -> int:
    """The size of a record in bytes."""
    return len(record) if isinstance(record, bytes) else memoryview(record).nbytes


def wait_for_any(wants: Sequence[tuple[Producer, int]], deadline: float | None) -> bool:
    """Sleep until one of the rings has space for its ``int`` bytes, or its consumer is gone: True. False: time is up.

    It may also return True for no reason, at least once a second. One sleep for all rings, without polling.
    """
    left = seconds_left(deadline)
    if left == 0:
        return False
    sleep = select.poll()  # needs no descriptor of its own, so nothing is left if a signal's handler raises
    for producer, length in wants:
        sleep.register(producer.fileno(length), select.POLLIN)
    sleep.poll(math.ceil(1000 * (LOOK_S if left is None else min(left, LOOK_S))))
    return True
