"""Where every argument of every frame of a batch lies: found by one call of the core, when first asked for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from kevy_ring._core import ffi, lib

if TYPE_CHECKING:
    from kevy_ring.inbox.batch import Batch

_allocate = ffi.new_allocator(should_clear_after_alloc=False)


class ArgumentSpans:
    """Starts and ends of all arguments, in bytes of ``batch.buffer``.

    ``first[i]`` is the number of the first argument of event ``i``; one entry more than there are events.
    """

    __slots__ = ("ends", "first", "starts")

    def __init__(self, batch: Batch) -> None:
        columns = batch._columns
        assert columns is not None
        self.first = list(accumulate(columns.values("argcs", batch.count), initial=0))
        total = self.first[-1]
        spans = _allocate("uint64_t[]", 2 * total or 1)
        ends = spans + total
        batch._refuse(
            lib.kr_batch_arguments(batch._address(), columns.memory, columns.room, batch.count, spans, ends, total)
        )
        self.starts: list[int] = ffi.unpack(spans, total)
        self.ends: list[int] = ffi.unpack(ends, total)

    def of(self, i: int) -> Iterator[tuple[int, int]]:
        """(start, end) of each argument of event ``i``."""
        first, last = self.first[i], self.first[i + 1]
        return zip(self.starts[first:last], self.ends[first:last], strict=True)
