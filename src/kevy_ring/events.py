"""The four events of a replication stream, as plain values.

An event that was copied out of the ring has ``bytes`` in ``argv`` and ``data``. An event in a batch has read-only
memoryviews.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING

BytesLike = bytes | bytearray | memoryview


class Kind(IntEnum):
    """The kind of a record, as in the record header and in ``Batch.kinds``. ``BYTES``: a record of a plain ring."""

    BYTES = 0
    SNAPSHOT_BEGIN = 1
    SNAPSHOT_CHUNK = 2
    SNAPSHOT_END = 3
    FRAME = 4


class SnapshotBegin:
    """A snapshot begins: its content replaces the whole store. Inside a snapshot: the snapshot begins again."""

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
    """``data``: the next bytes of the snapshot's body, at most 4 GiB. The borders between chunks have no meaning."""

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
    """The snapshot is complete. ``ack_offset``: the upstream's offset for it, which may be lower than before."""

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
    """One replicated command. ``argv``: its name and arguments, at least one, together at most 4 GiB.

    ``offset``: its position in the upstream's stream, 0 <= offset < 2**64.

        Frame(17, [b"SET", b"key", b"value"])
    """

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

    @final  # so that type checkers know that a pattern such as Frame(offset, argv) matches all of them
    class OwnedFrame(Frame):
        """A frame that was copied out of the ring: its arguments may be kept."""

        argv: list[bytes]

    @final
    class OwnedChunk(SnapshotChunk):
        """A chunk that was copied out of the ring: its bytes may be kept."""

        data: bytes

else:  # received events are of the classes themselves; only type checkers see a difference
    OwnedFrame, OwnedChunk = Frame, SnapshotChunk

#: The events that ``recv``, ``try_recv`` and ``recv_many`` return: copied out of the ring.
OwnedApply = SnapshotBegin | OwnedChunk | SnapshotEnd | OwnedFrame
