"""Space for one record of a ring, lent to be written in place."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from kevy_ring._core import lib
from kevy_ring.errors import ClosedError, ViewsEscaped

if TYPE_CHECKING:
    from kevy_ring.ring.lender import Lender
    from kevy_ring.ring.producer import Producer

_NO_VIEW = memoryview(b"")
_commit = lib.kr_producer_commit


class Grant:
    """Writable space in the ring for one record. ``view`` is a writable memoryview of the bytes asked for."""

    __slots__ = ("_index", "_lender", "_length", "_open", "_producer", "view")

    def __init__(self, producer: Producer, lender: Lender, index: int, length: int) -> None:
        self._producer = producer
        self._lender = lender
        self._index = index
        self._length = length
        self._open = True
        self.view = lender.writable(index, length)

    def commit(self, length: int) -> None:
        """Make a record of the first ``length`` bytes. It is seen at the next publish.

        Raises ``ValueError`` for a length beyond the grant, :class:`ViewsEscaped` while views of it are kept, and
        :class:`ClosedError` when the grant was committed or aborted before, or its producer was closed.
        """
        producer = self._producer
        handle = producer._handle
        if not self._open:
            raise ClosedError(producer.name, "released")
        if handle is None:
            raise ClosedError(producer.name)
        if not 0 <= length <= self._length:
            raise ValueError(f"commit of {length} bytes into a grant of {self._length}")
        self._let_go()
        code = _commit(handle, length)
        if code < 0:
            raise producer._fault(code)

    def abort(self) -> None:
        """Give the space back unwritten."""
        if self._open:
            self._let_go()
            self._give_back()

    def _let_go(self) -> None:
        self.view = _NO_VIEW
        lender = self._lender
        if lender.escaped():
            self.view = lender.writable(self._index, self._length)
            raise ViewsEscaped(self._producer.name, held=self._length)
        self._open = False

    def _give_back(self) -> None:
        handle = self._producer._handle
        if handle is not None:
            lib.kr_producer_abort(handle)

    def __enter__(self) -> Grant:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            self.abort()
        elif self._open:
            self._open = False
            self.view = _NO_VIEW
            self._lender.disown()  # the traceback may hold a view, and the error is the application's own
            self._give_back()
