"""RDBs that no server writes: counts that lie, values that cannot be decoded, and what the reader is afterwards."""

from __future__ import annotations

import contextlib
import gc
import tracemalloc
from typing import Any

import pytest

from kevy_ring._calls import know_entries
from kevy_ring.errors import SnapshotError
from kevy_ring.replica.snapshots.entry import Entry, Stream, StreamGroup
from kevy_ring.replica.snapshots.rdb import RdbReader, crc64, entry_of_dump

END = b"\xff" + bytes(8)
LARGEST = (1 << 63) - 1


def listpack(*items: int | bytes) -> bytes:
    body = b""
    for item in items:
        coded = (
            b"\xf4" + item.to_bytes(8, "little", signed=True)
            if isinstance(item, int)
            else b"%c" % (0x80 | len(item)) + item
        )
        body += coded + bytes([len(coded)])
    return (len(body) + 7).to_bytes(4, "little") + len(items).to_bytes(2, "little") + body + b"\xff"


def string(value: bytes) -> bytes:
    return b"\x80" + len(value).to_bytes(4, "big") + value


def stream(*items: int | bytes) -> bytes:
    """A stream of version 1 with one node of these items, and without groups."""
    return b"REDIS0011\x0f\x01k\x01" + string(bytes(16)) + string(listpack(*items)) + bytes(4) + END


def test_the_node_that_the_wrong_ones_are_changed_from_is_right() -> None:
    (entry,) = RdbReader().feed(stream(1, 1, 1, b"f", 0, 2, 5, 6, b"v", 4, 3, 5, 7, b"w", 4))
    assert entry.value.entries == [(5, 6, [(b"f", b"v")])]


WRONG = {
    "counts whose sum is no number": stream(LARGEST, LARGEST, 0, 0),
    "a negative count of entries": stream(-1, 0, 0, 0),
    "a negative count of entries that hides one": stream(-5, 0, 0, 0, 2, 0, 0, 3),
    "a negative count of deleted entries": stream(2, -1, 0, 0, 2, 0, 0, 3),
    "a negative count of fields": stream(1, 0, -3, 0, 2, 0, 0, 3),
    "a negative count of an entry's fields": stream(1, 0, 0, 0, 0, 0, 0, -4, 3),
    "more fields than there are": stream(1, 0, 1 << 32, 0, 2, 0, 0, 3),
    "more entries than are counted": stream(1, 0, 0, 0, 2, 0, 0, 3, 2, 0, 1, 3),
    "fewer entries than are counted": stream(5, 0, 0, 0, 2, 0, 0, 3),
    "a hash of a listpack without the last value": b"REDIS0011\x10\x01k" + string(listpack(b"f")) + END,
    "a score that is no number": b"REDIS0011\x11\x01k" + string(listpack(b"m", b"x")) + END,
    "a function whose code cannot be decompressed": b"REDIS0011\xf5\xc3\x01\x01\x00" + END,
    "an intset of another size": b"REDIS0011\x0b\x01k" + string(b"\x02\0\0\0\x05\0\0\0\x01\0") + END,
    "an intset of no width": b"REDIS0011\x0b\x01k" + string(b"\x00\0\0\0\x05\0\0\0") + END,
}


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG)
def test_a_value_that_cannot_be_decoded_ends_the_reader(body: bytes) -> None:
    reader = RdbReader()
    with pytest.raises(SnapshotError, match="cannot be decoded"):
        reader.feed(body)
    with pytest.raises(SnapshotError, match="was refused before"):
        reader.feed(b"")
    with pytest.raises(SnapshotError):
        reader.finish()


def test_bytes_behind_the_end_end_the_reader() -> None:
    reader = RdbReader()
    with pytest.raises(SnapshotError, match="behind its end"):
        reader.feed(b"REDIS0011" + END + b"x")
    with pytest.raises(SnapshotError):
        reader.finish()


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG)
def test_a_reader_that_refused_a_value_leaves_no_memory_behind(body: bytes) -> None:
    def refuse(times: int) -> int:
        for _ in range(times):
            with contextlib.suppress(SnapshotError):
                RdbReader().feed(body)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = refuse(50)
        assert refuse(500) - before < 10_000  # 20 bytes of each: less than any object
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "body",
    [
        b"\x00\x01v\x00\x01k\x01w",  # a second key
        b"\xf5",  # a function, whose code is the key
        b"\xf5\x00\x01a\x01b",  # and a key behind it
        b"\xfa\x01v",  # a field about the file
    ],
)
def test_a_dump_payload_of_another_record_than_one_value_is_refused(body: bytes) -> None:
    payload = body + (11).to_bytes(2, "little")
    with pytest.raises(SnapshotError, match="not one value"):
        entry_of_dump(b"key", payload + crc64(payload).to_bytes(8, "little"))


