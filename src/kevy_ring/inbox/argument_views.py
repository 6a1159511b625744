"""The arguments of a batch's frames as views: found by one call of the core, made for a group of events at a time.

In a batch of few events each is looked at by itself: what the call needs around it costs more than that.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from itertools import accumulate
from typing import Any

from kevy_ring._core import ffi, lib
from kevy_ring.errors import ClosedError, CorruptRing
from kevy_ring.ring.batch import RecordBatch

_allocate = ffi.new_allocator(should_clear_after_alloc=False)
# Views are made in one go for so many events: per view that is half the price of making them event by event, and who
# touches one event only pays for no more than these.
GROUP_EVENTS = 64
_FEW = 4  # events: so many are decoded one by one


@lru_cache(maxsize=64)
def _ends_of(argc: int) -> struct.Struct:
    """The end positions in front of ``argc`` arguments."""
    return struct.Struct(f"<4x{argc}I")


class ArgumentViews(RecordBatch):
    """A batch with read-only views of the arguments of its events.

    Those of events ``_low`` to ``_high - 1`` are there, as ``_decoded``; those of others are made when asked for.
    ``_bounds[i]`` is the number, in ``_decoded``, of the first argument of event ``_low + i``. Once the batch is
    released there are none.
    """

    __slots__ = ("_ends", "_first", "_starts")
    _bounds: list[int]
    _decoded: list[memoryview]
    _starts: list[int]
    _ends: list[int]
    _first: list[int]  # the numbers of the first arguments of all events of the batch

    def _arguments_of(self, i: int) -> list[memoryview]:
        """The arguments of event ``i``. Raises CorruptRing and, after the release, ClosedError."""
        if not self._low <= i < self._high:
            self._make(i)
        i -= self._low
        return self._decoded[self._bounds[i] : self._bounds[i + 1]]

    def _make(self, i: int) -> None:
        if not self._held:
            raise ClosedError(self._consumer.name, "released")
        if self.count <= _FEW:
            self._make_one(i)
            return
        starts = self._starts if hasattr(self, "_starts") else self._find()
        view = self.buffer  # after what may fail: a traceback would keep it alive
        low = i - i % GROUP_EVENTS
        high = min(low + GROUP_EVENTS, self.count)
        base, last = self._first[low], self._first[high]
        views = [view[start:end] for start, end in zip(starts[base:last], self._ends[base:last], strict=True)]
        bounds = [number - base for number in self._first[low : high + 1]]
        # Together, and nothing is called between them: no signal's handler comes in between.
        self._decoded, self._bounds, self._low, self._high = views, bounds, low, high

    def _make_one(self, i: int) -> None:
        columns: Any = self._columns
        argc = columns.place("argcs")[i]
        start, length = columns.place("starts")[i] + 4 * (argc + 1), columns.place("lengths")[i] - 4 * (argc + 1)
        spans, last = [], 0
        if argc:
            if length < 0:
                self._refuse(-1 - i)
            # Another process's claim: read once, and bounded by the length that the columns remember.
            for end in _ends_of(argc).unpack_from(self.buffer, columns.place("starts")[i]):
                if not last <= end <= length:
                    self._refuse(-1 - i)
                spans.append((start + last, start + end))
                last = end
        view = self.buffer  # after what may fail: a traceback would keep it alive
        views = [view[first:end] for first, end in spans]
        self._decoded, self._bounds, self._low, self._high = views, [0, argc], i, i + 1

    def _find(self) -> list[int]:
        """The spans of all arguments of all frames, in bytes of the batch's buffer, by one call."""
        columns = self._columns
        assert columns is not None
        first = list(accumulate(columns.values("argcs", self.count), initial=0))
        total = first[-1]
        spans = _allocate("uint64_t[]", 2 * total or 1)
        code = lib.kr_batch_arguments(
            self._address(), columns.memory, columns.room, self.count, spans, spans + total, total
        )
        if code < 0:
            self._refuse(code)
        found: list[int] = ffi.unpack(spans, 2 * total)
        self._first, self._ends = first, found[total:]
        del found[total:]
        self._starts = found
        return found

    def _address(self) -> Any:
        """Where the batch lies, for the core. The batch is held, and this object keeps it so during the call."""
        return self._lent_by().address(self._consumer._out.index)

    def _refuse(self, answer: int) -> None:
        if answer < 0:
            position = self._consumer._out.position + self._column("starts")[-1 - answer] - 16
            raise CorruptRing(self._consumer.name, position=position % 2**64, field="end position of an argument")
