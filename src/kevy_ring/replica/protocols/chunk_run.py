"""A snapshot's chunk on its way from the link into the ring itself: received where it will lie."""

from __future__ import annotations

from kevy_ring.errors import RemoteProtocolError
from kevy_ring.inbox import ChunkGrant
from kevy_ring.replica.protocol import ChunkAhead


class ChunkInRing:
    """One chunk that is being received into a grant. ``view``: where its next bytes go; empty when it is whole."""

    def __init__(self, grant: ChunkGrant, chunk: ChunkAhead) -> None:
        self.chunk = chunk
        self._grant = grant
        self._wanted = chunk.body_bytes + len(chunk.tail)
        self._have = 0

    @property
    def view(self) -> memoryview:
        """Where the next bytes of the chunk belong."""
        return self._grant.view[self._have : self._wanted]

    def take(self, received: memoryview) -> int:
        """Copy what belongs to the chunk from the front of ``received``; how many bytes that was."""
        count = min(len(received), self._wanted - self._have)
        self._grant.view[self._have : self._have + count] = received[:count]
        self.received(count)
        return count

    def received(self, count: int) -> None:
        """``count`` bytes were received into ``view``."""
        self._have += count

    @property
    def is_whole(self) -> bool:
        """Whether head, body and tail have come."""
        return self._have == self._wanted

    def commit(self) -> None:
        """Send the chunk. Raises RemoteProtocolError when it does not end where its length says, and SendError."""
        body = self.chunk.body_bytes
        if self._grant.view[body : self._wanted] != self.chunk.tail:
            self._grant.abort()
            raise RemoteProtocolError(f"a chunk of {body} bytes does not end where its length says")
        self._grant.commit(body)

    def abort(self) -> None:
        """The link ended within the chunk: nothing of it is sent."""
        self._grant.abort()
