"""A batch of events that the shard reads in place, in the ring."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kevy_ring._calls import EventBatchCalls, know_events
from kevy_ring.events import Frame, ReplicaApply, SnapshotBegin, SnapshotChunk, SnapshotEnd
from kevy_ring.ring.batch import RecordBatch

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class BatchFrame(Frame):
    """A frame in a batch. Each read of ``argv`` makes read-only memoryviews.

    Reading it after the release of the batch raises :class:`ClosedError`.
    """

    __slots__ = ("_batch", "_index")
    _batch: Batch
    _index: int

    @property
    def argv(self) -> list[memoryview]:  # type: ignore[override]
        """The arguments, as read-only memoryviews into the ring."""
        return self._batch.argv(self._index)


class BatchChunk(SnapshotChunk):
    """A chunk in a batch. Each read of ``data`` makes a read-only memoryview.

    So the event itself holds no view, and a loop variable that keeps it does not block the release. Reading ``data``
    after the release of the batch raises :class:`ClosedError`.
    """

    __slots__ = ("_batch", "_index")
    _batch: Batch
    _index: int

    @property
    def data(self) -> memoryview:  # type: ignore[override]
        """The bytes of the chunk, as a read-only memoryview into the ring."""
        return self._batch.payload(self._index)


know_events(Frame, SnapshotChunk, SnapshotBegin, SnapshotEnd, BatchFrame, BatchChunk)


class Batch(EventBatchCalls, RecordBatch):
    """The events of one drain. Iterate over it, or use the columns and read single events by index.

    The columns are read-only numpy arrays of shape (len(batch),), one entry per event: ``kinds`` (uint8), ``offsets``
    (uint64), ``starts`` (uint64), ``lengths`` (uint32) and ``argcs`` (uint32). They raise :class:`ClosedError` after
    the release. A batch is a context manager that releases its events: see :class:`RecordBatch`.

        with receiver.drain() as batch:
            for event in batch:
                if isinstance(event, Frame):
                    apply(event.offset, event.argv)
    """

    __slots__ = ()

    @property
    def kinds(self) -> npt.NDArray[np.uint8]:
        """The :class:`Kind` of each event; uint8."""
        return self._array("kinds")

    @property
    def offsets(self) -> npt.NDArray[np.uint64]:
        """The offset of each Frame and SnapshotEnd, 0 for other events; uint64."""
        return self._array("offsets")

    @property
    def argcs(self) -> npt.NDArray[np.uint32]:
        """The number of arguments of each frame, 0 for other events; uint32."""
        return self._array("argcs")

    if TYPE_CHECKING:  # a record of an inbox is an event

        def __getitem__(self, i: int, /) -> ReplicaApply: ...  # type: ignore[override]
        def __iter__(self) -> Iterator[ReplicaApply]: ...  # type: ignore[override]

    def snapshots_ended(self) -> int:
        """How many SnapshotEnd events the iteration has reached; without an iteration, how many the batch has.

        Released events are not counted.
        """
        return self._ended_before(self.count if self._ahead is None else self._reached())
