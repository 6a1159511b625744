"""Keys of a snapshot that the decoder cannot read are named, counted, and marked until a delete or a rewrite."""

from __future__ import annotations

import json
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from draining import drain
from kevy_ring import Frame, ReplicaInboxReceiver, ReplicaInboxSender
from kevy_ring.cli.compare.jsonl_keys import replayed
from kevy_ring.cli.compare.sqlite_keys import SqliteKeys
from kevy_ring.events import SnapshotBegin, SnapshotChunk, SnapshotEnd
from kevy_ring.inbox.header_words import ConsumerWord
from kevy_ring.shard import Shard
from kevy_ring.shard.sinks.jsonl import JsonlSink
from kevy_ring.shard.sinks.memory import MemorySink
from kevy_ring.shard.sinks.redis import RedisSink
from kevy_ring.shard.sinks.skipped_keys import SkippedKeys
from kevy_ring.shard.sinks.sqlite import SqliteSink
from kevy_ring.shard.snapshot import LeftOut, SkippedKey
from kevy_ring_command import RunningCommand, run_command
from places import SUPPORT
from rdb_bodies import database, function, module_value, rdb_of
from redis_server import StartServer, add_vectors, start_server

__all__ = ["start_server"]

Pair = tuple[ReplicaInboxSender, ReplicaInboxReceiver]
pytestmark = pytest.mark.ring_bytes(4 << 20)

LIBRARY = "#!lua name=%s\nredis.register_function('%s', function() return 1 end)%s"
OPAQUE = SkippedKey(0, b"x", "vectorset")


def test_up_to_twenty_names_of_each_type_are_told() -> None:
    left_out = LeftOut(
        keys=(*(SkippedKey(0, b"s%02d" % at, "stream") for at in range(25)), SkippedKey(3, b"v\xff", "vectorset")),
        functions=(b"lib", b"other"),
    )
    streams, vectors, functions = left_out.words()
    assert streams.startswith("25 keys of type stream ('s00', 's01', ")
    assert streams.endswith("'s19', ...)")
    assert vectors == r"1 key of type vectorset ('v\\xff' in database 3)"
    assert functions == "2 function libraries ('lib', 'other')"


# A command, the commands that are applied for it, whether it counts as refused, and the marks left. x begins marked.
ADMITTED = [
    ("XADD x 1-1 f v", [], True, ["0 x"]),
    ("EXPIRE x 100", [], True, ["0 x"]),
    ("XGROUP CREATE x g $", [], True, ["0 x"]),
    ("LMOVE a x LEFT RIGHT", [], True, ["0 x"]),
    ("EVAL script 2 a x b", [], True, ["0 x"]),
    ("EVAL script 1 a x b", ["EVAL script 1 a x b"], False, ["0 x"]),
    ("SET a x", ["SET a x"], False, ["0 x"]),
    ("XADD y 1-1 x v", ["XADD y 1-1 x v"], False, ["0 x"]),
    ("DEL a x", ["DEL a x"], False, []),
    ("UNLINK x", ["UNLINK x"], False, []),
    ("FLUSHDB", ["FLUSHDB"], False, []),
    ("FLUSHALL ASYNC", ["FLUSHALL ASYNC"], False, []),
    ("SWAPDB 0 4", ["SWAPDB 0 4"], False, ["4 x"]),
    ("SET x 1", ["SET x 1"], False, []),
    ("set x 1 XX PXAT 99", ["set x 1 PXAT 99"], False, []),
    ("SET x 1 KEEPTTL", [], True, ["0 x"]),
    ("SETEX x 10 1", ["SETEX x 10 1"], False, []),
    ("MSET a 1 x 2", ["MSET a 1 x 2"], False, []),
    ("RESTORE x 0 payload REPLACE", ["RESTORE x 0 payload REPLACE"], False, []),
    ("RESTORE x 0 payload", [], True, ["0 x"]),
    ("RESTORE-ASKING x 0 payload ABSTTL REPLACE", ["RESTORE-ASKING x 0 payload ABSTTL REPLACE"], False, []),
    ("RENAME a x", ["RENAME a x"], False, []),
    ("RENAME x a", ["DEL a"], True, ["0 a"]),
    ("COPY x a REPLACE", ["DEL a"], True, ["0 a", "0 x"]),
    ("COPY x a DB 2", ["SELECT 2", "DEL a", "SELECT 0"], True, ["0 x", "2 a"]),
    ("COPY a x REPLACE", ["COPY a x REPLACE"], False, []),
    ("MOVE x 5", [], True, ["5 x"]),
    ("SUNIONSTORE x a b", ["SUNIONSTORE x a b"], False, []),
    ("SUNIONSTORE a b x", ["DEL a"], True, ["0 a", "0 x"]),
    ("ZUNIONSTORE x 2 a b", ["ZUNIONSTORE x 2 a b"], False, []),
    ("ZUNIONSTORE a 1 b WEIGHTS x", ["ZUNIONSTORE a 1 b WEIGHTS x"], False, ["0 x"]),
    ("ZRANGESTORE x a 0 -1", ["ZRANGESTORE x a 0 -1"], False, []),
    ("SORT a STORE x", ["SORT a STORE x"], False, []),
    ("BITOP OR x a", ["BITOP OR x a"], False, []),
    ("MSETEX 2 a 1 x 2", [], True, ["0 x"]),
    ("PFMERGE a b x", [], True, ["0 x"]),
    ("TS.MADD a 1 2 x 1 2", [], True, ["0 x"]),
    ("PUBLISH x message", ["PUBLISH x message"], False, ["0 x"]),
    ("NOSUCH x", [], True, ["0 x"]),
    ("SELECT 1", ["SELECT 1"], False, ["0 x"]),
]


