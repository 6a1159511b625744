"""A batch: records lent to the consumer, as columns and as views, until they are released."""

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


# Column: bytes of all earlier columns for one record, and its type.
_COLUMNS = {
    "offsets": (0, "<u8"),
    "starts": (8, "<u8"),
    "lengths": (16, "<u4"),
    "argcs": (20, "<u4"),
    "kinds": (24, "<u1"),
}


class RecordBatch(BatchCalls):
    """Records of a ring, read where they lie. ``batch[i]`` is a read-only memoryview of record ``i``.

    A context manager: leaving it releases the whole batch; leaving it by an exception raised at record ``k`` of an
    iteration releases the first ``k``, and record ``k`` is drained again later (raised outside an iteration:
    nothing is released). ``more``: records lie behind this batch.

    A batch that is dropped while it is open ends with nothing released: its records are drained again. Views of it
    that are still alive keep their bytes.
    """

    __slots__ = ()

    def _array(self, name: str) -> npt.NDArray[Any]:
        """A column as a read-only numpy view of shape (len(batch),)."""
        import numpy as np

        before, dtype = _COLUMNS[name]
        if self._columns is None:
            return np.empty(0, dtype)
        if not self._held:
            raise ClosedError(self._consumer.name, "released")
        return np.frombuffer(memoryview(self._columns), dtype, self.count, before * self._columns.room)

    @property
    def starts(self) -> npt.NDArray[np.uint64]:
        """Where each payload starts in :attr:`buffer`, in bytes; uint64, shape (len(batch),)."""
        return self._array("starts")

    @property
    def lengths(self) -> npt.NDArray[np.uint32]:
        """The payload bytes of each record; uint32, shape (len(batch),)."""
        return self._array("lengths")

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
