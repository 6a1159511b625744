"""Space for one record of a ring, lent to be written in place: the long way of its methods."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from kevy_ring.errors import ClosedError, ViewsEscaped
from kevy_ring.ring.calls import GrantCalls

if TYPE_CHECKING:
    from kevy_ring.ring.producer import Producer

_NO_VIEW = memoryview(b"")


class Grant(GrantCalls):
    """Writable space in the ring for one record. ``view`` is a writable memoryview of the bytes asked for."""

    __slots__ = ()
    _owner: Producer
    _lender: Any

    def __init__(self, producer: Producer, lender: Any) -> None:
        self._owner = producer
        self._lender = lender
        self.view = _NO_VIEW

    def _commit(self, length: int) -> None:
        """``commit`` of what cannot be committed, and of what is large."""
        producer = self._owner
        handle = producer._handle
        if not self._open:
            raise ClosedError(producer.name, "released")
        if handle is None:
            raise ClosedError(producer.name)
        if not 0 <= length <= self._length:
            raise ValueError(f"commit of {length} bytes into a grant of {self._length}")
        self._let_go()
        self._committed(self._commit_space(length))

    def _committed(self, code: int) -> None:
        if code < 0:
            raise self._owner._fault(code)

    def abort(self) -> None:
        """Give the space back unwritten."""
        if self._open:
            self._let_go()
            self._abort_space()

    def _let_go(self) -> None:
        self.view = _NO_VIEW
        lender = self._lender
        if lender.escaped():
            self.view = lender.writable(self._index, self._length)
            raise ViewsEscaped(self._owner.name, held=self._length)

    def _exit(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """The end of a ``with`` of a grant that is still open."""
        if kind is None:
            self.abort()
        else:
            self.view = _NO_VIEW
            self._lender.disown()  # the traceback may hold a view, and the error is the application's own
            self._abort_space()
