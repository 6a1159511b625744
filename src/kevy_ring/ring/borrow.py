"""A loan of ring memory with a visible end: who holds a view of it is found out when it ends.

Every memoryview made from the loan, and everything made from those (slices, numpy arrays), keeps one exporter
object alive. A weak reference to it therefore tells whether any view escaped. The exporter in turn keeps the
mapping alive, so an escaped view never points at unmapped memory.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from kevy_ring._core import ffi

if TYPE_CHECKING:
    from kevy_ring._core import CData


class Borrow:
    """Bytes ``[index, index + length)`` of a mirrored ``area`` of ``2 * capacity`` bytes, lent out as memoryviews."""

    __slots__ = ("_exporter", "_root", "_watch", "index", "length", "writable")

    def __init__(self, area: CData, capacity: int, index: int, length: int, *, writable: bool = False) -> None:
        exporter = ffi.buffer(area, 2 * capacity)
        self._exporter: Any = exporter
        self._watch = weakref.ref(exporter)
        self._root: memoryview | None = None
        self.index = index
        self.length = length
        self.writable = writable

    @property
    def ended(self) -> bool:
        """Whether the loan is over."""
        return self._exporter is None

    def view(self) -> memoryview:
        """The whole loan as one memoryview of bytes."""
        root = self._root
        if root is None:
            root = memoryview(self._exporter)[self.index : self.index + self.length]
            self._root = root = root if self.writable else root.toreadonly()
        return root

    def end(self) -> bool:
        """End the loan. False: views are still alive, and the loan goes on."""
        self._root = self._exporter = None
        self._exporter = self._watch()
        return self._exporter is None
