"""The arguments of a batch's frames as views: found by one call of the core, made for a group of events at a time."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from kevy_ring._core import ffi, lib
from kevy_ring.errors import ClosedError

if TYPE_CHECKING:
    from kevy_ring.inbox.batch import Batch

_allocate = ffi.new_allocator(should_clear_after_alloc=False)
# Views are made in one go for so many events: per view that is half the price of making them event by event, and who
# touches one event only pays for no more than these.
GROUP_EVENTS = 64


class ArgumentViews:
    """Read-only views of the arguments of the events ``low`` to ``high - 1``; those of others are made when asked for.

    ``first[i]`` is the number of the first argument of event ``i``, ``base`` that of the first of ``views``.
    """

    __slots__ = ("_batch", "_ends", "_name", "_starts", "base", "first", "high", "low", "views")

    def __init__(self, batch: Batch) -> None:
        self._batch: Batch | None = batch
        self._name = batch._consumer.name
        self._starts: list[int] | None = None
        self._ends: list[int] = []
        self.first: list[int] = []
        self.low = self.high = self.base = 0
        self.views: list[memoryview] = []

    def of(self, i: int) -> list[memoryview]:
        """The arguments of event ``i``. Raises CorruptRing and, after the release, ClosedError."""
        if not self.low <= i < self.high:
            self._make(i)
        first, base = self.first, self.base
        return self.views[first[i] - base : first[i + 1] - base]

    def _make(self, i: int) -> None:
        batch = self._batch
        if batch is None:
            raise ClosedError(self._name, "released")
        starts = self._starts if self._starts is not None else self._find(batch)
        view = batch.buffer  # after what may fail: a traceback would keep it alive
        low = i - i % GROUP_EVENTS
        high = min(low + GROUP_EVENTS, batch.count)
        base, last = self.first[low], self.first[high]
        self.views = list(map(view.__getitem__, map(slice, starts[base:last], self._ends[base:last])))
        self.low, self.high, self.base = low, high, base

    def _find(self, batch: Batch) -> list[int]:
        """The spans of all arguments of all frames, in bytes of the batch's buffer, by one call."""
        columns = batch._columns
        assert columns is not None
        self.first = list(accumulate(columns.values("argcs", batch.count), initial=0))
        total = self.first[-1]
        spans = _allocate("uint64_t[]", 2 * total or 1)
        ends = spans + total
        batch._refuse(
            lib.kr_batch_arguments(batch._address(), columns.memory, columns.room, batch.count, spans, ends, total)
        )
        starts: list[int] = ffi.unpack(spans, total)
        self._starts = starts
        self._ends = ffi.unpack(ends, total)
        return starts

    def drop(self) -> None:
        """Let go of all views."""
        self.low = self.high = 0
        self.views = []

    def end(self) -> None:
        """The batch is released: whatever is touched from now on raises ClosedError."""
        self.drop()
        self._batch = None
