"""A batch: records that the consumer reads in place, as columns and as views, until it releases them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from operator import length_hint
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kevy_ring._calls import BatchCalls
from kevy_ring.errors import ClosedError
from kevy_ring.ring.loop_exit import is_left_by_itself

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
        if not self._held:
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

    @property
    def ring_name(self) -> str:
        """The name of the ring that the records are in; empty for a batch of no records."""
        return self._consumer.name if self._consumer is not None else ""

    def __repr__(self) -> str:
        if self._consumer is None:
            return f"<{type(self).__name__} of no records>"
        state = f"{self._released} released, open" if self._held else "released"
        return f"<{type(self).__name__} of ring {self._consumer.name!r}, {self.count} records: {state}>"

    if TYPE_CHECKING:

        def __getitem__(self, i: int) -> memoryview: ...

    def __iter__(self) -> Iterator[memoryview]:
        ahead = self._unreleased()
        return self._iterate(map(self._at, ahead), ahead)

    def _unreleased(self) -> Iterator[int]:
        """The indexes of the records that are not released."""
        if self.count and not self._held:
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
