"""A batch of events, lent to the shard where they lie in the ring."""

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
    """A frame that lies in a batch. ``argv`` is made when touched, of read-only memoryviews.

    Touching it after the batch was released raises :class:`ClosedError`.
    """

    __slots__ = ("_batch", "_index")
    _batch: Batch
    _index: int

    @property
    def argv(self) -> list[memoryview]:  # type: ignore[override]
        """The arguments, as read-only memoryviews into the ring."""
        return self._batch.argv(self._index)


class BatchChunk(SnapshotChunk):
    """A chunk that lies in a batch. ``data`` is made at each touch, as a read-only memoryview.

    So an event that a loop left behind in its variable holds no view. Touching it after the batch was released
    raises :class:`ClosedError`.
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
    """Events of one drain: iterate it, or take the columns and the payloads by number.

    ``kinds`` (uint8), ``offsets`` (uint64), ``starts`` (uint64), ``lengths`` (uint32) and ``argcs`` (uint32) are
    numpy arrays of shape (len(batch),), one entry per event. Offsets are those of frames and snapshot ends, else 0.
    """

    __slots__ = ()

    @property
    def kinds(self) -> npt.NDArray[np.uint8]:
        """The :class:`Kind` of each event."""
        return self._array("kinds")

    @property
    def offsets(self) -> npt.NDArray[np.uint64]:
        """The offset of each event."""
        return self._array("offsets")

    @property
    def argcs(self) -> npt.NDArray[np.uint32]:
        """The number of arguments of each frame, 0 for other events."""
        return self._array("argcs")

    if TYPE_CHECKING:  # a record of an inbox is an event

        def __getitem__(self, i: int, /) -> ReplicaApply: ...  # type: ignore[override]
        def __iter__(self) -> Iterator[ReplicaApply]: ...  # type: ignore[override]

    def snapshots_ended(self) -> int:
        """How many SnapshotEnd events the iteration has reached, or the batch has when it is not being iterated.

        Those whose space was given back already are not counted.
        """
        return self._ended_before(self.count if self._ahead is None else self._reached())
