"""A SnapshotChunk that is received where it will lie: in the ring itself."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from kevy_ring._core import lib
from kevy_ring.errors import ClosedError, ViewsEscaped
from kevy_ring.events import SnapshotChunk
from kevy_ring.ring.producer import FULL

if TYPE_CHECKING:
    from kevy_ring.inbox.sender import ReplicaInboxSender

CHUNK_MAX = 1 << 30
_NO_VIEW = memoryview(b"")
_OWN_MEMORY = (FULL, lib.KR_E_TOO_LARGE, lib.KR_E_BUSY)
_reserve, _commit = lib.kr_producer_reserve, lib.kr_commit_chunk  # called for every chunk: the look-up costs


class ChunkGrant:
    """Writable space for one chunk.

    ``view``: a writable memoryview of the bytes asked for. ``in_ring``: whether they lie in the ring.
    """

    __slots__ = ("_end", "_index", "_open", "_sender", "in_ring", "length", "view")

    def __init__(self, sender: ReplicaInboxSender, length: int) -> None:
        if not 0 < length <= CHUNK_MAX:
            raise ValueError(f"a chunk has 1 to {CHUNK_MAX} bytes: {length}")
        self._sender = sender
        end = self._end = sender._end or sender._role()
        self._open = True
        self.length = length
        index = self._index = _reserve(end.producer, length)
        self.in_ring = index >= 0
        if index >= 0:
            self.view = end.lender.writable(index, length)
        elif index in _OWN_MEMORY:
            self.view = memoryview(bytearray(length))
        else:
            raise sender._failed(index)

    def commit(self, length: int) -> None:
        """Send the first ``length`` bytes as a SnapshotChunk (0: nothing is sent).

        Raises as ``send``; ``ValueError`` beyond the grant; :class:`ViewsEscaped` while views of it are kept;
        :class:`ClosedError` when the grant has ended.
        """
        if not self._open:
            raise ClosedError(self._sender.name, "released")
        if not 0 <= length <= self.length:
            raise ValueError(f"commit of {length} bytes into a grant of {self.length}")
        if not self.in_ring:
            self._send_copy(length)
            return
        end = self._end
        if end.closed:
            raise ClosedError(self._sender.name)
        self.view = _NO_VIEW
        if end.lender.escaped():
            self.view = end.lender.writable(self._index, self.length)
            raise ViewsEscaped(self._sender.name, held=self.length)
        self._open = False
        if not length:
            lib.kr_producer_abort(end.producer)
            return
        code = _commit(end.producer, length)
        if code:
            if code < 0:
                raise self._sender._failed(code)
            end.acted(code)

    def _send_copy(self, length: int) -> None:
        view, self.view = self.view, _NO_VIEW
        self._open = False
        if length:
            self._sender.send(SnapshotChunk(bytes(view[:length])))

    def abort(self) -> None:
        """Give the space back; nothing is sent."""
        if self._open:
            self._open = False
            self.view = _NO_VIEW
            if self.in_ring:
                self._end.lender.disown()
                lib.kr_producer_abort(self._end.producer)

    def __enter__(self) -> ChunkGrant:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.abort()
