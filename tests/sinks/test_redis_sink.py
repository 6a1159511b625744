"""The redis sink with real servers: pipelines, transactions, swapped snapshots, and servers that refuse its writes."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from draining import drain
from kevy_ring import Frame, ReplicaInboxReceiver, ReplicaInboxSender
from kevy_ring.errors import SinkError
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard import Shard, Snapshot, sink_from_url
from kevy_ring.shard.sinks.options import SinkOptions
from kevy_ring.shard.sinks.redis.command_pipeline import PIPELINE_BYTES, CommandPipeline
from kevy_ring.shard.sinks.redis.sink import RedisSink
from kevy_ring.shard.sinks.redis.spare_databases import LOCK, MARK
from kevy_ring.shard.sinks.redis.target import Target
from kevy_ring.shard.sinks.redis.target_mark import is_mark
from redis_server import Comparable, RedisServer, read_keyspace, redis_version, start_redis
from snapshot_events import kevysnap, snapshot_events, strings

__all__ = ["redis_version", "start_redis"]

Pair = tuple[ReplicaInboxSender, ReplicaInboxReceiver]
Start = Callable[..., RedisServer]


pytestmark = pytest.mark.ring_bytes(4 << 20)


def drain_and_close(shard: Shard) -> None:
    drain(shard)
    shard.close()


def frames(*commands: bytes) -> list[Frame]:
    return [Frame(offset, command.split()) for offset, command in enumerate(commands)]


REPLACE = SinkOptions(replace_target=True)


def keyspace(server: RedisServer, db: int = 0) -> dict[bytes, Comparable]:
    """All keys without the marks, which test_redis_target tests."""
    return {key: found for key, found in read_keyspace(server.client(db=db)).items() if not is_mark(key)}


def values(server: RedisServer, db: int = 0) -> dict[bytes, Any]:
    return {key: value for key, (_, value, _) in keyspace(server, db).items()}


def test_a_batch_is_sent_as_the_core_writes_it_unless_a_command_has_to_change(
    pair: Pair, start_redis: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(batch: object) -> None:
        raise AssertionError("frame by frame")

    monkeypatch.setattr("kevy_ring.shard.sinks.redis.sink.owned_frames", refuse)
    sender, receiver = pair
    server = start_redis()
    sink = RedisSink(server.url)
    shard = Shard(receiver, sink)
    sender.send_many(
        frames(b"SET a 1", b"multi", b"INCR a", b"EXPIRE a 1000", b"exec", b"select 2", b"SET b 1", b"MOVE b 3")
    )
    drain_and_close(shard)
    assert [values(server, db) for db in (0, 2, 3)] == [{b"a": b"2"}, {}, {b"b": b"1"}]
    assert (sink.in_transaction, sink.refusals.count, sender.applied_offset) == (False, 0, 7)
    sender.send(Frame(8, [b"FLUSHALL"]))
    with pytest.raises(AssertionError, match="frame by frame"):
        drain(shard)
    sink.close()


def test_a_value_larger_than_a_pipeline_is_forwarded(pair: Pair, start_redis: Start) -> None:
    sender, receiver = pair
    server = start_redis()
    sink = RedisSink(server.url)
    big = random.Random(1).randbytes(PIPELINE_BYTES * 17 + 1)
    sender.send_many([Frame(0, [b"SET", b"a", big]), Frame(1, [b"SET", b"b", b"1"])])
    drain_and_close(Shard(receiver, sink))
    assert values(server) == {b"a": big, b"b": b"1"}
    sink.close()


def test_a_snapshot_is_seen_whole_or_not_at_all(pair: Pair, start_redis: Start) -> None:
    sender, receiver = pair
    server = start_redis()
    server.client().mset({f"old{number}": "old" for number in range(2000)})
    sink = RedisSink(server.url, options=REPLACE)
    sink.claim()
    shard = Shard(receiver, sink)
    body = kevysnap(Entry(b"k%d" % number, "string", b"new") for number in range(3000))
    sizes = set()
    stop = threading.Event()

    def look() -> None:
        client = server.client()
        while not stop.is_set():
            sizes.add(client.dbsize())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        sender.send_many(snapshot_events(body, 5, 1000))
        drain_and_close(shard)
    finally:
        stop.set()
        looking.join()
    sizes.add(server.client().dbsize())
    assert sizes == {2002, 3002}  # the mark always consists of two keys
    sink.close()


def test_an_abandoned_snapshot_leaves_the_server_as_it_was(pair: Pair, start_redis: Start) -> None:
    sender, receiver = pair
    server = start_redis()
    sink = RedisSink(server.url)
    shard = Shard(receiver, sink)
    sender.send_many([*frames(b"SELECT 2", b"SET a 1"), *snapshot_events(strings(b="1"), 5)[:-1]])
    drain(shard)
    assert sorted(server.client().info("keyspace")) == ["db0", "db15", "db2"]
    sender.close()
    assert shard.run(lambda: False).snapshot_unfinished
    assert values(server, 2) == {b"a": b"1"}
    assert list(server.client().info("keyspace")) == ["db0", "db2"]
    assert values(server) == {}
    sink.close()


def test_with_a_database_in_the_url_only_that_one_is_touched(pair: Pair, start_redis: Start) -> None:
    sender, receiver = pair
    server = start_redis()
    for db in (0, 1, 3, 15):
        server.client(db=db).set("mine", db)
    sink = RedisSink(f"{server.url}/3", options=REPLACE)
    shard = Shard(receiver, sink)
    sender.send_many([*frames(b"SELECT 0", b"SET a 1"), *snapshot_events(strings(b="1"), 5), Frame(5, [b"INCR", b"b"])])
    drain_and_close(shard)
    assert values(server, 3) == {b"b": b"2"}
    assert [values(server, db) for db in (0, 1, 15)] == [{b"mine": b"0"}, {b"mine": b"1"}, {b"mine": b"15"}]
    sender.send_many([*snapshot_events(strings(), 6), Frame(6, [b"INCR", b"n"])])
    drain_and_close(shard)
    assert values(server, 3) == {b"n": b"1"}
    sender.send(Frame(7, [b"SELECT", b"1"]))
    with pytest.raises(SinkError, match="a URL without a database takes them all"):
        drain_and_close(shard)
    assert len(server.client().info("keyspace")) == 4
    sink.close()


def test_two_shards_fill_databases_of_one_server(start_redis: Start) -> None:
    server = start_redis()
    sinks = [sink_from_url(f"{server.url}/{{shard}}", shard=shard, shards=2) for shard in range(2)]
    stages = [sink.stage() for sink in sinks]  # type: ignore[attr-defined]
    for shard, stage in enumerate(stages):
        stage.add([Entry(b"%d:%d" % (shard, number), "string", b"v") for number in range(100)])
    for stage in stages:
        stage.add([Entry(b"last", "string", b"v")])
    for stage in reversed(stages):
        stage.commit(Snapshot("rdb", 0, 0, 0))
    assert [len(values(server, db)) for db in (0, 1)] == [101, 101]
    assert sorted(server.client().info("keyspace")) == ["db0", "db1"]
    for sink in sinks:
        sink.close()


def test_a_snapshot_of_more_databases_than_are_spare_is_loaded_all_the_same(start_redis: Start) -> None:
    server = start_redis("--databases", "4")
    server.client(db=1).set("old", "1")
    sink = RedisSink(server.url, options=REPLACE)
    stage = sink.stage()
    stage.add([Entry(b"a", "string", b"%d" % db, None, db) for db in (0, 3, 2, 1)])
    stage.add([Entry(b"b", "list", [b"%d" % db], None, db) for db in (3, 1, 0, 2)])
    stage.commit(Snapshot("rdb", 0, 0, 0))
    assert [values(server, db) for db in range(4)] == [{b"a": b"%d" % db, b"b": [b"%d" % db]} for db in range(4)]
    sink.close()


@pytest.mark.parametrize("options", [("--databases", "1"), ("--rename-command", "SWAPDB", "")])
def test_without_spare_databases_the_load_is_one_transaction(start_redis: Start, options: tuple[str, ...]) -> None:
    server = start_redis(*options)
    server.client().set("old", "1")
    sink = RedisSink(server.url, options=REPLACE)
    stage = sink.stage()
    stage.add([Entry(b"a", "string", b"1"), Entry(b"b", "hash", {b"f": b"1"})])
    assert values(server) == {b"old": b"1"}
    stage.commit(Snapshot("rdb", 0, 0, 0))
    assert values(server) == {b"a": b"1", b"b": {b"f": b"1"}}
    sink.close()


def test_a_server_that_hides_its_configuration_is_filled_all_the_same(start_redis: Start) -> None:
    server = start_redis("--rename-command", "CONFIG", "")
    sink = RedisSink(server.url)
    stage = sink.stage()
    stage.add([Entry(b"a", "string", b"1")])
    stage.commit(Snapshot("rdb", 0, 0, 0))
    assert values(server) == {b"a": b"1"}
    sink.close()


def test_what_a_killed_load_left_is_emptied_by_the_next(start_redis: Start) -> None:
    server = start_redis()
    left = RedisSink(server.url)
    left.stage().add([Entry(b"a", "string", b"1")])
    server.client(db=15).delete(LOCK)
    assert server.client(db=15).exists(MARK)
    mine = RedisSink(f"{server.url}/0")
    stage = mine.stage()
    stage.add([Entry(b"b", "string", b"2")])
    assert server.client(db=15).exists(LOCK)
    stage.commit(Snapshot("rdb", 0, 0, 0))
    assert values(server) == {b"b": b"2"}
    assert list(server.client().info("keyspace")) == ["db0"]
    mine.close()


def test_a_database_that_somebody_else_fills_is_not_claimed(start_redis: Start) -> None:
    server = start_redis()
    held = RedisSink(f"{server.url}/0").stage()
    held.add([Entry(b"a", "string", b"1")])
    server.client(db=14).set("theirs", "1")
    other = RedisSink(f"{server.url}/1")
    stage = other.stage()
    stage.add([Entry(b"b", "string", b"2")])
    assert sorted(server.client().info("keyspace")) == ["db0", "db1", "db13", "db14", "db15"]
    stage.commit(Snapshot("rdb", 0, 0, 0))
    held.commit(Snapshot("rdb", 0, 0, 0))
    assert sorted(server.client().info("keyspace")) == ["db0", "db1", "db14"]
    other.close()


def test_claims_are_renewed_in_a_long_load(start_redis: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start_redis()
    sink = RedisSink(server.url)
    stage = sink.stage()
    stage.add([Entry(b"a", "string", b"1")])
    server.client(db=15).expire(LOCK, 5)
    monkeypatch.setattr("kevy_ring.shard.sinks.redis.spare_databases._RENEW_S", 0.0)
    stage.add([Entry(b"b", "string", b"2"), Entry(b"c", "string", b"3", None, 4)])
    stage.add([Entry(b"d", "string", b"4")])
    assert server.client(db=15).ttl(LOCK) > 100
    stage.commit(Snapshot("rdb", 0, 0, 0))
    assert values(server) == {b"a": b"1", b"b": b"2", b"d": b"4"}
    assert values(server, 4) == {b"c": b"3"}
    sink.close()


def test_a_server_that_does_not_take_writes_stops_the_shard_and_nothing_is_marked(
    pair: Pair, start_redis: Start
) -> None:
    sender, receiver = pair
    server = start_redis()
    sink = RedisSink(server.url)
    sink.claim()
    server.client().execute_command("REPLICAOF", "127.0.0.1", "1")
    sender.send_many(frames(b"SET a 1", b"SET b 1"))
    with pytest.raises(SinkError) as raised:
        drain_and_close(Shard(receiver, sink))
    assert raised.value.reason == "refused"
    assert "READONLY" in raised.value.detail
    assert sender.applied_offset is None


def test_a_server_that_is_gone_is_a_typed_error_at_once_and_ever_after(pair: Pair, start_redis: Start) -> None:
    sender, receiver = pair
    server = start_redis()
    sink = RedisSink(server.url)
    shard = Shard(receiver, sink)
    sender.send_many(frames(b"SET a 1"))
    drain_and_close(shard)
    server.stop()
    sender.send(Frame(1, [b"SET", b"b", b"1"]))
    for _ in range(2):
        with pytest.raises(SinkError) as raised:
            drain_and_close(shard)
        assert raised.value.reason == "io"
    assert sender.applied_offset == 0
    with pytest.raises(SinkError):
        RedisSink(server.url)


def test_a_server_that_does_not_answer_is_a_timeout(start_redis: Start) -> None:
    server = start_redis()
    sink = RedisSink(server.url, timeout_s=0.2)
    sink.claim()
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        sink.apply(0, [b"SET", b"a", b"1"])
        for _ in range(2):
            with pytest.raises(SinkError) as raised:
                sink.flush()
            assert raised.value.reason == "timeout"
        with pytest.raises(SinkError) as raised:
            RedisSink(server.url, timeout_s=0.2)
        assert raised.value.reason == "timeout"
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


def test_no_error_shows_the_password(start_redis: Start) -> None:
    server = start_redis("--requirepass", "geheim")
    url = server.url.replace("redis://", "redis://:falsch@")
    with pytest.raises(SinkError) as raised:
        RedisSink(url)
    assert "falsch" not in str(raised.value)
    assert raised.value.reason == "refused"
    sink = RedisSink(server.url.replace("redis://", "redis://:geheim@"))
    assert "geheim" not in repr(sink.url) + str(sink.refusals.__dict__)
    sink.apply(0, [b"SET", b"a", b"1"])
    sink.close()
    assert server.client(password="geheim").get("a") == b"1"


def test_a_closed_sink_takes_nothing(start_redis: Start) -> None:
    sink = RedisSink(start_redis().url)
    sink.close()
    with pytest.raises(SinkError, match="closed"):
        sink.apply(0, [b"SET", b"a", b"1"])


def test_a_question_waits_for_the_replies_that_are_due(start_redis: Start) -> None:
    sink = RedisSink(start_redis().url)
    target: Target = sink._access.connect()
    pipeline = CommandPipeline()
    for _ in range(3):
        pipeline.append(None, [b"PING"])
    target.send(pipeline)
    assert target.ask(b"ECHO", b"a") == b"a"
    with pytest.raises(SinkError) as raised:
        target.ask(b"NOSUCH")
    assert raised.value.reason == "refused"
    assert target.ask(b"ECHO", b"b") == b"b"
    target.close()
    target.close()
    with pytest.raises(SinkError, match="closed"):
        target.ask(b"PING")
    sink.close()
