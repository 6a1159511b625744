"""The encoding of an event as a record, as in the core, and the check of an offset.

A ``Frame`` payload: ``u32 argc``, ``argc`` end positions (u32, from the first argument byte), the argument bytes.
"""

from __future__ import annotations

import struct
from itertools import accumulate
from typing import Any

from kevy_ring.events import Frame, Kind, ReplicaApply, SnapshotBegin, SnapshotChunk, SnapshotEnd
from kevy_ring.ring.record import packed_record


def checked_offset(offset: Any) -> int:
    """The offset as an int. Raises ``TypeError`` for a non-integer, and ``ValueError`` outside 0 .. 2**64 - 1."""
    if not hasattr(offset, "__index__"):
        raise TypeError(f"an offset is an integer, not {type(offset).__name__}")
    value: int = offset.__index__()
    if not 0 <= value < 2**64:
        raise ValueError(f"an offset is at least 0 and below 2**64: {offset}")
    return value


def encode_record(event: ReplicaApply) -> bytes:
    """The record of an event with header and padding, byte for byte as in the ring.

    Raises ``TypeError`` and ``ValueError`` as :meth:`ReplicaInboxSender.send`.
    """
    kind, offset, payload = Kind(event.kind), 0, b""
    if isinstance(event, Frame):
        offset = checked_offset(event.offset)
        arguments = [bytes(memoryview(argument)) for argument in event.argv]
        ends = accumulate(map(len, arguments))
        payload = struct.pack(f"<{1 + len(arguments)}I", len(arguments), *ends) + b"".join(arguments)
    elif isinstance(event, SnapshotChunk):
        payload = bytes(memoryview(event.data))
    elif isinstance(event, SnapshotEnd):
        offset = checked_offset(event.ack_offset)
    elif not isinstance(event, SnapshotBegin):
        raise TypeError(f"not an event of a replication stream: {type(event).__name__}")
    return packed_record(kind, offset, payload)
