"""KEVYSNAP: the real fixture, every split, hostile bytes, and the round trip of writer and reader."""

from __future__ import annotations

import contextlib
import json
import struct
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kevy_ring.errors import SnapshotError
from kevy_ring.replica.snapshots.entry import Entry, Stream, StreamGroup
from kevy_ring.replica.snapshots.kevysnap import MAX_BYTES_LENGTH, SnapshotReader
from kevy_ring.replica.snapshots.kevysnap_writer import CHUNK_BYTES, write_snapshot
from kevysnap_bodies import FIELDS_EXPIRE, body_of_kevy_5_4
from places import DATA

FIXTURES = DATA
NOW_MS = 1_700_000_000_000


def chunks_of_the_wire(wire: bytes) -> list[bytes]:
    """The chunks of a recorded protocol 1 full sync, without their framing."""
    at = wire.index(b"+SNAPSHOT\r\n") + len(b"+SNAPSHOT\r\n")
    chunks = []
    while wire[at : at + 1] == b"$":
        stop = wire.index(b"\r\n", at)
        start, length = stop + 2, int(wire[at + 1 : stop])
        chunks.append(wire[start : start + length])
        at = start + length + 2
    assert wire.startswith(b"+SNAPSHOT_END ", at)
    return chunks


def read(chunks: list[bytes], now_ms: int = NOW_MS) -> list[Entry]:
    reader = SnapshotReader(now_ms)
    entries = [entry for chunk in chunks for entry in reader.feed(chunk)]
    reader.close()
    assert reader.finished
    return entries


def hexed(entry: Entry) -> dict[str, Any]:
    """An entry in the form of the JSON fixture."""
    value = entry.value
    plain: Any
    if entry.type == "string":
        plain = value.hex()
    elif entry.type == "hash":
        plain = {name.hex(): part.hex() for name, part in value.items()}
    elif entry.type == "zset":
        plain = {member.hex(): score for member, score in value.items()}
    elif entry.type == "stream":
        plain = [[f"{ms}-{seq}", [part.hex() for pair in fields for part in pair]] for ms, seq, fields in value.entries]
    else:
        plain = [part.hex() for part in (sorted(value) if entry.type == "set" else value)]
    return {"has_ttl": entry.expires_at_ms is not None, "type": entry.type, "value": plain}


def test_the_snapshot_of_a_real_server_gives_its_keyspace() -> None:
    chunks = chunks_of_the_wire((FIXTURES / "kevy-1.22-snapshot.bin").read_bytes())
    keyspace = json.loads((FIXTURES / "kevy-1.22-snapshot.json").read_text())
    assert {entry.key.hex(): hexed(entry) for entry in read(chunks)} == keyspace


def test_chunk_borders_of_a_real_snapshot_mean_nothing() -> None:
    whole = b"".join(chunks_of_the_wire((FIXTURES / "kevy-1.22-snapshot.bin").read_bytes()))
    expected = read([whole])
    for size in (1, 7, 1000):
        assert read([whole[at : at + size] for at in range(0, len(whole), size)]) == expected


ONE_OF_EACH = [
    Entry(b"s", "string", b"value"),
    Entry(b"", "string", b"", expires_at_ms=NOW_MS + 5),
    Entry(b"h", "hash", {b"f": b"v", b"": b"\r\n"}),
    Entry(b"l", "list", [b"a", b"", b"a"]),
    Entry(b"m", "set", {b"x", b"\x00"}, expires_at_ms=NOW_MS + 9),
    Entry(b"z", "zset", {b"one": 1.5, b"minus": float("-inf")}),
]
STREAM = Stream((7, 1), (3, 2), 4, [(5, 0, [(b"f", b"v"), (b"f", b"w")]), (7, 1, [])])
GROUPED = Stream(
    STREAM.last_id,
    entries=STREAM.entries,
    groups=[StreamGroup(b"g", (5, 0), [(b"ann", 12), (b"bob", 13)], [(5, 0, b"ann", 99, 2)]), StreamGroup(b"", (0, 0))],
)