@pytest.mark.parametrize(("command", "applied", "is_refused", "left"), ADMITTED)
def test_a_mark_ends_with_what_deletes_or_rewrites_its_key(
    command: str, applied: list[str], is_refused: bool, left: list[str]
) -> None:
    marks = SkippedKeys([OPAQUE])
    commands, refusal = marks.admit(command.encode().split())
    assert [b" ".join(argv).decode() for argv in commands] == applied
    assert (refusal is not None) is is_refused
    assert sorted(f"{db} {key.decode()}" for db, key, _ in marks.listed()) == left
    if is_refused:
        assert "'x' (vectorset)" in str(refusal)


def test_a_mark_is_one_of_its_database() -> None:
    marks = SkippedKeys([OPAQUE])
    for text in ("SELECT 1", "XADD x 1-1 f v", "DEL x", "FLUSHDB"):
        assert marks.admit(text.encode().split()).refusal is None
    assert marks.listed() == [OPAQUE]
    marks.admit(b"SELECT 0".split())
    assert marks.admit(b"XADD x 1-1 f v".split()).refusal is not None


def snapshot_of(path: Path, offset: int = 1) -> list[Any]:
    return [SnapshotBegin(), SnapshotChunk(path.read_bytes()), SnapshotEnd(offset)]


def entries(sink: Any) -> dict[bytes, str]:
    return {key: entry.type for key, entry in sink.keyspace().items()}


LATER = [
    b"XADD x 9-1 f v", b"SET a 1", b"MULTI", b"XADD x 9-2 f v", b"INCR a", b"EXEC", b"RENAME x y", b"XADD y 9-3 f v",
    b"DEL y", b"XADD y 9-4 f v", b"XADD x 9-5 f v",
]  # fmt: skip
AFTER = {b"a": "string", b"x": "stream", b"y": "stream"}


@pytest.fixture
def rdb(tmp_path: Path) -> Path:
    path = tmp_path / "opaque.rdb"
    library = (LIBRARY % ("lib", "f", "")).encode()
    path.write_bytes(rdb_of(function(library), module_value(b"x"), database(3), module_value(b"elsewhere")))
    return path


def test_a_command_does_not_begin_a_skipped_key_again_in_memory(pair: Pair, rdb: Path) -> None:
    sender, receiver = pair
    sink = MemorySink()
    shard = Shard(receiver, sink)
    sender.send_many(snapshot_of(rdb))
    drain(shard)
    assert shard.left_out == LeftOut(keys=(OPAQUE, SkippedKey(3, b"elsewhere", "vectorset")), functions=(b"lib",))
    assert (shard.skipped, sink.skipped_keys) == (2, list(shard.left_out.keys))
    sender.send_many([Frame(at, text.split()) for at, text in enumerate(LATER, 2)])
    drain(shard)
    assert entries(sink) == AFTER
    assert [len(sink.keyspace()[key].value.entries) for key in (b"x", b"y")] == [1, 1]
    assert sink.keyspace()[b"a"].value == b"2"
    assert (sink.refusals.count, sink.refusals.on_skipped) == (4, 4)
    assert sink.skipped_keys == [SkippedKey(3, b"elsewhere", "vectorset")]
    words = receiver.stats().consumer_words
    assert (words[ConsumerWord.SKIPPED_KEYS], words[ConsumerWord.LEFT_OUT]) == (2, 1)
    assert words[ConsumerWord.REFUSALS] == 4


