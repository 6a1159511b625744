"""A batch: records that the consumer reads in place, as columns and as views, until it releases them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from operator import length_hint
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kevy_ring._calls import BatchCalls
from kevy_ring._core import ffi, lib
from kevy_ring.errors import ClosedError, CorruptRing
from kevy_ring.ring.loop_exit import is_left_by_itself
from kevy_ring.ring.record import RECORD_HEADER

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


# For each column: the bytes per record of the columns before it, and its type.
_COLUMNS = {
    "offsets": (0, "<u8"),
    "starts": (8, "<u8"),
    "lengths": (16, "<u4"),
    "argcs": (20, "<u4"),
    "kinds": (24, "<u1"),
}
_BINARY_MAX_BYTES = (1 << 31) - 1  # the offsets of Arrow's binary are signed 32-bit integers


class RecordBatch(BatchCalls):
    """Records of a ring, read in place. ``batch[i]`` is a read-only memoryview of record ``i``.

    The batch is a context manager. At the normal end of the ``with`` it releases all its records. If an exception
    leaves the ``with`` at record ``k`` of an iteration, it releases the first ``k`` records, and record ``k`` is
    drained again. After an exception outside an iteration it releases nothing. ``more``: there are records behind this
    batch.

    If the last reference to an open batch is dropped, nothing is released and its records are drained again. Views of
    it that are alive keep their bytes.
    """

    __slots__ = ()

    def _array(self, name: str) -> npt.NDArray[Any]:
        """A column as a read-only numpy array of shape (len(batch),). Raises ClosedError after the release."""
        import numpy as np

        before, dtype = _COLUMNS[name]
        if self._columns is None:
            return np.empty(0, dtype)
        if not self._held and not self._frozen:
            raise ClosedError(self._consumer.name, "released")
        return np.frombuffer(memoryview(self._columns), dtype, self.count, before * self._columns.room)

    @property
    def starts(self) -> npt.NDArray[np.uint64]:
        """The byte in :attr:`buffer` at which each payload starts; uint64, shape (len(batch),)."""
        return self._array("starts")

    @property
    def lengths(self) -> npt.NDArray[np.uint32]:
        """The payload bytes of each record; uint32, shape (len(batch),)."""
        return self._array("lengths")

    def as_array(self, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Records of equal length as one array of ``dtype``, in the ring and without a copy.

        Returns a read-only array. Its shape is (len(batch),), followed by the shape of ``dtype`` if it is a sub-array
        such as ``("<f4", 3)``. The array is a view: drop it before the release, or copy it.

        Raises ``ValueError`` if a record has another length than ``dtype``, ``TypeError`` for a ``dtype`` with Python
        objects, and :class:`ClosedError` after the release.

            with consumer.drain(100_000) as batch:
                total = batch.as_array([("key", "<u8"), ("price", "<f8")])["price"].sum()
        """
        import numpy as np

        kind = np.dtype(dtype)
        if kind.hasobject:
            raise TypeError(f"{kind} has Python objects: bytes of another process cannot be pointers of this one")
        lengths, records = self.lengths, self.buffer
        if not (lengths == kind.itemsize).all():
            odd = int((lengths != kind.itemsize).argmax())
            raise ValueError(
                f"ring {self._consumer.name!r}: record {odd} of the batch has {lengths[odd]} bytes, and {kind} has "
                f"{kind.itemsize}"
            )
        if not self.count or not kind.itemsize:
            return np.empty(self.count, kind)
        first = int(self.starts[0])
        step = int(self.starts[1]) - first if self.count > 1 else kind.itemsize
        # As the only field of a structure, a sub-array adds its shape by itself.
        table: npt.NDArray[Any] = np.ndarray(self.count, np.dtype([("", kind)]), records, first, (step,))
        return table["f0"]

    def __arrow_array__(self, type: Any = None) -> Any:
        """For ``pyarrow.array(batch)``: one compact copy, of type binary (large_binary from 2 GiB on).

        The batch can be released at once. (``pyarrow.array(list(batch))`` copies the records too, but pyarrow keeps the
        views in the list alive, so the release fails.)
        """
        return as_type(binary_array(self, lib.kr_batch_join, self.count), type)

    @property
    def ring_name(self) -> str:
        """The name of the ring that the records are in; empty for a batch of no records."""
        return self._consumer.name if self._consumer is not None else ""

    def __repr__(self) -> str:
        if self._consumer is None:
            return f"<{type(self).__name__} of no records>"
        state = "frozen" if self._frozen else f"{self._released} released, open" if self._held else "released"
        return f"<{type(self).__name__} of ring {self._consumer.name!r}, {self.count} records: {state}>"

    if TYPE_CHECKING:

        def __getitem__(self, i: int) -> memoryview: ...

    def __iter__(self) -> Iterator[memoryview]:
        ahead = self._unreleased()
        return self._iterate(map(self._at, ahead), ahead)

    def _unreleased(self) -> Iterator[int]:
        """The indexes of the records that are not released."""
        if self.count and not self._held and not self._frozen:
            raise ClosedError(self._consumer.name, "released")
        return iter(range(self._released, self.count))

    def _iterate(self, records: Iterator[Any], ahead: Iterator[int]) -> Iterator[Any]:
        """Yield ``records``, which are made from the indexes in ``ahead``: what is left there shows the progress."""
        self._ahead, self._left_at = ahead, None
        try:
            yield from records
        except GeneratorExit:
            # An exception or a `break` ended the loop. _left_inside() tells them apart by this instruction.
            frame = sys._getframe(1)
            self._left_at = (id(frame), frame.f_lasti, is_left_by_itself(frame))
            raise
        self._ahead = None

    def _reached(self) -> int:
        """How many records the iteration has reached."""
        return self.count - length_hint(self._ahead)

    def _left_inside(self, tb: TracebackType | None) -> bool:
        """Whether the exception was raised inside the iteration, and not after a `break`."""
        if self._ahead is None:
            return False
        if self._left_at is None:
            return True
        left_at = self._left_at[:2]
        while tb is not None:
            if (id(tb.tb_frame), tb.tb_lasti) == left_at:
                return True
            tb = tb.tb_next
        return False

    def _finished(self, tb: TracebackType | None) -> int:
        """How many records to release when an exception leaves the ``with``."""
        return self._reached() - 1 if self._left_inside(tb) else self._released

    def _leave_loop(self, *, by_itself: bool) -> None:
        """End the batch of an `async for` that was left, without a traceback. ``by_itself``: by `break` or `return`."""
        if by_itself:
            self._end_at(self.count)
        else:
            inside = self._ahead is not None and (self._left_at is None or not self._left_at[2])
            self._end_at(self._reached() - 1 if inside else self._released)