def test_a_call_of_feed_inside_another_one_is_refused() -> None:
    """A stream is made by Python code, in which another thread can have its turn."""
    reader, refused = RdbReader(), []

    def make_stream(*parts: Any) -> Stream:
        with pytest.raises(RuntimeError, match="in one thread"):
            reader.feed(b"\x00\x01k\x01v" * 500_000)
        refused.append(parts)
        return Stream(*parts)

    know_entries(Entry, make_stream, StreamGroup)
    try:
        (entry,) = reader.feed(stream(1, 0, 0, 0, 2, 0, 0, 3))
    finally:
        know_entries(Entry, Stream, StreamGroup)
    reader.finish()
    assert refused
    assert entry.value.entries == [(0, 0, [])]


def zipmap(*pairs: bytes, free: int = 0) -> bytes:
    body = b""
    for n, item in enumerate(pairs):
        head = bytes([len(item)]) if len(item) < 254 else b"\xfe" + len(item).to_bytes(4, "little")
        body += head + (bytes([free]) if n % 2 else b"") + item + (b"?" * free if n % 2 else b"")
    return bytes([min(len(pairs) // 2, 254)]) + body + b"\xff"


def ziplist(*coded: bytes) -> bytes:
    body, before = b"", b"\x00"
    for item in coded:
        body += before + item
        size = len(before) + len(item)
        before = bytes([size]) if size < 254 else b"\xfe" + size.to_bytes(4, "little")
    return (len(body) + 11).to_bytes(4, "little") + bytes(4) + len(coded).to_bytes(2, "little") + body + b"\xff"


ZIPLIST = ziplist(
    b"\x02hi",
    b"\x41\x2c" + b"m" * 300,
    b"\x80\x00\x00\x40\x00" + b"l" * 16384,
    b"\xc0\xff\x7f",
    b"\xd0\x00\x00\x00\x80",
    b"\xe0" + bytes(7) + b"\x80",
    b"\xf0\x00\x00\x80",
    b"\xfe\x80",
    b"\xf1",
    b"\xfd",
)
ZIPLIST_NUMBERS = (32767, -2147483648, -9223372036854775808, -8388608, -128, 0, 12)
ZIPLIST_ITEMS = [b"hi", b"m" * 300, b"l" * 16384, *(b"%d" % number for number in ZIPLIST_NUMBERS)]


def intset(width: int, *numbers: int) -> bytes:
    return b"".join(n.to_bytes(4, "little") for n in (width, len(numbers))) + b"".join(
        n.to_bytes(width, "little", signed=True) for n in numbers
    )


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (9, zipmap(b"f", b"v" * 300, b"g" * 254, b"", free=3), {b"f": b"v" * 300, b"g" * 254: b""}),
        (9, zipmap(), {}),
        (10, ZIPLIST, ZIPLIST_ITEMS),
        (13, ZIPLIST, dict(zip(ZIPLIST_ITEMS[::2], ZIPLIST_ITEMS[1::2], strict=True))),
        (12, ziplist(b"\x01m", b"\x032.5", b"\x01n", b"\x04-inf"), {b"m": 2.5, b"n": float("-inf")}),
        (12, ziplist(b"\x01m", b"\xf3"), {b"m": 2.0}),
        (11, intset(2, -32768, 0, 32767), {b"-32768", b"0", b"32767"}),
        (11, intset(4, -(1 << 31), 1), {b"-2147483648", b"1"}),
        (11, intset(8, -(1 << 63), (1 << 63) - 1), {b"-9223372036854775808", b"9223372036854775807"}),
    ],
)  # fmt: skip
def test_the_encodings_of_old_servers_are_read(kind: int, value: bytes, expected: object) -> None:
    (entry,) = RdbReader().feed(b"REDIS0009" + bytes([kind]) + b"\x01k" + string(value) + END)
    assert entry.value == expected


def test_scores_of_the_oldest_sorted_sets_are_read() -> None:
    scores = b"\x01a\x041e-3" + b"\x01b\xfe" + b"\x01c\xff" + b"\x01d\x02-0"
    (entry,) = RdbReader().feed(b"REDIS0005\x03\x01k\x04" + scores + END)
    assert {key: str(score) for key, score in entry.value.items()} == {
        b"a": "0.001",
        b"b": "inf",
        b"c": "-inf",
        b"d": "-0.0",
    }
