"""Assembling snapshots: both formats, any chunk borders, incomplete ones, and the memory that is held meanwhile."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kevy_ring import SnapshotError
from kevy_ring.replica.snapshots.entry import Entry, Stream
from kevy_ring.replica.snapshots.kevysnap_writer import write_snapshot
from kevy_ring.shard import Snapshot
from kevy_ring.shard.assembly import SnapshotAssembly, StopAsked
from kevy_ring.shard.sinks.jsonl import JsonlSink
from kevy_ring.shard.sinks.jsonl.line import entry_of
from kevy_ring.shard.sinks.memory import MemorySink
from kevy_ring.shard.sinks.redis import RedisSink
from kevy_ring.shard.sinks.sqlite import SqliteSink
from kevy_ring.shard.sinks.sqlite.file import SqliteFile
from kevysnap_bodies import FIELDS_EXPIRE, body_of_kevy_5_4
from keyspaces import comparable, differences
from rdb_bodies import database, module_value, rdb_of
from recording_sink import RecordingSink
from redis_server import RedisServer, read_keyspace, redis_version, start_redis
from snapshot_events import kevysnap, strings
from transcripts import converse, kevy, pieces_of, recorded

__all__ = ["redis_version", "start_redis"]


def assemble(sink: Any, body: bytes, piece_bytes: int, ack_offset: int = 9) -> Snapshot:
    assembly = SnapshotAssembly(sink)
    assembly.begin()
    for at in range(0, len(body), piece_bytes):
        assembly.feed(memoryview(body)[at : at + piece_bytes])
    return assembly.finish(ack_offset)


EVERY_TYPE = [
    Entry(b"string", "string", b"\x00\xff\r\n"),
    Entry(b"empty", "string", b""),
    Entry(b"hash", "hash", {b"f": b"1", b"": b"2"}),
    Entry(b"list", "list", [b"b", b"a", b"b"]),
    Entry(b"set", "set", {b"x", b"y"}),
    Entry(b"zset", "zset", {b"a": 1.5, b"b": float("inf"), b"c": float("-inf"), b"d": -0.1}),
    Entry(b"expires", "string", b"v", 4_000_000_000_123),
    Entry(
        b"stream", "stream", Stream((7, 1), (6, 0), 4, [(5, 1, [(b"a", b"1"), (b"a", b"2")]), (7, 1, [(b"b", b"")])])
    ),
]


@pytest.mark.parametrize("piece_bytes", [1, 2, 7, 64, 65536])
def test_chunk_borders_mean_nothing(piece_bytes: int) -> None:
    sink = MemorySink()
    body = kevysnap(EVERY_TYPE)
    snapshot = assemble(sink, body, piece_bytes)
    assert sink.keyspace() == {entry.key: entry for entry in EVERY_TYPE}
    assert (snapshot.format, snapshot.count, len(snapshot), snapshot.skipped) == ("kevysnap", 8, 8, 0)
    assert (snapshot.size_bytes, snapshot.ack_offset, snapshot.applied_offset) == (len(body), 9, 8)


def test_a_snapshot_of_nothing_empties_the_store() -> None:
    sink = MemorySink()
    assemble(sink, strings(a="1"), 100)
    snapshot = assemble(sink, strings(), 100, ack_offset=0)
    assert sink.keyspace() == {}
    assert snapshot.applied_offset is None


@pytest.mark.parametrize("body", [b"", b"K", b"REDI", b"KEVYSNA", b"neither of both", b"KEVYSNAQ\x04\x00"])
def test_a_body_in_no_known_format_is_an_error(body: bytes) -> None:
    sink = MemorySink()
    assemble(sink, strings(a="1"), 100)
    with pytest.raises(SnapshotError):
        assemble(sink, body, 3)
    assert list(sink.keyspace()) == [b"a"]


def test_a_kevysnap_cut_anywhere_is_an_error_and_changes_nothing() -> None:
    sink = MemorySink()
    assemble(sink, strings(old="1"), 100)
    body = kevysnap(EVERY_TYPE)
    for cut in range(len(body)):
        with pytest.raises(SnapshotError):
            assemble(sink, body[:cut], 50)
    assert list(sink.keyspace()) == [b"old"]


def test_after_a_failure_the_next_snapshot_is_a_fresh_one() -> None:
    sink = MemorySink()
    assembly = SnapshotAssembly(sink)
    assembly.begin()
    assembly.feed(strings(a="1")[:-1])
    with pytest.raises(SnapshotError):
        assembly.finish(3)
    assert not assembly.in_progress
    assert (assembly.size_bytes, assembly.count) == (0, 0)
    assembly.begin()
    assembly.feed(strings(b="2"))
    assembly.finish(4)
    assert list(sink.keyspace()) == [b"b"]


def test_a_sink_without_a_stage_is_given_the_whole_snapshot_once() -> None:
    sink = RecordingSink()
    assemble(sink, strings(a="1", b="2"), 5)
    assert sink.calls == [("load", {b"a": b"1", b"b": b"2"})]


def test_what_iterating_a_snapshot_has_yielded_is_not_held_by_it() -> None:
    class Watched(Entry):
        pass

    held = [Watched(b"k%d" % number, "string", b"v") for number in range(3)]
    watches = [weakref.ref(entry) for entry in held]
    snapshot = Snapshot("kevysnap", 1, 0, 3)
    snapshot.held.extend(held)
    del held
    for _ in snapshot:
        pass
    del _
    gc.collect()
    assert [watch() for watch in watches] == [None, None, None]
    assert list(snapshot) == []
    assert len(snapshot) == 3


def test_entries_are_given_to_a_stage_while_chunks_arrive() -> None:
    sink = MemorySink()
    assembly = SnapshotAssembly(sink)
    body = kevysnap(Entry(b"%d" % number, "string", b"v" * 100) for number in range(1000))
    assembly.begin()
    counts = []
    for at in range(0, len(body), 20_000):
        assembly.feed(body[at : at + 20_000])
        counts.append(assembly.count)
    assert counts[0] > 100
    assert counts == sorted(counts)
    assert counts[-1] == 1000
    assert sink.keyspace() == {}
    assembly.abort()
    assert sink.keyspace() == {}


def body_of_version_6() -> bytes:
    return b"".join(write_snapshot(FIELDS_EXPIRE, version=6))


@pytest.mark.parametrize("piece_bytes", [1, 8, 9, 100, 65536])
def test_the_expiries_of_fields_reach_the_entries_that_they_belong_to(piece_bytes: int) -> None:
    class Holding(RecordingSink):
        def load(self, snapshot: Snapshot) -> None:
            self.held = list(snapshot)

    sink = Holding()
    snapshot = assemble(sink, body_of_version_6(), piece_bytes)
    assert sink.held == FIELDS_EXPIRE
    assert snapshot.count == 3
    assemble(sink, body_of_kevy_5_4(), piece_bytes)
    assert sink.held[0].field_expiries == dict.fromkeys((b"a", b"b"), 0x01A2405AF419)


def test_the_full_sync_of_a_real_kevy_5_4_whose_fields_expire_reaches_the_store() -> None:
    sink = MemorySink()
    assembly = SnapshotAssembly(sink)
    for kind, *item in converse(kevy(2), pieces_of(recorded("kevy-5.4-snapshot-6"), 50)).events:
        if kind == "begin":
            assembly.begin()
        elif kind == "chunk":
            assembly.feed(item[0])
        else:
            assert (kind, assembly.finish(item[0]).applied_offset) == ("end", 3)
    assert sorted(sink.keyspace()) == [b"h", b"s", b"x"]
    assert sink.client().hpttl("h", "c") == [-1]
    assert sink.client().hpttl("h", "a")[0] > 0


def test_a_store_in_memory_lets_the_fields_expire_that_do_upstream() -> None:
    sink = MemorySink()
    assemble(sink, body_of_kevy_5_4(), 1000)
    client = sink.client()
    assert client.hpexpiretime("h", "a", "b", "c") == [0x01A2405AF419, 0x01A2405AF419, -1]
    assert sink.keyspace()[b"h"].field_expiries == dict.fromkeys((b"a", b"b"), 0x01A2405AF419)
    sink.apply(9, [b"HPERSIST", b"h", b"FIELDS", b"1", b"a"])
    assert sink.keyspace()[b"h"].field_expiries == {b"b": 0x01A2405AF419}


def test_expiries_of_fields_survive_in_jsonl_and_sqlite(tmp_path: Path) -> None:
    lines = JsonlSink(tmp_path / "lines")
    assemble(lines, body_of_kevy_5_4(), 100)
    lines.close()
    [first, *_] = (tmp_path / "lines/generation-000001/snapshot-000001.jsonl").read_text().splitlines()
    assert json.loads(first)["value"] == [["a", "1", 0x01A2405AF419], ["b", "2", 0x01A2405AF419], ["c", "3"]]
    assert entry_of(json.loads(first)).field_expiries == dict.fromkeys((b"a", b"b"), 0x01A2405AF419)
    file = SqliteSink(tmp_path / "a.db")
    assemble(file, body_of_kevy_5_4(), 100)
    file.apply(9, [b"HPERSIST", b"h", b"FIELDS", b"1", b"a"])
    file.close()
    again = SqliteFile(tmp_path / "a.db")
    [found] = [entry for entry in again.entries() if entry.key == b"h"]
    again.close()
    assert (found.value[b"c"], found.field_expiries) == (b"3", {b"b": 0x01A2405AF419})


def fill(client: Any) -> None:
    client.set("string", b"\x00\xff\r\n")
    client.set("number", 12345)
    client.set("negative", -3)
    client.set("", "an empty key")
    client.set("compressed", "x" * 5000)
    client.hset("hash", mapping={"f": "1", "g": b"\xfe"})
    client.hset("large hash", mapping={f"f{i}": "v" * 70 for i in range(600)})
    client.rpush("list", *range(300))
    client.rpush("list of long ones", "a" * 9000, "b")
    client.sadd("integers", 1, 2, 70000)
    client.sadd("members", "x", "y")
    client.zadd("scores", {"a": 1.5, "b": float("inf"), "c": float("-inf"), "d": -0.1})
    client.zadd("many scores", {f"{i}" * 30: i / 3 for i in range(300)})
    client.set("expires", "1", px=10_000_000)


def saved_rdb(server: RedisServer) -> bytes:
    server.client().save()
    return (server.directory / "dump.rdb").read_bytes()


def test_an_rdb_of_a_real_redis_gives_its_keyspace(start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis()
    fill(server.client())
    fill(server.client(db=9))
    server.client(db=9).delete("string")
    sink = MemorySink()
    body = saved_rdb(server)
    for piece_bytes in (1000, 65536):
        snapshot = assemble(sink, body, piece_bytes, ack_offset=77)
        assert (snapshot.format, snapshot.skipped, snapshot.applied_offset) == ("rdb", 0, 77)
        assert sink.databases == [0, 9]
        for db in (0, 9):
            assert differences(comparable(sink.keyspace(db)), read_keyspace(server.client(db=db))) == []


def test_keys_of_an_rdb_that_cannot_be_decoded_are_counted_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    body = rdb_of(module_value(b"graph"), b"\x00\x01a\x011", database(3), module_value(b"graph"))
    sink = MemorySink()
    snapshot = assemble(sink, body, 100)
    assert list(sink.keyspace()) == [b"a"]
    assert (snapshot.count, snapshot.skipped) == (1, 2)
    assert "the snapshot was read without 2 keys of type vectorset ('graph', 'graph' in database 3)" in caplog.text


def test_an_rdb_cut_anywhere_is_an_error_and_changes_nothing(start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis()
    server.client().set("a", "1")
    server.client().rpush("b", *range(50))
    body = saved_rdb(server)
    sink = MemorySink()
    assemble(sink, strings(old="1"), 100)
    for cut in range(len(body)):
        with pytest.raises(SnapshotError):
            assemble(sink, body[:cut], 50)
    assert list(sink.keyspace()) == [b"old"]


def test_a_stop_inside_a_long_load_abandons_it() -> None:
    body = body_of_kevy_5_4()  # read a second time at the end, because its fields may expire
    sink = MemorySink()
    assemble(sink, strings(old="1"), 100)
    assembly = SnapshotAssembly(sink)
    assembly.begin()
    assembly.feed(body)
    with pytest.raises(StopAsked):
        assembly.finish(5, lambda: True)
    assert list(sink.keyspace()) == [b"old"]
    assert not assembly.in_progress


def test_nothing_of_a_spooled_snapshot_is_left_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = body_of_kevy_5_4()
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spool))
    assembly = SnapshotAssembly(RecordingSink())
    assembly.begin()
    assembly.feed(body)
    assert list(spool.iterdir()) == []
    assembly.abort()
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize("options", [(), ("--databases", "1")])
def test_a_redis_without_expiries_of_fields_gets_the_hash_and_the_loss_is_named(
    start_redis: Callable[..., RedisServer], options: tuple[str, ...]
) -> None:
    server = start_redis(*options)
    sink = RedisSink(server.url)
    assemble(sink, body_of_kevy_5_4(), 100)
    assert server.client().hgetall("h") == {b"a": b"1", b"b": b"2", b"c": b"3"}
    assert sink.refusals.count == 1
    assert sink.refusals.first is not None
    assert sink.refusals.first.reply.startswith("2 expiries of fields of b'h' are lost")
    sink.close()
