"""The four events of a replication stream, as plain values.

``argv`` items and ``data`` are ``bytes`` in events that own their memory, and read-only ``memoryview``
objects in events that lie in a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING

BytesLike = bytes | bytearray | memoryview


class Kind(IntEnum):
    """The kind of a record, as the record header and ``Batch.kinds`` carry it."""

    BYTES = 0
    SNAPSHOT_BEGIN = 1
    SNAPSHOT_CHUNK = 2
    SNAPSHOT_END = 3
    FRAME = 4


class SnapshotBegin:
    """A snapshot starts: what follows up to SnapshotEnd replaces the store. In mid-snapshot it restarts it."""

    __slots__ = ()
    __match_args__ = ()
    kind = Kind.SNAPSHOT_BEGIN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SnapshotBegin) or NotImplemented

    def __hash__(self) -> int:
        return hash(SnapshotBegin)

    def __repr__(self) -> str:
        return "SnapshotBegin()"


class SnapshotChunk:
    """Some bytes of the snapshot body, in order. Chunk borders mean nothing."""

    __slots__ = ("data",)
    __match_args__ = ("data",)
    kind = Kind.SNAPSHOT_CHUNK

    def __init__(self, data: BytesLike) -> None:
        self.data = data

    def __eq__(self, other: object) -> bool:
        return self.data == other.data if isinstance(other, SnapshotChunk) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"SnapshotChunk(<{len(self.data)} bytes>)"


class SnapshotEnd:
    """The snapshot is whole. ``ack_offset`` is the upstream's offset that it stands for; it may go back."""

    __slots__ = ("ack_offset",)
    __match_args__ = ("ack_offset",)
    kind = Kind.SNAPSHOT_END

    def __init__(self, ack_offset: int) -> None:
        self.ack_offset = ack_offset

    def __eq__(self, other: object) -> bool:
        return self.ack_offset == other.ack_offset if isinstance(other, SnapshotEnd) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"SnapshotEnd(ack_offset={self.ack_offset})"


class Frame:
    """One replicated command. ``offset``: its place in the upstream's stream, 0 <= offset < 2**64."""

    __slots__ = ("argv", "offset")
    __match_args__ = ("offset", "argv")
    kind = Kind.FRAME
    argv: Sequence[BytesLike]

    def __init__(self, offset: int, argv: Sequence[BytesLike]) -> None:
        self.offset = offset
        self.argv = argv

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Frame):
            return NotImplemented
        return self.offset == other.offset and list(self.argv) == list(other.argv)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Frame(offset={self.offset}, argv={[bytes(a) for a in self.argv]!r})"


ReplicaApply = SnapshotBegin | SnapshotChunk | SnapshotEnd | Frame

if TYPE_CHECKING:
    from typing import final

    @final  # so that a pattern with parts, such as Frame(offset, argv), is known to cover all of them
    class OwnedFrame(Frame):
        """A frame whose arguments are bytes of their own: they may be kept."""

        argv: list[bytes]

    @final
    class OwnedChunk(SnapshotChunk):
        """A chunk whose bytes are its own: they may be kept."""

        data: bytes

else:  # what is received is of the classes themselves; only a type checker sees the difference
    OwnedFrame, OwnedChunk = Frame, SnapshotChunk

#: What ``recv`` and its kin return: events with memory of their own.
OwnedApply = SnapshotBegin | OwnedChunk | SnapshotEnd | OwnedFrame
