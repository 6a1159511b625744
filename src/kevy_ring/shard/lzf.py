"""LZF, the compression of strings in an RDB: https://github.com/ning/compress/wiki/LZFFormat"""

from __future__ import annotations

import mmap

from kevy_ring.errors import SnapshotError


def decompressed(data: mmap.mmap | bytes, at: int, size: int) -> bytes:
    """The bytes that ``size`` packed bytes from ``at`` on stand for. Raises SnapshotError for damaged ones."""
    end = at + size
    out = bytearray()
    while at < end:
        control = data[at]
        at += 1
        if control < 32:
            out += data[at : at + control + 1]
            at += control + 1
            continue
        count = control >> 5
        if count == 7:
            count += data[at]
            at += 1
        back = len(out) - ((control & 31) << 8 | data[at]) - 1
        at += 1
        if back < 0:
            raise SnapshotError("a compressed string of an RDB refers to what is before its start", at=at)
        for _ in range(count + 2):
            out.append(out[back])
            back += 1
    return bytes(out)
