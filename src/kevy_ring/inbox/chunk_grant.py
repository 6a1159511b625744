"""A SnapshotChunk that is received where it will lie, in the ring itself: the long way of its methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kevy_ring._core import lib
from kevy_ring.errors import ClosedError, ViewsEscaped
from kevy_ring.events import ReplicaApply, SnapshotChunk
from kevy_ring.ring.calls import GrantCalls, address_of
from kevy_ring.ring.grant import ended_grant, grant_repr
from kevy_ring.ring.producer import FULL, checked_length

if TYPE_CHECKING:
    from kevy_ring.inbox.sending_end import SendingEnd

CHUNK_MAX = 1 << 30
_NO_VIEW = memoryview(b"")
_OWN_MEMORY = (FULL, lib.KR_E_TOO_LARGE, lib.KR_E_BUSY)


class GrantingSender(Protocol):
    """The sender, as far as a grant needs it."""

    name: str

    def send(self, event: ReplicaApply, /) -> None:
        """Send a chunk that could not be received in the ring."""

    def _role(self) -> SendingEnd: ...

    def _failed(self, code: int) -> Exception: ...


class ChunkGrant(GrantCalls):
    """Writable space for one chunk.

    ``view``: a writable memoryview of the bytes asked for. ``in_ring``: whether they lie in the ring.
    """

    __slots__ = ()
    _owner: GrantingSender
    _end: SendingEnd
    length = GrantCalls._length
    in_ring = GrantCalls._in_ring

    def __init__(self, sender: GrantingSender, length: int, index: int | None = None) -> None:
        """``index``: what the core said to ``length`` when it was asked already."""
        if not 0 < length <= CHUNK_MAX:
            raise ValueError(f"a chunk has 1 to {CHUNK_MAX} bytes: {length}")
        self._owner = sender
        end = self._end = sender._role()
        self._lender = end.lender
        self.length = length
        self.view = _NO_VIEW
        if index is None:
            index = self._reserve(end.sender, address_of(end.sender), checked_length(length))
        if index >= 0:
            self.view = end.lender.writable(index, length)
        elif index in _OWN_MEMORY:
            self.view = memoryview(bytearray(length))
            self._open = True
        else:
            raise sender._failed(index)

    def _commit(self, length: int) -> None:
        """``commit`` of nothing, of ordinary memory, and of what cannot be committed."""
        if not self._open:
            raise ended_grant(self._owner.name, self)
        if not 0 <= length <= self.length:
            raise ValueError(f"commit of {length} bytes into a grant of {self.length}")
        if not self.in_ring:
            self._send_copy(length)
            return
        end = self._end
        if end.closed:
            raise ClosedError(self._owner.name)
        self.view = _NO_VIEW
        if end.lender.escaped():
            self.view = end.lender.writable(self._index, self.length)
            raise ViewsEscaped(self._owner.name, held=self.length, of="grant")
        if not length:
            self._was_committed = True
            self._give_up()
            return
        self._committed(self._commit_space(length))

    def _committed(self, code: int) -> None:
        if code < 0:
            raise self._owner._failed(code)
        if code & lib.KR_SEND_NO_THREAD:
            self._end.tell_that_no_thread_is_to_be_had()

    def _send_copy(self, length: int) -> None:
        view, self.view = self.view, _NO_VIEW
        self._open, self._was_committed = False, True
        if length:
            self._owner.send(SnapshotChunk(bytes(view[:length])))

    def abort(self) -> None:
        """Give the space back; nothing is sent."""
        self._give_up()

    def __repr__(self) -> str:
        return grant_repr(self, self._owner.name)
