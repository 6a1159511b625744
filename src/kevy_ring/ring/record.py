"""The layout of a record in the ring: its header, its flags and its limits.

``csrc/ring/layout.h`` has the same in C, and a test compares the two. The kinds of records are
:class:`kevy_ring.events.Kind`.
"""

from __future__ import annotations

import struct
from enum import IntFlag

#: Length of the payload in bytes, kind, flags, two bytes of zero, offset.
RECORD_HEADER = struct.Struct("<IBBHQ")
#: The largest payload. Header, payload and padding together stay below 4 GiB.
PAYLOAD_MAX_BYTES = 0xFFFFFFE0


class RecordFlag(IntFlag):
    """The flags of a record header. They mark the fragments of an event that is larger than the ring."""

    FRAGMENT = 1
    FIRST = 2
    LAST = 4


FLAGS_KNOWN = int(RecordFlag.FRAGMENT | RecordFlag.FIRST | RecordFlag.LAST)


def record_span(length: int) -> int:
    """The bytes of a record, with header and padding, whose payload has ``length`` bytes."""
    return (RECORD_HEADER.size + length + 7) & ~7


def packed_record(kind: int, offset: int, payload: bytes) -> bytes:
    """A record without flags: header, payload and padding."""
    record = RECORD_HEADER.pack(len(payload), kind, 0, 0, offset) + payload
    return record.ljust(record_span(len(payload)), b"\0")