@pytest.mark.parametrize("version", [2, 3, 4])
def test_every_split_of_a_small_snapshot_gives_the_same_entries(version: int) -> None:
    entries = [*ONE_OF_EACH, Entry(b"x", "stream", GROUPED if version == 4 else STREAM)]
    whole = b"".join(write_snapshot(entries, version=version, now_ms=NOW_MS))
    assert read([whole]) == entries
    for at in range(len(whole) + 1):
        assert read([whole[:at], whole[at:]]) == entries
    assert read([whole[at : at + 1] for at in range(len(whole))]) == entries


def test_a_chunk_may_be_a_view_that_is_reused_afterwards() -> None:
    whole = b"".join(write_snapshot(ONE_OF_EACH))
    reader = SnapshotReader(NOW_MS)
    memory = bytearray(5)
    entries = []
    for at in range(0, len(whole), 5):
        part = whole[at : at + 5]
        memory[: len(part)] = part
        entries += reader.feed(memoryview(memory)[: len(part)])
    reader.close()
    assert entries == ONE_OF_EACH


def test_entries_come_as_soon_as_they_are_whole() -> None:
    whole = b"".join(write_snapshot(ONE_OF_EACH))
    head = b"".join(write_snapshot(ONE_OF_EACH[:2]))[:-1]
    reader = SnapshotReader(NOW_MS)
    assert reader.feed(head[:-1]) == ONE_OF_EACH[:1]
    assert reader.feed(head[-1:]) == ONE_OF_EACH[1:2]
    assert reader.feed(whole[len(head) :]) == ONE_OF_EACH[2:]


def test_version_2_counts_the_time_left_from_now() -> None:
    whole = b"KEVYSNAP\x02" + b"\x01\x01" + struct.pack("<Q", 250) + struct.pack("<I", 1) + b"k" + bytes(4) + b"\x00"
    assert read([whole]) == [Entry(b"k", "string", b"", expires_at_ms=NOW_MS + 250)]


def test_versions_3_and_4_carry_absolute_expiries_even_in_the_past() -> None:
    entries = [Entry(b"k", "string", b"", expires_at_ms=5)]
    for version in (3, 4):
        assert read(list(write_snapshot(entries, version=version))) == entries


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"KEVYSNIP\x04\x00", id="magic"),
        pytest.param(b"KEVYSNAP\x01\x00", id="version 1"),
        pytest.param(b"KEVYSNAP\x08" + bytes(17), id="version 8"),
        pytest.param(b"KEVYSNAP\x05" + bytes(16) + b"\x07" + bytes(16) + b"\x00", id="op 7 before version 6"),
        pytest.param(b"KEVYSNAP\x06" + bytes(16) + b"\x08" + bytes(14) + b"\x00", id="op 8 before version 7"),
        pytest.param(b"KEVYSNAP\x04\x07\x00", id="op 7"),
        pytest.param(b"KEVYSNAP\x04\xff\x00", id="op 255"),
        pytest.param(b"KEVYSNAP\x04\x01\x02", id="expiry flag"),
        pytest.param(b"KEVYSNAP\x04\x00\x00", id="bytes after the end"),
        pytest.param(b"KEVYSNAP\x04\x01\x00" + b"\xff" * 4, id="key length"),
        pytest.param(b"KEVYSNAP\x04\x01\x00" + bytes(4) + struct.pack("<I", MAX_BYTES_LENGTH + 1), id="value length"),
        pytest.param(b"KEVYSNAP\x04\x03\x00" + bytes(4) + b"\xff" * 8, id="element length"),
        pytest.param(
            b"KEVYSNAP\x04\x05\x00" + bytes(4) + b"\x01\0\0\0" + bytes(4) + struct.pack("<d", float("nan")), id="nan"
        ),
    ],
)
def test_what_no_honest_primary_writes_is_refused(body: bytes) -> None:
    reader = SnapshotReader(NOW_MS)
    with pytest.raises(SnapshotError) as caught:
        reader.feed(body)
    assert 0 <= caught.value.at < len(body)
    byte_by_byte = SnapshotReader(NOW_MS)
    for at in range(caught.value.at):
        byte_by_byte.feed(body[at : at + 1])
    with pytest.raises(SnapshotError) as again:
        [byte_by_byte.feed(body[at : at + 1]) for at in range(caught.value.at, len(body))]
    assert (again.value.detail, again.value.at) == (caught.value.detail, caught.value.at)


