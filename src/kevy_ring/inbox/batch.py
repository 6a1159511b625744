"""A batch of events, lent to the shard where they lie in the ring."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import TYPE_CHECKING, Any

from kevy_ring._core import ffi, lib
from kevy_ring.errors import ClosedError, CorruptRing
from kevy_ring.events import (
    Frame,
    Kind,
    OwnedApply,
    OwnedChunk,
    OwnedFrame,
    ReplicaApply,
    SnapshotBegin,
    SnapshotChunk,
    SnapshotEnd,
)
from kevy_ring.inbox.argument_views import ArgumentViews

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_MANY = 8  # frames: to iterate so many or more, taking the columns as lists is cheaper than entry by entry
# As plain integers, which compare in a third of the time.
_FRAME, _CHUNK, _BEGIN, _END = map(int, (Kind.FRAME, Kind.SNAPSHOT_CHUNK, Kind.SNAPSHOT_BEGIN, Kind.SNAPSHOT_END))


class BatchFrame(Frame):
    """A frame that lies in a batch. ``argv`` is made when touched, of read-only memoryviews.

    Touching it after the batch was released raises :class:`ClosedError`.
    """

    __slots__ = ("_batch", "_index")

    def __init__(self, offset: int, batch: ArgumentViews, index: int) -> None:
        self.offset = offset
        self._batch = batch
        self._index = index

    @property
    def argv(self) -> list[memoryview]:  # type: ignore[override]
        """The arguments, as read-only memoryviews into the ring."""
        # As ArgumentViews._arguments_of(), without the call: most of what a frame costs in Python is calls.
        batch, i = self._batch, self._index
        if not batch._low <= i < batch._high:
            batch._make(i)
        bounds = batch._bounds
        i -= batch._low
        return batch._decoded[bounds[i] : bounds[i + 1]]


class BatchChunk(SnapshotChunk):
    """A chunk that lies in a batch. ``data`` is made at each touch, as a read-only memoryview.

    So an event that a loop left behind in its variable holds no view. Touching it after the batch was released
    raises :class:`ClosedError`.
    """

    __slots__ = ("_batch", "_index")

    def __init__(self, batch: Batch, index: int) -> None:
        self._batch = batch
        self._index = index

    @property
    def data(self) -> memoryview:  # type: ignore[override]
        """The bytes of the chunk, as a read-only memoryview into the ring."""
        return self._batch.payload(self._index)


class Batch(ArgumentViews):
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

    def payload(self, i: int) -> memoryview:
        """The payload of event ``i``: a chunk's bytes, or a frame's end positions and arguments."""
        if not 0 <= i < self.count:
            raise IndexError("batch index out of range")
        return self._payload(i)

    def argv(self, i: int) -> list[memoryview]:
        """The arguments of frame ``i`` as read-only memoryviews; empty for other events.

        Raises :class:`CorruptRing` when the end positions do not rise, :class:`ClosedError` after the release.
        """
        if not 0 <= i < self.count:
            raise IndexError("batch index out of range")
        return self._arguments_of(i)

    def resp(self) -> list[memoryview]:
        """The frames as RESP commands, ready for ``socket.sendmsg``: one block of memory that may be kept.

        Other events are passed over. One call of the core, no Python object per frame. Raises as :meth:`argv`.
        """
        if not self.count:
            return []
        address, columns = self._address(), self._columns
        assert columns is not None
        size = lib.kr_batch_resp(address, columns.memory, columns.room, self.count, ffi.NULL, 0)
        self._refuse(size)
        wire = bytearray(size)
        self._refuse(lib.kr_batch_resp(address, columns.memory, columns.room, self.count, ffi.from_buffer(wire), size))
        return [memoryview(wire)] if size else []

    def _event(self, i: int) -> ReplicaApply:
        if not self._held:
            raise ClosedError(self._consumer.name, "released")
        columns: Any = self._columns
        kind = columns.place("kinds")[i]
        if kind == _FRAME:
            return BatchFrame(columns.place("offsets")[i], self, i)
        if kind == _CHUNK:
            return BatchChunk(self, i)
        if kind == _BEGIN:
            return SnapshotBegin()
        if kind == _END:
            return SnapshotEnd(columns.place("offsets")[i])
        raise CorruptRing(self._consumer.name, position=self._consumer._out.position, field="a record that is no event")

    def __getitem__(self, i: int) -> ReplicaApply:  # type: ignore[override] # a record of an inbox is an event
        return self._event(i if 0 <= i < self.count else self._index(i))

    def __iter__(self) -> Iterator[ReplicaApply]:  # type: ignore[override]
        ahead = self._unreleased()
        if self.count < _MANY or self._consumer._out.frames != self.count:
            return self._iterate(map(self._event, ahead), ahead)
        first, offsets = self._released, self._column("offsets")
        return self._iterate(map(BatchFrame, offsets[first:] if first else offsets, repeat(self), ahead), ahead)

    def owned(self, i: int) -> OwnedApply:
        """Event ``i`` with memory of its own: it may be kept."""
        event = self._event(i)
        if isinstance(event, Frame):
            return OwnedFrame(event.offset, [bytes(argument) for argument in event.argv])
        if isinstance(event, SnapshotChunk):
            return OwnedChunk(bytes(event.data))
        return event

    def snapshots_ended(self) -> int:
        """How many SnapshotEnd events the iteration has reached, or the batch has when it is not being iterated.

        Those whose space was given back already are not counted.
        """
        if not self._held or self._consumer._out.frames == self.count:
            return 0
        last = self.count if self._ahead is None else self._reached()
        return self._column("kinds")[self._released : last].count(_END)
