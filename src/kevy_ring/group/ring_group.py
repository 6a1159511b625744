"""Fan-in: one consumer process for the records of many producers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self

from kevy_ring.group.ends import WorkerProducer, make_segments
from kevy_ring.group.fan_in import FanIn, is_empty
from kevy_ring.group.members import OnEnd
from kevy_ring.ring import Consumer, Producer, Segment
from kevy_ring.ring.deadline import deadline_after, seconds_left


class RingGroup(FanIn):
    """Reads from many rings in one process: many producers, one consumer. It owns its ``consumers``, and closes them.

        group, producers = RingGroup.create(4)   # pass each producer to a process of its own
        for record in group:                     # until all producers are gone
            ...

    **Fair.** Rings that have records take turns: a turn is one batch, or 16 records one by one. So no ring waits longer
    than for one turn of each other ring, however busy they are.

    **Ends.** If a producer closed its end or died, its last records are delivered first. Then its ring leaves the
    group, and the end is reported once: ``on_end(consumer, error)`` is called, if given. Without ``on_end`` a closed
    end is silent, and a death is raised once, as a :class:`RecvError` with the ``name`` of the ring. After the error
    the group still works: the next call continues with the other rings. :attr:`ended` has the last 1,000 ends. The
    group closes the consumer of a ring that ended; if :meth:`create` made the ring, its memory is given back.

    ``awaits_successors``: a ring whose producer ended stays. A new producer may take the role (by the ring's name), and
    its records are delivered. Its own end is reported again. Use it for rings whose producers are restarted.

    Rings may join (:meth:`add`) and leave (:meth:`remove`) at any time. All methods may be called from any thread. They
    raise :class:`ClosedError` on a closed group, or one that was used before a fork; and the errors of a single ring,
    such as :class:`CorruptRing`, once: that ring leaves the group. The group can be pickled to another process, which
    takes the roles on first use. It is a context manager.
    """

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[bytes]: ...

    @classmethod
    def create(
        cls,
        rings: int,
        capacity: int = 1 << 20,
        name: str | None = None,
        *,
        on_end: OnEnd | None = None,
        awaits_successors: bool = False,
    ) -> tuple[Self, list[Producer]]:
        """Make ``rings`` rings of ``capacity`` bytes each. Returns the group, and their producers for other processes.

        Each of those processes uses its producer in a ``with``. That takes the role at once, so that the group learns
        of its end even if it writes nothing. With ``name``, ring ``i`` is named ``f"{name}-{i}"``. ``on_end`` and
        ``awaits_successors``: see the class. Raises as :meth:`Ring.create`, and ``ValueError`` without a ring; then no
        ring is left behind.
        """
        segments = make_segments(rings, capacity, name)
        group = cls(map(Consumer, segments), on_end=on_end, awaits_successors=awaits_successors)
        group._made.update(group._consumers)
        return group, [WorkerProducer(segment) for segment in segments]

    @classmethod
    def attach(
        cls,
        names: Iterable[str],
        timeout: float | None = 0.0,
        *,
        on_end: OnEnd | None = None,
        awaits_successors: bool = False,
    ) -> Self:
        """The group of existing rings, by their names: as in a process that takes over after another one was killed.

        Waits up to ``timeout`` seconds (None: no limit) for all of them to be made. ``on_end`` and
        ``awaits_successors``: see the class. Raises as :meth:`Ring.attach`.
        """
        deadline = deadline_after(timeout)
        consumers = [Consumer(Segment.attach(name, seconds_left(deadline))) for name in names]
        return cls(consumers, on_end=on_end, awaits_successors=awaits_successors)

    def _take_one(self, consumer: Any) -> Any:
        return consumer.try_read()

    def try_read(self) -> bytes | None:
        """Take one record of the ring whose turn it is, as bytes; None if no ring has one. Never waits.

        Raises :class:`GroupEnded` if no ring is left; else as the class says.
        """
        return self._try_one()  # type: ignore[no-any-return]

    def read(self, timeout: float | None = None) -> bytes | None:
        """As :meth:`try_read`, but wait up to ``timeout`` seconds (None: no limit) for a record; None: time is up."""
        return self._one(timeout)  # type: ignore[no-any-return]

    async def read_async(self, timeout: float | None = None) -> bytes | None:
        """As :meth:`read`, for a task of asyncio (uvloop too) or trio. A cancelled read took nothing."""
        return await self._one_async(timeout)  # type: ignore[no-any-return]

    def read_many(self, max_records: int = 1024) -> list[bytes]:
        """Take up to ``max_records`` records of the next ring that has some, as bytes; an empty list if none has.

        Never waits. Their space is given back before the call returns.
        """
        return self._from_next(lambda consumer: consumer.read_many(max_records), is_empty) or []
