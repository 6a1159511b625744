"""Events as the arguments of the core's encoder, and records as the core lays them out.

A ``Frame`` payload: ``u32 argc``, ``argc`` end positions (u32, from the first argument byte), the argument bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from kevy_ring.events import BytesLike, Frame, Kind, ReplicaApply, SnapshotBegin, SnapshotChunk, SnapshotEnd
from kevy_ring.ring.producer import joined_bytes
from kevy_ring.ring.record import packed_record

OFFSET_LIMIT = 2**64


def joined_argv(argv: Sequence[BytesLike]) -> tuple[bytes, list[int]]:
    """The arguments back to back, and their lengths in bytes. ``TypeError`` or ``ValueError`` for a bad argv."""
    if isinstance(argv, (bytes, bytearray, memoryview, str)):
        raise TypeError("argv is a sequence of bytes-like arguments, not one of them")
    if not hasattr(argv, "__len__"):
        raise TypeError(f"argv is a list, or another sequence, of bytes-like arguments, not a {type(argv).__name__}")
    joined = joined_bytes(argv)
    lengths = list(map(len, argv))
    if not lengths:
        raise ValueError("a frame has at least one argument")
    if sum(lengths) != len(joined):  # a view of wider elements counts those, not bytes
        lengths = [memoryview(argument).nbytes for argument in argv]
    return joined, lengths


def checked_offset(offset: Any) -> int:
    """The offset, if it is an integer with 0 <= offset < 2**64."""
    if not hasattr(offset, "__index__"):
        raise TypeError(f"an offset is an integer, not {type(offset).__name__}")
    value: int = offset.__index__()
    if not 0 <= value < OFFSET_LIMIT:
        raise ValueError(f"an offset is at least 0 and below 2**64: {offset}")
    return value


def plain_parts(event: ReplicaApply) -> tuple[int, int, bytes]:
    """``(kind, offset, payload)`` of an event that is not a frame. ``TypeError`` for what is no event."""
    if isinstance(event, SnapshotChunk):
        data = event.data
        if type(data) is not bytes:
            data = bytes(memoryview(data))
        return Kind.SNAPSHOT_CHUNK, 0, data
    if isinstance(event, SnapshotBegin):
        return Kind.SNAPSHOT_BEGIN, 0, b""
    if isinstance(event, SnapshotEnd):
        return Kind.SNAPSHOT_END, checked_offset(event.ack_offset), b""
    raise TypeError(f"not an event of a replication stream: {type(event).__name__}")


def send_parts(
    events: Sequence[ReplicaApply],
) -> tuple[bytes, list[int], list[int], bytes, int, list[int], int]:
    """Any list of events as the core takes it. ``TypeError`` or ``ValueError`` for the first bad one.

    Kinds, offsets, argument counts, all bytes joined and how many, the length of each piece and how many.
    """
    kinds, offsets, argcs = bytearray(), [], []
    pieces: list[bytes] = []
    lengths: list[int] = []
    for event in events:
        if isinstance(event, Frame):
            kind: int = Kind.FRAME
            offset = checked_offset(event.offset)
            piece, sizes = joined_argv(event.argv)
        else:
            kind, offset, piece = plain_parts(event)
            sizes = [len(piece)]
        kinds.append(kind)
        offsets.append(offset)
        argcs.append(len(sizes))
        pieces.append(piece)
        lengths += sizes
    joined = b"".join(pieces)
    return bytes(kinds), offsets, argcs, joined, len(joined), lengths, len(lengths)


def encode_record(event: ReplicaApply) -> bytes:
    """The record of an event, header, payload and padding, byte for byte as it lies in the ring."""
    if isinstance(event, Frame):
        kind: int = Kind.FRAME
        offset = checked_offset(event.offset)
        joined, lengths = joined_argv(event.argv)
        payload = struct.pack(f"<{1 + len(lengths)}I", len(lengths), *accumulate(lengths)) + joined
    else:
        kind, offset, payload = plain_parts(event)
    return packed_record(kind, offset, payload)
