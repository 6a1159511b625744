"""The digest over the canonical records of frames, the same on every path."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from kevy_ring.events import Frame
from kevy_ring.inbox import encode_record

__all__ = ["DIGEST_BYTES", "digest_frames", "encode_record"]

DIGEST_BYTES = 16


def digest_frames(frames: Iterable[Frame]) -> tuple[int, bytes]:
    """The number of frames, and BLAKE2b (16 bytes) over their canonical records in order."""
    total = hashlib.blake2b(digest_size=DIGEST_BYTES)
    count = 0
    for frame in frames:
        total.update(encode_record(frame))
        count += 1
    return count, total.digest()
