"""A batch: records lent to the consumer, as columns and as views, until they are released."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kevy_ring._core import ffi
from kevy_ring.errors import ClosedError, ViewsEscaped
from kevy_ring.ring.borrow import Borrow

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
_POSITION_MASK = 2**64 - 1  # positions run free and wrap at 64 bits


class Columns:
    """The index of a batch: one entry per record in five arrays, filled by one call of the core.

    ``exposed``: numpy views of it were handed out, so the next batch gets memory of its own.
    """

    __slots__ = ("exposed", "memory", "room")

    def __init__(self, room: int) -> None:
        self.memory: CData = _allocate("char[]", _RECORD_COLUMN_BYTES * room)
        self.room = room
        self.exposed = False

    def values(self, column: str, count: int) -> list[int]:
        """The first ``count`` entries as Python integers."""
        before, c_type, _ = _LAYOUT[column]
        return ffi.unpack(ffi.cast(c_type, self.memory + before * self.room), count)  # type: ignore[no-any-return]

    def array(self, column: str, count: int) -> npt.NDArray[Any]:
        """The first ``count`` entries as a read-only numpy view of shape (count,): the core reads them back."""
        import numpy as np

        self.exposed = True
        before, _, dtype = _LAYOUT[column]
        column_of = np.frombuffer(ffi.buffer(self.memory), dtype, count, before * self.room)
        column_of.setflags(write=False)
        return column_of


class RecordBatch:
    """Records of a ring, read where they lie. ``batch[i]`` is a read-only memoryview of record ``i``.

    A context manager: leaving it releases the whole batch; leaving it by an exception raised at record ``k`` of an
    iteration releases the first ``k``, and record ``k`` is drained again later (raised outside an iteration:
    nothing is released). ``more``: records lie behind this batch.
    """

    __slots__ = (
        "_borrow", "_columns", "_consumer", "_cursor", "_end", "_held", "_iterating", "_left_at", "_lengths",
        "_position", "_released", "_starts", "count", "more",
    )  # fmt: skip

    def __init__(self, consumer: Any, columns: Columns | None, count: int, borrow: Borrow | None, out: Any) -> None:
        self._consumer: Consumer = consumer  # None for a batch of no records, which never asks it
        self._columns = columns
        self._borrow = borrow
        self._position: int = out.position if count else 0
        self._end: int = (self._position + out.span) & _POSITION_MASK if count else 0
        self.more: bool = bool(out.more) if count else False
        self.count = count
        self._released = 0  # records whose space was given back
        self._held = count > 0
        self._cursor = 0
        self._iterating = False
        self._left_at: tuple[int, int] | None = None
        self._starts: list[int] | None = None
        self._lengths: list[int] | None = None

    def __len__(self) -> int:
        return self.count

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
        if self._borrow is None:
            return memoryview(b"")
        if not self._held:
            raise ClosedError(self._consumer.name, "released")
        return self._borrow.view()

    def _payload(self, i: int) -> memoryview:
        starts, lengths = self._starts, self._lengths
        if starts is None or lengths is None:
            starts = self._starts = self._column("starts")
            lengths = self._lengths = self._column("lengths")
        if not self._held:
            raise ClosedError(self._consumer.name, "released")
        start = starts[i]
        return self._borrow.view()[start : start + lengths[i]]  # type: ignore[union-attr]

    def __getitem__(self, i: int) -> Any:
        if not -self.count <= i < self.count:
            raise IndexError("batch index out of range")
        return self._payload(i % self.count)

    def copies(self) -> list[bytes]:
        """The payloads as bytes of their own."""
        if not self.count:
            return []
        copy = bytes(self.buffer)
        ends = zip(self._column("starts"), self._column("lengths"), strict=True)
        return [copy[start : start + length] for start, length in ends]

    def __iter__(self) -> Iterator[Any]:
        return self._iterate(map(self._payload, range(self.count)))

    def _iterate(self, records: Iterator[Any]) -> Iterator[Any]:
        """Yield all records that are not released, and keep where the iteration stands."""
        self._iterating = True
        try:
            for i, record in enumerate(islice(records, self._released, None), self._released):
                self._cursor = i
                yield record
        except GeneratorExit:
            # The loop was left early: by an exception, or by `break`. Where it was left tells which, see __exit__.
            frame = sys._getframe(1)
            self._left_at = (id(frame), frame.f_lasti)
            raise
        self._iterating = False

    def _ended(self) -> None:
        """Nothing of the batch is held any more."""

    def _drop_views(self) -> None:
        """Let go of views that the batch itself keeps for later use."""

    def release(self, upto: int | None = None) -> None:
        """Give the space of the first ``upto`` records (None: all) back to the producer.

        Raises :class:`ViewsEscaped` while any view into the batch is kept: then nothing is released. Releasing
        what is released already does nothing.
        """
        upto = self.count if upto is None else upto
        if not 0 <= upto <= self.count:
            raise ValueError(f"release of {upto} records of a batch of {self.count}")
        if not self._held or (upto <= self._released and upto != self.count):
            return
        borrow = self._borrow
        self._drop_views()
        if borrow is not None and not borrow.end():
            raise ViewsEscaped(self._consumer.name, held=borrow.length)
        self._give_back(upto, done=upto == self.count)
        if self._held and borrow is not None:
            self._borrow = self._consumer._reborrow(borrow)

    def _end_of(self, upto: int) -> int:
        """The position behind the first ``upto`` records."""
        if upto == 0:
            return self._position
        if upto == self.count:
            return self._end
        start, length = self._column("starts")[upto - 1], self._column("lengths")[upto - 1]
        return (self._position + ((start + length + 7) & ~7)) & _POSITION_MASK

    def _give_back(self, upto: int, *, done: bool, drop_rest: bool = False) -> None:
        position, records = self._end_of(upto), upto - self._released
        self._consumer._release(position, records, done=done or drop_rest)
        self._released = upto
        if done or drop_rest:
            self._held = False
            self._ended()

    def _left_inside(self, tb: TracebackType | None) -> bool:
        """Whether the exception came from inside the iteration, not from behind a `break`."""
        if not self._iterating:
            return False
        if self._left_at is None:
            return True
        while tb is not None:
            if (id(tb.tb_frame), tb.tb_lasti) == self._left_at:
                return True
            tb = tb.tb_next
        return False

    def __enter__(self) -> Any:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            self.release()
            return
        if not self._held or self._consumer._closed:
            return
        upto = self._cursor if self._left_inside(tb) else self._released
        # The traceback itself may hold views of the record that failed. They get a private copy, so that the
        # error of the application is the one that is seen and the ring goes on.
        self._drop_views()
        if self._borrow is not None and not self._borrow.end():
            self._consumer._freeze(self._borrow, go_on=True)
        self._give_back(max(upto, self._released), done=False, drop_rest=True)

    def _abandon(self) -> None:
        """The consumer closes: nothing is released, and escaped views keep their bytes."""
        self._drop_views()
        if self._held and self._borrow is not None and not self._borrow.end():
            self._consumer._freeze(self._borrow, go_on=False)
        self._held = False
        self._ended()
