"""A batch: records lent to the consumer, as columns and as views, until they are released."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from operator import length_hint
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kevy_ring._core import ffi
from kevy_ring.errors import ClosedError, ViewsEscaped
from kevy_ring.ring.calls import BatchCalls, ColumnsCalls, address_of
from kevy_ring.ring.loop_exit import is_left_by_itself

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from kevy_ring._core import CData
    from kevy_ring.ring.consumer import Consumer

_allocate = ffi.new_allocator(should_clear_after_alloc=False)
# Column: bytes of all earlier columns for one record, type in C, type in numpy.
_LAYOUT = {
    "offsets": (0, "uint64_t *", "<u8"),
    "starts": (8, "uint64_t *", "<u8"),
    "lengths": (16, "uint32_t *", "<u4"),
    "argcs": (20, "uint32_t *", "<u4"),
    "kinds": (24, "uint8_t *", "<u1"),
}
_RECORD_COLUMN_BYTES = 25
_unpack = ffi.unpack  # called for every batch: the look-up costs


class Columns(ColumnsCalls):
    """The index of a batch: one entry per record in five arrays, filled by one call of the core.

    The memory stays from drain to drain. ``room``: the entries of each array. ``asked``: how many the caller wanted.
    ``exposed``: numpy views of the memory were handed out, so the next batch gets memory of its own.
    """

    __slots__ = ("_places", "memory")

    def __init__(self, room: int, asked: int = 0) -> None:
        self.memory: CData = _allocate("char[]", _RECORD_COLUMN_BYTES * room)
        self._address = address_of(self.memory)
        self.exposed = False
        self.room = room
        self.asked = min(asked, 2**64 - 1)
        self._places: dict[str, CData] = {}

    def place(self, column: str) -> CData:
        """Where the entries of a column lie, for the core and to be read one by one: nobody checks their number."""
        place = self._places.get(column)
        if place is None:
            before, c_type, _ = _LAYOUT[column]
            place = self._places[column] = ffi.cast(c_type, self.memory + before * self.room)
        return place

    def values(self, column: str, count: int) -> list[int]:
        """The first ``count`` entries as Python integers."""
        return _unpack(self.place(column), count)  # type: ignore[no-any-return]

    def array(self, column: str, count: int) -> npt.NDArray[Any]:
        """The first ``count`` entries as a read-only numpy view of shape (count,): the core reads them back."""
        import numpy as np

        self.exposed = True
        before, _, dtype = _LAYOUT[column]
        column_of = np.frombuffer(ffi.buffer(self.memory), dtype, count, before * self.room)
        column_of.setflags(write=False)
        return column_of


class RecordBatch(BatchCalls):
    """Records of a ring, read where they lie. ``batch[i]`` is a read-only memoryview of record ``i``.

    A context manager: leaving it releases the whole batch; leaving it by an exception raised at record ``k`` of an
    iteration releases the first ``k``, and record ``k`` is drained again later (raised outside an iteration:
    nothing is released). ``more``: records lie behind this batch.

    A batch that is dropped while it is open ends with nothing released: its records are drained again. Views of it
    that are still alive keep their bytes.
    """

    __slots__ = ()
    _views_escaped = ViewsEscaped
    _consumer: Consumer  # None for a batch of no records, which never asks it
    _columns: Columns | None
    _lender: Any  # None: the consumer's, once it is needed
    _root: memoryview | None  # all views come from it: there are none while it is not there
    _released: int  # records whose space was given back
    _ahead: Any  # the numbers of the records that an iteration has not reached, as an iterator
    _left_at: tuple[int, int, bool] | None  # frame, instruction, whether by `break` or `return`
    _low: int
    _high: int

    def __init__(self) -> None:
        """Of no records. All others are made by the core, in the same step as the drain."""
        self._consumer = self._columns = None  # type: ignore[assignment] # which a batch of no records never asks
        self._low = self._high = 0

    def _column(self, name: str) -> list[int]:
        if self._columns is None:
            return []
        if not self._held:
            raise ClosedError(self._consumer.name, "released")
        return self._columns.values(name, self.count)

    def _array(self, name: str) -> npt.NDArray[Any]:
        import numpy as np

        if self._columns is None:
            return np.empty(0, _LAYOUT[name][2])
        if not self._held:
            raise ClosedError(self._consumer.name, "released")
        return self._columns.array(name, self.count)

    @property
    def starts(self) -> npt.NDArray[np.uint64]:
        """Where each payload starts in :attr:`buffer`, in bytes; uint64, shape (len(batch),)."""
        return self._array("starts")

    @property
    def lengths(self) -> npt.NDArray[np.uint32]:
        """The payload bytes of each record; uint32, shape (len(batch),)."""
        return self._array("lengths")

    @property
    def buffer(self) -> memoryview:
        """All records of the batch with their headers and padding, as one read-only memoryview."""
        if self._columns is None:
            return memoryview(b"")
        return self._root or self._view()

    def _view(self) -> memoryview:
        """The loan as one view: made when it is first asked for."""
        lender = self._lender or self._lent_by()
        out = self._consumer._out  # of this batch, as long as it is held
        self._lent = True
        root: memoryview = lender.readable(out.index, out.span)
        self._root = root
        return root

    def _lent_by(self) -> Any:
        if not self._held:
            raise ClosedError(self._consumer.name, "released")
        lender = self._lender
        if lender is None:
            lender = self._lender = self._consumer._lend()
        return lender

    def _index(self, i: int) -> int:
        """The number of a record from 0 on, of one that may be counted from the end."""
        if not -self.count <= i < self.count:
            raise IndexError("batch index out of range")
        return i % self.count

    def copies(self) -> list[bytes]:
        """The payloads as bytes of their own."""
        if not self.count:
            return []
        copy = bytes(self.buffer)
        ends = zip(self._column("starts"), self._column("lengths"), strict=True)
        return [copy[start : start + length] for start, length in ends]

    def __repr__(self) -> str:
        if self._consumer is None:
            return f"<{type(self).__name__} of no records>"
        state = f"{self._released} released, open" if self._held else "released"
        return f"<{type(self).__name__} of ring {self._consumer.name!r}, {self.count} records: {state}>"

    if TYPE_CHECKING:

        def __getitem__(self, i: int) -> memoryview: ...

    def __iter__(self) -> Iterator[memoryview]:
        ahead = self._unreleased()
        return self._iterate(map(self._payload, ahead), ahead)

    def _unreleased(self) -> Iterator[int]:
        """The numbers of the records whose space was not given back."""
        if self.count and not self._held:
            raise ClosedError(self._consumer.name, "released")
        return iter(range(self._released, self.count))

    def _iterate(self, records: Iterator[Any], ahead: Iterator[int]) -> Iterator[Any]:
        """Yield ``records``, which are made of the numbers in ``ahead``: those tell where the iteration stands."""
        self._ahead, self._left_at = ahead, None
        try:
            yield from records
        except GeneratorExit:
            # The loop was left early: by an exception, or by `break`. Where it was left tells which, see __exit__.
            frame = sys._getframe(1)
            self._left_at = (id(frame), frame.f_lasti, is_left_by_itself(frame))
            raise
        self._ahead = None

    def _reached(self) -> int:
        """The records up to and with the one that the iteration stands at."""
        return self.count - length_hint(self._ahead)

    def _release(self, upto: int | None = None) -> None:
        """``release`` of a part."""
        self._release_first(self.count if upto is None else upto)

    def _escaped(self) -> None:
        raise ViewsEscaped(self._consumer.name, held=self._consumer._out.span)

    def _closed(self) -> None:
        raise ClosedError(self._consumer.name)

    def _left_inside(self, tb: TracebackType | None) -> bool:
        """Whether the exception came from inside the iteration, not from behind a `break`."""
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
        """The records that are done with, when the ``with`` is left by an exception."""
        return self._reached() - 1 if self._left_inside(tb) else self._released

    def _leave_loop(self, *, by_itself: bool) -> None:
        """The end of a batch whose loop was left, where there is no traceback to be had."""
        if by_itself:
            self._end_at(self.count)
        else:
            inside = self._ahead is not None and (self._left_at is None or not self._left_at[2])
            self._end_at(self._reached() - 1 if inside else self._released)
