"""The canonical record of a frame and the digest over records."""

from __future__ import annotations

import struct
import zlib

import pytest

from kevy_ring.events import Frame
from kevy_ring.replica.snapshots.canonical import StreamDigest, digest_frames, encode_record


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
    whole = zlib.crc32(b"".join(map(encode_record, frames))).to_bytes(4, "big")
    assert digest_frames(frames) == (20, whole)
    assert digest_frames(reversed(frames)) != (20, whole)
    assert digest_frames([]) == (0, bytes(4))


@pytest.mark.parametrize("border", [1, 7, 8, 63, 1000])
def test_the_digest_does_not_depend_on_the_pieces_that_a_stream_comes_in(border: int) -> None:
    stream = bytes(range(256)) * 9
    whole, pieces = StreamDigest(), StreamDigest()
    whole.update(stream)
    for at in range(0, len(stream), border):
        pieces.update(memoryview(stream)[at : at + border])
    assert pieces.digest() == whole.digest() == zlib.crc32(stream).to_bytes(4, "big")


def test_every_changed_bit_lost_record_and_swap_gives_another_digest() -> None:
    frames = [Frame(offset, [b"SET", b"key", b"%d" % (offset % 3)]) for offset in range(40)]
    right = digest_frames(frames)[1]
    stream = b"".join(map(encode_record, frames))
    for bit in range(8 * len(stream)):
        other, changed = StreamDigest(), bytearray(stream)
        changed[bit // 8] ^= 1 << bit % 8
        other.update(changed)
        assert other.digest() != right
    for i in range(len(frames) - 1):
        assert digest_frames(frames[:i] + frames[i + 1 :])[1] != right
        assert digest_frames(frames[:i] + frames[i + 1 : i + 2] + frames[i : i + 1] + frames[i + 2 :])[1] != right