def test_a_refused_snapshot_stays_refused() -> None:
    reader = SnapshotReader(NOW_MS)
    with pytest.raises(SnapshotError):
        reader.feed(b"KEVYSNIP\x04")
    with pytest.raises(SnapshotError):
        reader.feed(b"")
    with pytest.raises(SnapshotError):
        reader.close()


def test_a_snapshot_cut_at_any_byte_is_not_whole() -> None:
    whole = b"".join(write_snapshot([*ONE_OF_EACH, Entry(b"x", "stream", GROUPED)]))
    for at in range(len(whole)):
        reader = SnapshotReader(NOW_MS)
        reader.feed(whole[:at])
        assert not reader.finished
        with pytest.raises(SnapshotError) as caught:
            reader.close()
        assert caught.value.at == at


@pytest.mark.parametrize("op", [1, 2, 3, 4, 5, 6])
def test_a_length_or_count_that_lies_allocates_nothing(op: int) -> None:
    huge = struct.pack("<I", 0xFFFFFFFF)
    liar = {1: struct.pack("<I", MAX_BYTES_LENGTH), 6: struct.pack("<QQQQQ", 1, 1, 0, 0, 9) + huge}.get(op, huge)
    reader = SnapshotReader(NOW_MS)
    tracemalloc.start()
    try:
        reader.feed(b"KEVYSNAP\x04" + bytes([op, 0]) + struct.pack("<I", 1) + b"k" + liar)
        for _ in range(10):
            reader.feed(b"\x01\0\0\0a")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000
    with pytest.raises(SnapshotError):
        reader.close()


def test_a_value_of_many_chunks_and_a_collection_of_many_chunks_arrive_whole() -> None:
    entries = [
        Entry(b"big", "string", bytes(range(256)) * 8192),
        Entry(b"many", "hash", {b"%d" % i: b"v" * (i % 50) for i in range(20_000)}),
        Entry(b"wide", "zset", {b"%d" % i: float(i) for i in range(20_000)}),
    ]
    chunks = list(write_snapshot(entries))
    assert {len(chunk) for chunk in chunks[:-1]} == {CHUNK_BYTES}
    assert 0 < len(chunks[-1]) <= CHUNK_BYTES
    assert read(chunks) == entries


def test_an_empty_keyspace_is_a_snapshot() -> None:
    assert list(write_snapshot([])) == [b"KEVYSNAP\x04\x00"]
    assert read([b"KEVYSNAP\x04\x00"]) == []


def test_the_writer_refuses_what_a_version_cannot_carry() -> None:
    for entry, version in (
        (Entry(b"k", "string", b"", expires_at_ms=1), 2),
        (Entry(b"k", "stream", GROUPED), 3),
        (Entry(b"k", "string", b"", db=1), 4),
        (Entry(b"k", "module", b""), 4),
        (Entry(b"k", "string", b""), 8),
    ):
        with pytest.raises(ValueError, match=r".+"):
            list(write_snapshot([entry], version=version))


names = st.binary(max_size=20)
counts = st.integers(0, 2**64 - 1)
ids = st.tuples(counts, counts)
pairs = st.lists(st.tuples(names, names), max_size=3)
groups = st.builds(
    StreamGroup,
    names,
    ids,
    st.lists(st.tuples(names, counts), max_size=2),
    st.lists(st.tuples(counts, counts, names, counts, st.integers(0, 2**32 - 1)), max_size=2),
)
values = st.one_of(
    st.tuples(st.just("string"), st.binary(max_size=300)),
    st.tuples(st.just("hash"), st.dictionaries(names, names, max_size=5)),
    st.tuples(st.just("list"), st.lists(names, max_size=5)),
    st.tuples(st.just("set"), st.sets(names, max_size=5)),
    st.tuples(st.just("zset"), st.dictionaries(names, st.floats(allow_nan=False), max_size=5)),
    st.tuples(
        st.just("stream"),
        st.builds(
            Stream,
            ids,
            ids,
            counts,
            st.lists(st.tuples(counts, counts, pairs), max_size=3),
            st.lists(groups, max_size=2),
        ),
    ),
)
keyspaces = st.lists(
    st.builds(
        lambda key, tv, expiry: Entry(key, tv[0], tv[1], expires_at_ms=expiry), names, values, st.none() | counts
    ),
    max_size=6,
)


