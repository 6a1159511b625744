"""A mapped area as it is lent out: as memoryviews, of which one can tell whether any is still alive.

Each loan is one memoryview made from one exporter, and holds one reference to it. Everything made from that view
(slices, numpy arrays, ctypes objects) keeps the reference, so the number of references to the exporter tells
whether a view escaped. The exporter in turn keeps the mapping alive: an escaped view never points at unmapped memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kevy_ring._core import ffi, lib
from kevy_ring.ring.calls import LenderCalls

if TYPE_CHECKING:
    from kevy_ring._core import CData


class Lender(LenderCalls):
    """Lends bytes of a mirrored ``area`` of ``2 * capacity`` bytes, one loan at a time."""

    __slots__ = ("_area", "_bytes", "_strays")

    def __init__(self, area: CData, capacity: int) -> None:
        self._area = area
        self._bytes = 2 * capacity
        self._exporter = ffi.buffer(area, self._bytes)  # referred to from here, and from every view
        self._strays = False  # whether views of an earlier loan may be alive

    def readable(self, index: int, length: int) -> memoryview:
        """The bytes ``[index, index + length)`` as a read-only memoryview. Shape (length,)."""
        return self.writable(index, length).toreadonly()

    def address(self, index: int) -> CData:
        """Where byte ``index`` lies, for the core."""
        return self._area + index

    def disown(self) -> None:
        """End the loan whoever holds views of it. Later loans do not know of those; :meth:`end` does."""
        if self.escaped():
            self._exporter = ffi.buffer(self._area, self._bytes)
            self._strays = True

    @property
    def may_be_written(self) -> bool:
        """Whether a view of any loan may be alive."""
        return self._strays or self.escaped()

    def end(self) -> int:
        """The area is given up: cut off all views that are still alive. Returns as :meth:`cut_off`."""
        if self._strays:
            self._index, self._length = 0, self._bytes
        return self.cut_off() if self.may_be_written else 0

    def cut_off(self) -> int:
        """Give the views of the last loan a private copy of its bytes, for ever; nothing else of the area stays.

        Returns 0, or the core's code when there is no memory for it.
        """
        code: int = lib.kr_area_freeze(self._area, self._index, self._length)
        return code
