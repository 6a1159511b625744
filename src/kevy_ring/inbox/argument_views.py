"""The arguments of a batch's frames as views: found by one call of the core, made for a group of events at a time.

In a batch of few events each is looked at by itself: what the call needs around it costs more than that.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from kevy_ring._core import ffi, lib
from kevy_ring.errors import ClosedError

if TYPE_CHECKING:
    from kevy_ring.inbox.batch import Batch

_allocate = ffi.new_allocator(should_clear_after_alloc=False)
# Views are made in one go for so many events: per view that is half the price of making them event by event, and who
# touches one event only pays for no more than these.
GROUP_EVENTS = 64
_FEW = 4  # events: so many are decoded one by one


@lru_cache(maxsize=64)
def _ends_of(argc: int) -> struct.Struct:
    """The end positions in front of ``argc`` arguments."""
    return struct.Struct(f"<4x{argc}I")


class ArgumentViews:
    """Read-only views of the arguments of the events ``low`` to ``high - 1``; those of others are made when asked for.

    ``bounds[i]`` is the number, in ``views``, of the first argument of event ``low + i``.
    """

    __slots__ = ("_batch", "_ends", "_first", "_name", "_starts", "bounds", "high", "low", "views")

    def __init__(self, batch: Batch) -> None:
        self._batch: Batch | None = batch
        self._name = batch._consumer.name
        self._starts: list[int] | None = None
        self._ends: list[int] = []
        self._first: list[int] = []  # the numbers of the first arguments of all events of the batch
        self.low = self.high = 0
        self.bounds: list[int] = []
        self.views: list[memoryview] = []

    def of(self, i: int) -> list[memoryview]:
        """The arguments of event ``i``. Raises CorruptRing and, after the release, ClosedError."""
        if not self.low <= i < self.high:
            self._make(i)
        i -= self.low
        return self.views[self.bounds[i] : self.bounds[i + 1]]

    def _make(self, i: int) -> None:
        batch = self._batch
        if batch is None:
            raise ClosedError(self._name, "released")
        if batch.count <= _FEW:
            self._make_one(batch, i)
            return
        starts = self._starts if self._starts is not None else self._find(batch)
        view = batch.buffer  # after what may fail: a traceback would keep it alive
        low = i - i % GROUP_EVENTS
        high = min(low + GROUP_EVENTS, batch.count)
        base, last = self._first[low], self._first[high]
        self.views = [view[start:end] for start, end in zip(starts[base:last], self._ends[base:last], strict=True)]
        self.bounds = [number - base for number in self._first[low : high + 1]]
        self.low, self.high = low, high

    def _make_one(self, batch: Batch, i: int) -> None:
        columns: Any = batch._columns
        argc = columns.place("argcs")[i]
        start, length = columns.place("starts")[i] + 4 * (argc + 1), columns.place("lengths")[i] - 4 * (argc + 1)
        spans, last = [], 0
        if argc:
            if length < 0:
                batch._refuse(-1 - i)
            # Another process's claim: read once, and bounded by the length that the columns remember.
            for end in _ends_of(argc).unpack_from(batch.buffer, columns.place("starts")[i]):
                if not last <= end <= length:
                    batch._refuse(-1 - i)
                spans.append((start + last, start + end))
                last = end
        view = batch.buffer  # after what may fail: a traceback would keep it alive
        self.views = [view[first:end] for first, end in spans]
        self.bounds = [0, argc]
        self.low, self.high = i, i + 1

    def _find(self, batch: Batch) -> list[int]:
        """The spans of all arguments of all frames, in bytes of the batch's buffer, by one call."""
        columns = batch._columns
        assert columns is not None
        self._first = list(accumulate(columns.values("argcs", batch.count), initial=0))
        total = self._first[-1]
        spans = _allocate("uint64_t[]", 2 * total or 1)
        code = lib.kr_batch_arguments(
            batch._address(), columns.memory, columns.room, batch.count, spans, spans + total, total
        )
        if code < 0:
            batch._refuse(code)
        found: list[int] = ffi.unpack(spans, 2 * total)
        self._ends = found[total:]
        del found[total:]
        self._starts = found
        return found

    def drop(self) -> None:
        """Let go of all views."""
        self.low = self.high = 0
        self.views = []

    def end(self) -> None:
        """The batch is released: whatever is touched from now on raises ClosedError."""
        self.drop()
        self._batch = None