@settings(deadline=None, max_examples=150)
@given(keyspaces, st.lists(st.integers(1, 60), min_size=1, max_size=30))
def test_what_is_written_is_read_back_whatever_the_chunks(entries: list[Entry], sizes: list[int]) -> None:
    whole = b"".join(write_snapshot(entries))
    chunks: list[bytes] = []
    at = 0
    while at < len(whole):
        size = sizes[len(chunks) % len(sizes)]
        chunks.append(whole[at : at + size])
        at += size
    assert read(chunks) == entries


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=200), st.sampled_from([b"", b"KEVYSNAP\x02", b"KEVYSNAP\x03", b"KEVYSNAP\x04"]))
def test_garbage_gives_snapshot_errors_and_nothing_else(garbage: bytes, head: bytes) -> None:
    with contextlib.suppress(SnapshotError):
        read([head, garbage])


def test_a_real_snapshot_of_version_6_is_read_at_every_split() -> None:
    body = body_of_kevy_5_4()
    for cut in range(len(body) + 1):
        reader = SnapshotReader(NOW_MS)
        entries = reader.feed(body[:cut]) + reader.feed(body[cut:])
        reader.close()
        assert reader.version == 6
        assert [(entry.key, entry.type) for entry in entries] == [(b"h", "hash"), (b"s", "string"), (b"x", "stream")]
        assert entries[0].value == {b"a": b"1", b"b": b"2", b"c": b"3"}
        assert reader.field_expiries == {b"h": dict.fromkeys((b"a", b"b"), 0x01A2405AF419)}


def test_a_snapshot_of_version_6_that_is_cut_anywhere_is_an_error() -> None:
    body = body_of_kevy_5_4()
    for cut in range(len(body)):
        reader = SnapshotReader(NOW_MS)
        with pytest.raises(SnapshotError):
            reader.feed(body[:cut])
            reader.close()


@pytest.mark.parametrize("version", [6, 7])
def test_expiries_of_fields_come_back_as_they_were_written(version: int) -> None:
    reader = SnapshotReader(NOW_MS)
    entries = [entry for chunk in write_snapshot(FIELDS_EXPIRE, version=version) for entry in reader.feed(chunk)]
    reader.close()
    assert [entry.key for entry in entries] == [b"h", b"plain", b"s"]
    assert reader.field_expiries == {b"h": {b"a": 1_796_342_936_601, b"c": 4}}
    with pytest.raises(ValueError, match="no expiries of fields"):
        list(write_snapshot(FIELDS_EXPIRE, version=5))


def test_the_cursor_of_version_5_is_passed_over() -> None:
    [body] = write_snapshot([Entry(b"k", "string", b"v", 7)], version=5)
    assert body[9:25] == bytes(16)
    body = body[:9] + struct.pack("<QQ", 99, 1234) + body[25:]
    assert read([bytes((byte,)) for byte in body]) == [Entry(b"k", "string", b"v", 7)]


@pytest.mark.parametrize("ttl", [b"\x00", b"\x01" + bytes(8)])
def test_the_stub_of_a_row_segment_is_refused_by_its_key(ttl: bytes) -> None:
    [body] = write_snapshot([Entry(b"k", "string", b"v")], version=7)
    body = body[:-1] + b"\x08" + ttl + b"\x05\x00\x00\x00table" + struct.pack("<II", 1, 2) + b"\x00"
    for piece_bytes in (1, 7, 100):
        reader = SnapshotReader(NOW_MS)
        with pytest.raises(SnapshotError, match="key b'table' is a stub of a row segment"):
            for at in range(0, len(body), piece_bytes):
                reader.feed(body[at : at + piece_bytes])
