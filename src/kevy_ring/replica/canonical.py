"""The canonical bytes of a frame, the same on every path, and the digest over them."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from itertools import accumulate

from kevy_ring.events import Frame, Kind

_HEADER = struct.Struct("<IBBHQ")
DIGEST_BYTES = 16


def encode_record(frame: Frame) -> bytes:
    """The frame as a record, little-endian.

    A 16-byte header (u32 payload length, u8 kind, u8 flags, u16 0, u64 offset), the payload (u32 argc, argc u32 end
    positions of the arguments counted from the first argument's first byte, the arguments), zeros up to a multiple
    of 8.
    """
    argv = frame.argv
    argc = len(argv)
    joined = b"".join(argv)
    length = 4 + 4 * argc + len(joined)
    ends = struct.pack(f"<{argc + 1}I", argc, *accumulate(map(len, argv)))
    return _HEADER.pack(length, Kind.FRAME, 0, 0, frame.offset) + ends + joined + bytes(-length % 8)


def digest_frames(frames: Iterable[Frame]) -> tuple[int, bytes]:
    """The number of frames, and BLAKE2b (16 bytes) over their canonical records in order."""
    total = hashlib.blake2b(digest_size=DIGEST_BYTES)
    count = 0
    for frame in frames:
        total.update(encode_record(frame))
        count += 1
    return count, total.digest()
