"""Makes both ends of several new rings."""

from __future__ import annotations

from typing import Any, Self

from kevy_ring.ring import Consumer, Producer, Segment


class WorkerProducer(Producer):
    """A producer to pass to a worker process. There ``with`` takes the role at once.

    So the group learns of the worker's end even if it wrote nothing. A plain producer takes the role at its first use.
    """

    def __enter__(self) -> Self:
        if self._handle is None:
            self._claim()
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        self._segment.handed_over = True
        return _worker_producer, (self.name,)


class WorkerConsumer(Consumer):
    """As :class:`WorkerProducer`: a distributor learns of the worker's end even if it read nothing."""

    def __enter__(self) -> Self:
        if self._handle is None:
            self._claim()
        return self


def _worker_producer(name: str) -> WorkerProducer:
    return WorkerProducer(Segment.attach(name))


def make_segments(rings: int, capacity: int, name: str | None) -> list[Segment]:
    """Make ``rings`` new segments; with ``name``, segment ``i`` is named ``f"{name}-{i}"``.

    Raises as :meth:`Segment.create`, and ``ValueError`` without a ring; then no ring is left behind.
    """
    if rings < 1:
        raise ValueError(f"there is at least one ring, not {rings}")
    segments: list[Segment] = []
    try:
        for i in range(rings):
            segments.append(Segment.create(capacity, None if name is None else f"{name}-{i}"))
    except BaseException:
        for segment in segments:
            segment.unlink()
        raise
    return segments
