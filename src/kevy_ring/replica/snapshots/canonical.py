"""The digest over the canonical records of frames. It is the same on every path."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from kevy_ring.events import BytesLike, Frame
from kevy_ring.inbox import encode_record

__all__ = ["DIGEST_BYTES", "StreamDigest", "digest_frames", "encode_record"]

DIGEST_BYTES = 4


class StreamDigest:
    """CRC-32 over a stream of bytes, in any pieces.

    Together with the count of frames it finds accidental faults: a changed byte, or a record that is missing, doubled,
    torn or out of order. It misses one in 2**32 of these, and no burst of up to 32 bits. It does not detect changes on
    purpose, because other bytes with the same CRC are easy to make.
    """

    __slots__ = ("_crc",)

    def __init__(self) -> None:
        self._crc = 0

    def update(self, piece: BytesLike) -> None:
        """Take the next bytes of the stream."""
        self._crc = zlib.crc32(piece, self._crc)

    def digest(self) -> bytes:
        """The CRC-32 of all bytes so far, 4 bytes, the highest first."""
        return self._crc.to_bytes(DIGEST_BYTES, "big")


def digest_frames(frames: Iterable[Frame]) -> tuple[int, bytes]:
    """The number of frames, and the :class:`StreamDigest` over their canonical records in order."""
    total = StreamDigest()
    count = 0
    for frame in frames:
        total.update(encode_record(frame))
        count += 1
    return count, total.digest()
