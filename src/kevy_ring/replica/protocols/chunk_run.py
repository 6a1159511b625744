"""A snapshot's chunk that is received from the link directly into the ring."""

from __future__ import annotations

from kevy_ring.errors import RemoteProtocolError
from kevy_ring.inbox import ChunkGrant
from kevy_ring.replica.protocol import ChunkAhead


class ChunkInRing:
    """One chunk that is received into a grant."""

    def __init__(self, grant: ChunkGrant, chunk: ChunkAhead) -> None:
        self.chunk = chunk
        self._grant = grant
        self._wanted = chunk.body_bytes + len(chunk.tail)
        self._have = 0

    @property
    def view(self) -> memoryview:
        """The place for the chunk's next bytes; empty when the chunk is complete."""
        return self._grant.view[self._have : self._wanted]

    def take(self, received: memoryview) -> int:
        """Copy the chunk's bytes from the start of ``received``. Returns how many it took."""
        count = min(len(received), self._wanted - self._have)
        self._grant.view[self._have : self._have + count] = received[:count]
        self.received(count)
        return count

    def received(self, count: int) -> None:
        """Count ``count`` bytes that were received into ``view``."""
        self._have += count

    @property
    def is_whole(self) -> bool:
        """Whether the body and the tail have arrived."""
        return self._have == self._wanted

    def commit(self) -> None:
        """Send the chunk. Raises SendError, and RemoteProtocolError if it does not end where its length says."""
        body = self.chunk.body_bytes
        if self._grant.view[body : self._wanted] != self.chunk.tail:
            self._grant.abort()
            raise RemoteProtocolError(f"a chunk of {body} bytes does not end where its length says")
        self._grant.commit(body)

    def abort(self) -> None:
        """Drop the chunk, because the link ended within it."""
        self._grant.abort()
