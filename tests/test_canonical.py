"""The canonical record of a frame and the digest over records."""

from __future__ import annotations

import hashlib
import struct

from kevy_ring.events import Frame
from kevy_ring.replica.canonical import digest_frames, encode_record


def test_a_frame_has_the_layout_of_a_record() -> None:
    record = encode_record(Frame(7, [b"SET", b"", b"ab"]))
    payload = struct.pack("<IIII", 3, 3, 3, 5) + b"SETab"
    assert record == struct.pack("<IBBHQ", len(payload), 4, 0, 0, 7) + payload + bytes(3)
    assert len(record) % 8 == 0


def test_views_and_bytes_give_the_same_record() -> None:
    argv = [b"HSET", b"h", b"\x00", b"\r\n"]
    assert encode_record(Frame(2**64 - 1, [memoryview(part) for part in argv])) == encode_record(Frame(2**64 - 1, argv))


def test_the_digest_is_that_of_all_records_in_order() -> None:
    frames = [Frame(offset, [b"DEL", b"%d" % offset]) for offset in range(20)]
    whole = hashlib.blake2b(b"".join(map(encode_record, frames)), digest_size=16)
    assert digest_frames(frames) == (20, whole.digest())
    assert digest_frames(reversed(frames)) != (20, whole.digest())
    assert digest_frames([]) == (0, hashlib.blake2b(digest_size=16).digest())
