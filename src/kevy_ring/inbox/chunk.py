"""A SnapshotChunk that is received where it will lie: in the ring itself."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from kevy_ring._core import lib
from kevy_ring.errors import ClosedError, ViewsEscaped
from kevy_ring.events import SnapshotChunk
from kevy_ring.ring.borrow import Borrow
from kevy_ring.ring.producer import FULL

if TYPE_CHECKING:
    from kevy_ring.inbox.sender import ReplicaInboxSender

CHUNK_MAX = 1 << 30


class ChunkGrant:
    """Writable space for one chunk.

    ``view``: a writable memoryview of the bytes asked for. ``in_ring``: whether they lie in the ring.
    """

    def __init__(self, sender: ReplicaInboxSender, length: int) -> None:
        if not 0 < length <= CHUNK_MAX:
            raise ValueError(f"a chunk has 1 to {CHUNK_MAX} bytes: {length}")
        self._sender = sender
        self._end = sender._role()
        self._open = True
        self._borrow: Borrow | None = None
        index = lib.kr_producer_reserve(self._end.producer, length)
        if index in (FULL, lib.KR_E_TOO_LARGE, lib.KR_E_BUSY):
            self.view = memoryview(bytearray(length))
        elif index < 0:
            raise sender._failed(index)
        else:
            self._borrow = Borrow(self._end.area, self._end.segment.capacity, index, length, writable=True)
            self.view = self._borrow.view()
        self.in_ring = self._borrow is not None
        self.length = length

    def commit(self, length: int) -> None:
        """Send the first ``length`` bytes as a SnapshotChunk (0: nothing is sent).

        Raises as ``send``; ``ValueError`` beyond the grant; :class:`ViewsEscaped` while views of it are kept;
        :class:`ClosedError` when the grant has ended.
        """
        if not self._open:
            raise ClosedError(self._sender.name, "released")
        if not 0 <= length <= self.length:
            raise ValueError(f"commit of {length} bytes into a grant of {self.length}")
        view, self.view = self.view, memoryview(b"")
        if self._borrow is None:
            self._open = False
            if length:
                self._sender.send(SnapshotChunk(bytes(view[:length])))
            return
        del view
        if not self._borrow.end():
            self.view = self._borrow.view()
            raise ViewsEscaped(self._sender.name, held=self.length)
        self._open = False
        if not length:
            lib.kr_producer_abort(self._end.producer)
            return
        code = lib.kr_commit_chunk(self._end.producer, length)
        if code < 0:
            raise self._sender._failed(code)
        if code:
            self._end.acted(code)

    def abort(self) -> None:
        """Give the space back; nothing is sent."""
        if self._open:
            self._open = False
            self.view = memoryview(b"")
            if self._borrow is not None:
                lib.kr_producer_abort(self._end.producer)

    def __enter__(self) -> ChunkGrant:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.abort()
