"""Space for one record of a ring, lent to be written in place: the long way of its methods."""

from __future__ import annotations

from operator import index
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

    def _commit(self, length: int) -> None:
        """``commit`` of what cannot be committed."""
        producer = self._owner
        if not self._open:
            raise ended_grant(producer.name, self)
        if producer._handle is None:
            raise ClosedError(producer.name)
        if not 0 <= length <= self._length:
            raise ValueError(f"commit of {length} bytes into a grant of {self._length}")
        self._end_loan()
        self._committed(self._commit_space(index(length)))

    def _committed(self, code: int) -> None:
        if code < 0:
            raise self._owner._fault(code)

    def abort(self) -> None:
        """Give the space back unwritten."""
        if self._open:
            self._end_loan()
            self._give_up()

    def _end_loan(self) -> None:
        """Let go of the grant's own view. Raises :class:`ViewsEscaped` while others are left."""
        self.view = _NO_VIEW
        lender = self._lender
        if lender.escaped():
            self.view = lender.writable(self._index, self._length)
            raise ViewsEscaped(self._owner.name, held=self._length, of="grant")

    def __repr__(self) -> str:
        return grant_repr(self, self._owner.name)


def grant_repr(grant: GrantCalls, name: str) -> str:
    """The ``repr`` of a grant."""
    state = "open" if grant._open else "committed" if grant._was_committed else "given up"
    return f"<{type(grant).__name__} of ring {name!r}, {grant._length} bytes: {state}>"


def ended_grant(name: str, grant: GrantCalls) -> ClosedError:
    """What is raised by the use of a grant that was committed, or given up."""
    return ClosedError(name, "committed" if grant._was_committed else "aborted")
