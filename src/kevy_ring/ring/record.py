"""The record as it lies in the ring: its header, its flags and its limits.

The core has the same in C (``csrc/ring/layout.h``), and a test compares the two. The kinds of records are
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
    """The flags of a record header. Only an event that is larger than the ring has any: it travels in fragments."""

    FRAGMENT = 1
    FIRST = 2
    LAST = 4


FLAGS_KNOWN = int(RecordFlag.FRAGMENT | RecordFlag.FIRST | RecordFlag.LAST)


def record_span(length: int) -> int:
    """How many bytes of the ring a record takes whose payload has ``length`` bytes: header and padding included."""
    return (RECORD_HEADER.size + length + 7) & ~7


def packed_record(kind: int, offset: int, payload: bytes) -> bytes:
    """A record without flags: header, payload and padding."""
    record = RECORD_HEADER.pack(len(payload), kind, 0, 0, offset) + payload
    return record.ljust(record_span(len(payload)), b"\0")