def test_marks_outlive_the_process_that_set_them_in_sqlite(pair: Pair, rdb: Path, tmp_path: Path) -> None:
    sender, receiver = pair
    path = tmp_path / "replica.db"
    refused = 0
    for events in (snapshot_of(rdb), *([Frame(at, text.split())] for at, text in enumerate(LATER, 2))):
        sender.send_many(events)
        with closing(SqliteSink(path)) as sink:
            shard = Shard(receiver, sink)
            drain(shard)
            shard.close()
            refused += sink.refusals.count
            assert shard.skipped == 2
    keys = SqliteKeys(path)
    assert {key: entry.type for page in keys.pages(0) for key, entry in page.items()} == AFTER
    assert refused == 4
    assert keys.skipped() == [SkippedKey(3, b"elsewhere", "vectorset")]
    assert receiver.stats().consumer_words[ConsumerWord.REFUSALS] == 4


def test_marks_are_in_the_files_of_jsonl_and_are_used_when_they_are_replayed(
    pair: Pair, rdb: Path, tmp_path: Path
) -> None:
    sender, receiver = pair
    with closing(JsonlSink(tmp_path / "changes")) as sink:
        shard = Shard(receiver, sink)
        sender.send_many([*snapshot_of(rdb), *(Frame(at, text.split()) for at, text in enumerate(LATER, 2))])
        drain(shard)
    lines = (tmp_path / "changes/generation-000001/snapshot-000001.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"snapshot": "skipped", "db": 0, "key": "x", "type": "vectorset"},
        {"snapshot": "skipped", "db": 3, "key": "elsewhere", "type": "vectorset"},
        {"snapshot": "skipped function", "name": "lib"},
        {"snapshot": "end", "format": "rdb", "ack_offset": 1, "entries": 0, "skipped": 2},
    ]
    store = replayed(tmp_path / "changes")
    assert entries(store) == AFTER
    assert store.skipped_keys == [SkippedKey(3, b"elsewhere", "vectorset")]


def test_a_command_does_not_begin_a_skipped_key_again_in_a_redis_target(
    pair: Pair, rdb: Path, start_server: StartServer
) -> None:
    sender, receiver = pair
    target = start_server()
    with closing(RedisSink(target.url)) as sink:
        shard = Shard(receiver, sink)
        sender.send_many(snapshot_of(rdb))
        drain(shard)
        sender.send_many([Frame(at, text.split()) for at, text in enumerate(LATER, 2)])
        drain(shard)
        shard.close()
        assert (sink.refusals.count, sink.refusals.on_skipped) == (4, 4)
        assert sink.skipped_keys == [SkippedKey(3, b"elsewhere", "vectorset")]
    client = target.client()
    assert {key: client.type(key).decode() for key in (b"a", b"x", b"y")} == AFTER
    assert (client.xlen("x"), client.xlen("y"), client.get("a")) == (1, 1, b"2")


def test_a_restored_value_that_cannot_be_read_marks_its_key(start_server: StartServer) -> None:
    client = start_server(name="redis 8.2").client()
    add_vectors(client, "v")
    sink = MemorySink()
    for offset, argv in enumerate([
        [b"SET", b"v", b"1"], [b"RESTORE", b"v", b"0", client.dump("v"), b"REPLACE"], [b"APPEND", b"v", b"2"],
    ]):  # fmt: skip
        sink.apply(offset, argv)
    assert sink.keyspace() == {}
    assert sink.skipped_keys == [SkippedKey(0, b"v", "vectorset")]
    assert (sink.refusals.count, sink.refusals.on_skipped) == (2, 1)
    sink.apply(9, [b"SET", b"v", b"3"])
    assert sink.keyspace()[b"v"].value == b"3"


