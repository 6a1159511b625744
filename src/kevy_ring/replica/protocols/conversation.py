"""The common part of the replication protocols: one link's state, its pending bytes, and its end."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Generic, TypeVar

from kevy_ring.errors import RemoteProtocolError, UpstreamRefused
from kevy_ring.events import BytesLike, ReplicaApply
from kevy_ring.replica.protocol import ChunkAhead, Synced
from kevy_ring.replica.protocols.resp import Intake

StateT = TypeVar("StateT", bound=Enum)
TokenT = TypeVar("TokenT", bound=Enum)
Transitions = Mapping[StateT, Mapping[TokenT, StateT]]


class Conversation(Generic[StateT, TokenT]):
    """A conversation without I/O. A protocol implements ``_step``; ReplicationProtocol documents the public methods.

    ``transitions`` is the protocol as data: the tokens that are allowed in each state, and the state after each.
    ``end`` is the token of the end of the stream; ``failed`` is the state after a violation.
    """

    def __init__(
        self, *, name: str, start: StateT, failed: StateT, end: TokenT, transitions: Transitions[StateT, TokenT]
    ) -> None:
        self.name = name
        self.state = start
        self.error: RemoteProtocolError | UpstreamRefused | None = None
        self.established = False
        self.synced: Synced | None = None
        self.is_preparing = False
        self.in_snapshot = False
        self.snapshot_pending = False
        self.snapshot_bytes = 0
        self.snapshot_total: int | None = None
        self.getack_pending = False
        self.refused_silently = False
        self.received_offset: int | None = None
        self.last_event_offset: int | None = None
        self._failed = failed
        self._end = end
        self._transitions = transitions
        self._intake = Intake()
        self._outgoing: list[bytes] = []

    @property
    def frame_run_ready(self) -> bool:
        return self._between_frames and not self._intake.pending

    @property
    def chunk_run_ready(self) -> bool:
        return self._between_chunks and not self._intake.pending

    def chunk_ahead(self, data: BytesLike) -> ChunkAhead | None:
        """See ReplicationProtocol. None for a protocol that cuts the chunks itself."""
        return None

    def chunk_received(self, chunk: ChunkAhead) -> None:
        raise NotImplementedError

    @property
    def _between_chunks(self) -> bool:
        """True when a chunk of a snapshot may start at the next byte."""
        return False

    @property
    def _between_frames(self) -> bool:
        """True when a plain frame may start at the next byte, and the kind of sync is known."""
        raise NotImplementedError

    def _step(self, events: list[ReplicaApply], *, one: bool) -> bool:
        """Take the next units, or only one if ``one``. False when more bytes are needed."""
        raise NotImplementedError

    def data_to_send(self) -> bytes:
        outgoing = b"".join(self._outgoing)
        self._outgoing.clear()
        return outgoing

    def receive_data(self, data: BytesLike) -> list[ReplicaApply]:
        return self._receive(bytes(data), to_frame_run=False)[0]

    def receive_to_frame_run(self, data: BytesLike) -> tuple[list[ReplicaApply], int]:
        return self._receive(bytes(data), to_frame_run=True)

    def _receive(self, data: bytes, *, to_frame_run: bool) -> tuple[list[ReplicaApply], int]:
        if self.error is not None:
            raise self.error
        events: list[ReplicaApply] = []
        taken = len(data)
        intake = self._intake
        try:
            if intake.feed(data):
                while self._step(events, one=to_frame_run):
                    if to_frame_run and (self._between_frames or self._between_chunks):
                        taken -= intake.give_back()
                        break
                intake.settle()
        except (RemoteProtocolError, UpstreamRefused) as error:
            self._fail(error)
            if not events:
                raise
        return events, taken

    def receive_eof(self) -> None:
        if self.error is not None:
            raise self.error
        intake = self._intake
        self.refused_silently = not self.established and intake.received == 0
        if intake.pending or self._end not in self._transitions[self.state]:
            error = RemoteProtocolError(f"the stream ended in state {self.state.name}", at=intake.received)
            self._fail(error)
            raise error
        self._move(self._end)

    def _allow(self, token: TokenT, detail: str = "") -> None:
        """Raise a violation if the table does not allow ``token`` in this state."""
        if token not in self._transitions[self.state]:
            raise self._intake.violation(f"{detail or token.value} in state {self.state.name}")

    def _move(self, token: TokenT) -> None:
        """Change to the state that the table gives for ``token``."""
        self._allow(token)
        self.state = self._transitions[self.state][token]

    def _fail(self, error: RemoteProtocolError | UpstreamRefused) -> None:
        self.error = error
        self.state = self._failed
        self._outgoing.clear()
        self._intake.drop()
