"""A batch of events that the shard reads in place, in the ring."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kevy_ring._calls import EventBatchCalls, know_events
from kevy_ring._core import ffi, lib
from kevy_ring.events import Frame, Kind, ReplicaApply, SnapshotBegin, SnapshotChunk, SnapshotEnd
from kevy_ring.ring.batch import RecordBatch, as_type, binary_array, checked, core_arguments

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

    def arguments(self, k: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32]]:
        """Where argument ``k`` of each frame starts in :attr:`buffer`, and its length in bytes, as two columns.

        Both have the shape (len(batch),): uint64 and uint32. Argument 0 is the name of the command; a negative ``k``
        counts from the last argument. Both are 0 for an event without that argument, where no argument can start. The
        columns are copies, so they may be kept, but the starts mean nothing after the release.

        Raises :class:`CorruptRing` if the end positions in the ring are wrong, and :class:`ClosedError` after the
        release.

            starts, lengths = batch.arguments(1)
            first_bytes = np.frombuffer(batch.buffer, np.uint8)[starts]  # of each key
        """
        import numpy as np

        starts, lengths = np.zeros(self.count, np.uint64), np.zeros(self.count, np.uint32)
        if self.count:
            into = ffi.from_buffer("uint64_t[]", starts), ffi.from_buffer("uint32_t[]", lengths)
            at = max(-(1 << 63), min(k, (1 << 63) - 1))
            checked(self, lib.kr_batch_argument(*core_arguments(self), at, *into))
        return starts, lengths

    def as_array(self, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Raises ``TypeError`` for every ``dtype``: events have no common layout. For frames see :meth:`arguments`."""
        raise TypeError("events have no common layout for an array; arguments(k) has the k-th argument of each frame")

    def __arrow_array__(self, type: Any = None) -> Any:
        """For ``pyarrow.array(batch)``: one compact copy of all events.

        Its type is struct<kind: uint8, offset: uint64, argv: list<binary>, data: binary>. ``argv`` is null for all
        events but frames, ``data`` for all but chunks. (The lists are large from 2 GiB on.) The batch can be released
        at once. Raises :class:`CorruptRing` if the end positions in the ring are wrong.
        """
        return as_type(_event_array(self), type)

    if TYPE_CHECKING:  # a record of an inbox is an event

        def __getitem__(self, i: int, /) -> ReplicaApply: ...  # type: ignore[override]
        def __iter__(self) -> Iterator[ReplicaApply]: ...  # type: ignore[override]

    def snapshots_ended(self) -> int:
        """How many SnapshotEnd events the iteration has reached; without an iteration, how many the batch has.

        Released events are not counted.
        """
        return self._ended_before(self.count if self._ahead is None else self._reached())


def _event_array(batch: Batch) -> Any:
    """The events as a pyarrow array; see :meth:`Batch.__arrow_array__`."""
    import numpy as np
    import pyarrow as pa

    kinds = batch.kinds
    strange = (kinds < Kind.SNAPSHOT_BEGIN) | (kinds > Kind.FRAME)
    if strange.any():
        checked(batch, -1 - int(strange.argmax()), "a record that is no event")
    is_frame, is_chunk = kinds == Kind.FRAME, kinds == Kind.SNAPSHOT_CHUNK
    # The items of an event: the arguments of a frame, the bytes of a chunk.
    items_of = np.where(is_frame, batch.argcs, is_chunk).astype(np.int64)
    bounds = np.concatenate([[0], np.cumsum(items_of)])
    items = binary_array(batch, lib.kr_batch_pack, int(bounds[-1]))
    is_large = items.type == pa.large_binary() or len(items) >= 1 << 31
    lists = pa.LargeListArray if is_large else pa.ListArray
    offsets = pa.array(bounds, pa.int64() if is_large else pa.int32())
    argv = lists.from_arrays(offsets, items, mask=pa.array(~is_frame))
    data = items.take(pa.array(bounds[:-1], mask=~is_chunk))
    fields = {"kind": pa.array(kinds), "offset": pa.array(batch.offsets), "argv": argv, "data": data}
    return pa.StructArray.from_arrays(list(fields.values()), list(fields))