SINKS = ["null", "memory", "jsonl:{tmp}/changes", "sqlite:{tmp}/replica.db", "redis", "python:cli_sinks:counting"]


@pytest.mark.parametrize("sink", SINKS)
def test_a_run_with_skipped_keys_exits_with_1_for_every_sink_and_names_them(
    start_server: StartServer, sink: str, tmp_path: Path
) -> None:
    server = start_server(name="redis 8.2")
    server.client().set("a", "1")
    add_vectors(server.client(), "orders")
    server.client().execute_command("FUNCTION", "LOAD", LIBRARY % ("lib", "f", ""))
    into = start_server().url if sink == "redis" else sink.format(tmp=tmp_path)
    options = ("ingest", server.url, "--sink", into, "--until-caught-up", "--json")
    done = run_command(*options, path=[SUPPORT])
    assert done.code == 1
    for named in ("1 key of type vectorset ('orders')", "1 function library ('lib')", "--allow-skipped"):
        assert named in done.err
    shard = done.summary["runs"][0]["shards"][0]
    assert (shard["skipped_keys"], len(shard["left_out"])) == (1, 2)
    allowed = run_command(*options, "--allow-skipped", path=[SUPPORT])
    assert allowed.code == 0
    assert "'orders'" in allowed.summary["runs"][0]["accepted"][0]


@pytest.mark.parametrize("sink", ["memory", "jsonl:{tmp}/changes", "sqlite:{tmp}/replica.db", "redis"])
def test_verify_tells_what_it_did_not_compare_and_fails_for_it(
    start_server: StartServer, sink: str, tmp_path: Path
) -> None:
    server = start_server(name="redis 8.2")
    server.client().set("a", "1")
    add_vectors(server.client(), "orders")
    into = start_server().url if sink == "redis" else sink.format(tmp=tmp_path)
    done = run_command("ingest", server.url, "--sink", into, "--verify", "--json")
    assert (done.code, done.summary["verified"]) == (1, False)
    comparison = done.summary["runs"][0]["comparison"]
    assert (comparison["equal"], comparison["keys"], comparison["skipped"]) == (True, 1, {"vectorset": 1})
    assert any("not compared: 1 key of type vectorset" in text for text in done.summary["runs"][0]["problems"])
    allowed = run_command("ingest", server.url, "--sink", into, "--verify", "--allow-skipped", "--json")
    assert (allowed.code, allowed.summary["verified"]) == (0, True)
    plain = run_command("ingest", server.url, "--sink", into, "--verify", "--allow-skipped")
    assert "not compared" in plain.out


@pytest.mark.parametrize("sink", ["memory", "sqlite:{tmp}/replica.db"])
def test_a_refused_command_is_shown_and_fails_the_run_and_its_verification(
    start_server: StartServer, sink: str, tmp_path: Path
) -> None:
    server = start_server(name="redis 8.2")
    client = server.client()
    client.set("a", "1")
    options = ("--sink", sink.format(tmp=tmp_path), "--verify", "--allow-skipped", "--json")
    with RunningCommand("ingest", server.url, *options, until_told=True) as running:
        running.read_until(lambda line: line["type"] == "progress" and line["shards"][0]["link"] == "streaming")
        add_vectors(client, "made")
        client.restore("copy", 0, client.dump("made"))
        client.delete("made", "copy")  # the keys are equal in the end
        running.read_until(lambda line: line["type"] == "progress" and line["shards"][0]["refusals"] == 2)
        running.end_duration()
        done = running.finish()
    assert done.code == 1
    assert "the sink refused 2 commands" in done.err
    summary = json.loads(done.out.splitlines()[-1])
    assert (summary["verified"], summary["runs"][0]["comparison"]["equal"]) == (False, True)
    assert "VADD" in summary["runs"][0]["shards"][0]["first_refusal"]


def test_a_refused_command_is_in_the_lines_of_the_log(start_server: StartServer) -> None:
    server = start_server(name="redis 8.2")
    client = server.client()
    client.set("a", "1")
    add_vectors(client, "made")
    with RunningCommand("ingest", server.url, "--sink", "memory", "--log-interval", "0.1") as running:
        running.read_log_until("1 streaming")
        client.restore("copy", 0, client.dump("made"))
        running.read_log_until("1 command refused, 1 key skipped")
        running.signal(signal.SIGINT)
        done = running.finish()
    assert done.code == 1