def core_arguments(batch: RecordBatch) -> tuple[Any, Any, int, int]:
    """The first arguments of the core's functions on batches: records, columns, their room, and the count."""
    columns = batch._columns
    assert columns is not None  # only a batch of no records has none
    return ffi.from_buffer(batch.buffer), ffi.from_buffer(columns), columns.room, batch.count


def checked(batch: RecordBatch, answer: int, field: str = "end position of an argument") -> int:
    """``answer`` of one of these functions. Raises :class:`CorruptRing` if it names a record, as -1 - its index."""
    if answer < 0:
        position = batch._position + int(batch.starts[-1 - answer]) - RECORD_HEADER.size
        raise CorruptRing(batch._consumer.name, position=position, field=field)
    return answer


def binary_array(batch: RecordBatch, copy: Callable[..., int], items: int) -> Any:
    """The items of a batch as a pyarrow array of binary, or of large_binary from 2 GiB on.

    ``copy``: the function of the core that copies them; ``items``: how many it will find. Raises
    :class:`CorruptRing`, and :class:`ClosedError` after the release.
    """
    import numpy as np
    import pyarrow as pa

    data = np.empty(int(batch.lengths.sum()), np.uint8)
    bounds = np.zeros(items + 1, np.uint64)
    if items:
        ends = ffi.from_buffer("uint64_t[]", bounds[1:])
        data = data[: checked(batch, copy(*core_arguments(batch), ffi.from_buffer(data), ends))]
    is_large = data.size > _BINARY_MAX_BYTES
    offsets = bounds.astype(np.int64 if is_large else np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_binary() if is_large else pa.binary(), items, buffers)


def as_type(array: Any, asked: Any) -> Any:
    """``array`` in the type that the caller of ``pyarrow.array`` asked for; None: as it is."""
    return array if asked is None or array.type == asked else array.cast(asked)
