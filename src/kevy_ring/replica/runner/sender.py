"""The end of a ring that a runner sends into, as far as a runner uses it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kevy_ring.events import ReplicaApply
from kevy_ring.inbox import ChunkGrant, FrameRun, FrameScanner, Overflow


class ReplicaSender(Protocol):
    """What a feed and a runner use of a ReplicaInboxSender."""

    @property
    def applied_offset(self) -> int | None:
        """The last offset that the shard has applied; None: nothing yet."""

    @property
    def loading(self) -> bool:
        """True from SnapshotBegin sent to SnapshotEnd applied."""

    @property
    def overflow(self) -> Overflow:
        """What waits behind the ring."""

    @property
    def receiver_gone(self) -> bool:
        """True once nothing that is sent can be applied any more."""

    def send_many(self, events: Sequence[ReplicaApply], /) -> None:
        """Send in order, one publish. Raises SendError."""

    def reserve_chunk(self, length: int, /) -> ChunkGrant:
        """Space for a chunk that is received in place. Raises SendError."""

    def scan_frames(self, scanner: FrameScanner, received: memoryview, offset: int, /) -> FrameRun:
        """Take the run of plain frames that ``received`` begins with, in one call. Raises SendError."""

    def set_word(self, index: int, value: int, /) -> None:
        """Publish an application word."""

    def set_upstream(self, upstream_id: str, db: int, /) -> None:
        """Name the history that the events sent from now on belong to. Raises SendError."""
