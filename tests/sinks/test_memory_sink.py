"""The memory sink: its databases behave like a real Redis that gets the same commands."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from kevy_ring import Frame, ReplicaInboxReceiver, ReplicaInboxSender
from kevy_ring.replica.snapshots.entry import Entry, Stream, StreamGroup
from kevy_ring.shard import Shard, Snapshot
from kevy_ring.shard.sinks.memory import MemorySink
from kevy_ring.shard.sinks.store.shortcut_probe import usable_shortcuts
from kevy_ring.shard.sinks.store.shortcuts import SHORTCUTS
from kevy_ring.shard.sinks.store.store import REFUSED, Store
from keyspaces import comparable, differences
from random_commands import random_command
from real_replica import recorded_stream
from redis_server import RedisServer, read_keyspace, redis_version, start_redis
from snapshot_events import kevysnap, snapshot_events

__all__ = ["redis_version", "start_redis"]

Pair = tuple[ReplicaInboxSender, ReplicaInboxReceiver]


pytestmark = pytest.mark.ring_bytes(4 << 20)


def apply_all(sink: MemorySink, *commands: bytes) -> None:
    for offset, command in enumerate(commands):
        sink.apply(offset, command.split())


def apply_batch(sink: MemorySink, pair: Pair, commands: list[list[bytes]]) -> None:
    sender, receiver = pair
    shard = Shard(receiver, sink)
    sender.send_many([Frame(offset, argv) for offset, argv in enumerate(commands)])
    while shard.tick():
        pass


def test_every_type_can_be_read_back() -> None:
    sink = MemorySink()
    apply_all(
        *(sink, b"SET s v", b"HSET h f 1 g 2", b"RPUSH l b a b", b"SADD t x y", b"ZADD z 1.5 a -inf b"),
        *(b"XADD x 5-1 a 1 a 2", b"PEXPIREAT s 4000000000123"),
    )
    assert sink.keyspace() == {
        b"s": Entry(b"s", "string", b"v", 4_000_000_000_123),
        b"h": Entry(b"h", "hash", {b"f": b"1", b"g": b"2"}),
        b"l": Entry(b"l", "list", [b"b", b"a", b"b"]),
        b"t": Entry(b"t", "set", {b"x", b"y"}),
        b"z": Entry(b"z", "zset", {b"a": 1.5, b"b": float("-inf")}),
        b"x": Entry(b"x", "stream", Stream((5, 1), (0, 0), 1, [(5, 1, [(b"a", b"1"), (b"a", b"2")])])),
    }


def test_a_keyspace_is_a_copy() -> None:
    sink = MemorySink()
    apply_all(sink, b"HSET h f 1", b"RPUSH l a", b"SADD t x", b"ZADD z 1 a")
    for entry in sink.keyspace().values():
        entry.value.clear()
    assert [len(entry.value) for entry in sink.keyspace().values()] == [1, 1, 1, 1]


def test_select_chooses_the_database_beyond_the_sixteenth_too() -> None:
    sink = MemorySink()
    apply_all(
        sink, b"SET a 0", b"SELECT 5", b"SET a 5", b"EXPIRE a 1000", b"SELECT 99", b"SET a 99", b"SELECT 0", b"DEL b"
    )
    assert sink.databases == [0, 5, 99]
    assert [sink.keyspace(db)[b"a"].value for db in (0, 5, 99)] == [b"0", b"5", b"99"]
    expires_at_ms = sink.keyspace(5)[b"a"].expires_at_ms
    assert expires_at_ms is not None
    assert abs(expires_at_ms / 1000 - time.time() - 1000) < 60


def test_readers_see_no_key_whose_time_has_come() -> None:
    sink = MemorySink()
    past_ms = int(time.time() * 1000) - 10
    apply_all(sink, b"SET a 1", b"PEXPIREAT a %d" % past_ms, b"SET b 1 PX 30", b"SET c 1")
    assert b"a" not in sink.keyspace()
    deadline = time.monotonic() + 60
    while b"b" in sink.keyspace() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert list(sink.keyspace()) == [b"c"]


def test_entries_of_a_snapshot_may_have_expired_already() -> None:
    sink = MemorySink()
    stage = sink.stage()
    stage.add([Entry(b"old", "string", b"1", 1000), Entry(b"new", "string", b"1", 4_000_000_000_000)])
    stage.commit(Snapshot("kevysnap", 1, 0, 2))
    assert list(sink.keyspace()) == [b"new"]


def test_a_stream_of_a_snapshot_goes_on_where_it_stood() -> None:
    group = StreamGroup(b"g", (5, 1), [(b"c", 7)], [(5, 1, b"c", 9, 2)])
    stream = Stream((9, 3), (8, 0), 12, [(5, 1, [(b"a", b"1")]), (7, 1, [(b"b", b"")])], [group])
    sink = MemorySink()
    stage = sink.stage()
    stage.add([Entry(b"x", "stream", stream)])
    stage.commit(Snapshot("kevysnap", 1, 0, 1))
    assert sink.keyspace()[b"x"].value == stream
    apply_all(sink, b"XADD x 9-3 a b")
    assert sink.refusals.count == 1
    apply_all(sink, b"XADD x 9-4 a b", b"XACK x g 5-1")
    after = sink.keyspace()[b"x"].value
    assert (after.last_id, after.entries_added, len(after.entries)) == ((9, 4), 13, 3)
    assert after.groups[0].pending == []


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_command_about_the_connection_or_the_server_cannot_spoil_the_store(name: bytes) -> None:
    sink = MemorySink()
    apply_all(sink, name + b" a", name.lower() + b" REPLY OFF", name, b"SET a 1")
    assert sink.refusals.count == 3
    assert list(sink.keyspace()) == [b"a"]


@pytest.mark.parametrize("command", [b"BLPOP l 0", b"BRPOPLPUSH l m 0", b"XREAD BLOCK 0 STREAMS x $", b"BZPOPMIN z 0"])
def test_no_command_ever_waits(command: bytes) -> None:
    sink = MemorySink()
    apply_all(sink, b"XADD x 1-1 a b", command, b"SET a 1")
    assert b"a" in sink.keyspace()


def test_a_pickle_is_never_loaded() -> None:
    import hashlib
    import pickle

    pickled = pickle.dumps(b"v")
    sink = MemorySink()
    sink.apply(0, [b"RESTORE", b"k", b"0", hashlib.sha1(pickled).digest() + pickled])
    assert sink.keyspace() == {}
    assert sink.refusals.count == 1


@pytest.mark.parametrize(
    "script",
    [
        "return python.eval('1')",
        "return tostring(redis.call.__globals__)",
        "return tostring(cjson.null.__class__)",
        "return io.open('/etc/passwd')",
        "return os.getenv('HOME')",
        "return require('os')",
        "return debug.getregistry()",
        "return getmetatable(redis.call).__index",
    ],
)
def test_a_script_cannot_reach_python_or_the_machine(script: str) -> None:
    sink = MemorySink()
    sink.apply(0, [b"EVAL", script.encode(), b"0"])
    sink.apply(
        1, [b"EVAL", b"redis.call('SET', 'k', " + script.encode().removeprefix(b"return ") + b") return 1", b"0"]
    )
    assert sink.keyspace() == {}
    assert sink.refusals.count >= 1


def test_a_script_may_call_redis_and_compute() -> None:
    sink = MemorySink()
    script = b"redis.call('SET', KEYS[1], cjson.encode({ARGV[1], math.floor(2.5)})) return redis.call('GET', KEYS[1])"
    sink.apply(0, [b"EVAL", script, b"1", b"k", b"x"])
    assert sink.refusals.first is None
    assert sink.keyspace()[b"k"].value == b'["x",2]'


def test_restore_takes_the_dump_of_a_real_redis(start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis()
    client = server.client()
    client.zadd("z", {"a": 1.5, "b": 2})
    client.set("s", "v")
    sink = MemorySink()
    sink.apply(0, [b"RESTORE", b"z", b"0", client.dump("z")])
    sink.apply(1, [b"RESTORE", b"s", b"4000000000000", client.dump("s"), b"ABSTTL"])
    sink.apply(2, [b"RESTORE", b"s", b"0", client.dump("z")])
    assert sink.keyspace()[b"z"] == Entry(b"z", "zset", {b"a": 1.5, b"b": 2.0})
    assert sink.keyspace()[b"s"] == Entry(b"s", "string", b"v", 4_000_000_000_000)
    assert sink.refusals.count == 1
    sink.apply(3, [b"RESTORE", b"s", b"0", client.dump("z"), b"REPLACE"])
    assert sink.keyspace()[b"s"].type == "zset"


def test_a_copy_of_a_key_is_a_key_of_its_own() -> None:
    sink = MemorySink()
    apply_all(sink, b"RPUSH l a", b"COPY l m", b"RPUSH l b", b"RPUSH m c", b"COPY l m REPLACE", b"LPOP m")
    assert [sink.keyspace()[key].value for key in (b"l", b"m")] == [[b"a", b"b"], [b"b"]]


def test_flushing_takes_its_options() -> None:
    for option in (b"", b" SYNC", b" ASYNC", b" sync"):
        sink = MemorySink()
        apply_all(sink, b"SET a 1", b"SELECT 1", b"SET b 1", b"FLUSHDB" + option)
        assert sink.databases == [0]
        apply_all(sink, b"FLUSHALL" + option)
        assert sink.databases == []
        assert sink.refusals.count == 0


def test_a_client_sees_what_is_applied_and_every_swap() -> None:
    sink = MemorySink()
    client = sink.client()
    apply_all(sink, b"SET a 1", b"RPUSH l x y")
    assert client.get("a") == b"1"
    assert client.lrange("l", 0, -1) == [b"x", b"y"]
    stage = sink.stage()
    stage.add([Entry(b"b", "string", b"2")])
    assert client.keys() != [b"b"]
    stage.commit(Snapshot("kevysnap", 1, 0, 1))
    assert client.keys() == [b"b"]
    apply_all(sink, b"INCR b")
    assert client.get("b") == b"3"


def test_the_shortcuts_agree_with_the_installed_fakeredis() -> None:
    assert usable_shortcuts() is SHORTCUTS


_KEYS = st.sampled_from([b"a", b"b", b"c"])
_VALUES = st.sampled_from([b"", b"1", b"-3", b"07", b"1.5", b"inf", b"x", b"\x00\xff", b"9223372036854775807"])
_PLAIN = st.one_of(
    st.tuples(
        st.sampled_from([b"SET", b"APPEND", b"SADD", b"SREM", b"HDEL", b"ZREM", b"RPUSH", b"LPUSH"]), _KEYS, _VALUES
    ),
    st.tuples(
        st.sampled_from([b"HSET", b"ZADD", b"SADD", b"RPUSH", b"LPUSH", b"SREM", b"HDEL"]), _KEYS, _VALUES, _VALUES
    ),
    st.tuples(st.sampled_from([b"HSET", b"ZADD"]), _KEYS, _VALUES, _VALUES, _VALUES, _VALUES),
    st.tuples(st.sampled_from([b"INCR", b"DECR", b"LPOP", b"RPOP", b"DEL", b"UNLINK", b"PERSIST"]), _KEYS),
    st.tuples(st.sampled_from([b"INCRBY", b"DECRBY", b"LPOP", b"DEL"]), _KEYS, _VALUES),
    st.tuples(st.just(b"SET"), _KEYS, _VALUES, st.sampled_from([b"EXAT", b"PXAT", b"EX", b"KEEPTTL"]), _VALUES),
    st.tuples(
        st.sampled_from([b"EXPIREAT", b"PEXPIREAT"]), _KEYS, st.sampled_from([b"1", b"99999999999", b"-1", b"x"])
    ),
    st.tuples(st.just(b"HPEXPIREAT"), _KEYS, st.just(b"99999999999999"), st.just(b"FIELDS"), st.just(b"1"), _VALUES),
    st.sampled_from([(b"MULTI",), (b"EXEC",), (b"SELECT", b"1"), (b"SELECT", b"0"), (b"set", b"a", b"1"), (b"SET",)]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_PLAIN, max_size=60))
def test_a_shortcut_does_what_the_ordinary_way_does(commands: list[tuple[bytes, ...]]) -> None:
    stores = [Store(SHORTCUTS), Store({})]
    refused: list[list[Any]] = [[], []]
    for store, errors in zip(stores, refused, strict=True):
        store.set_clock()
        for argv in commands:
            # Each store reads its own clock for a relative expiry.
            errors.append(store.run(list(argv)))
    assert refused[0] == refused[1]
    for db in (0, 1):
        one, other = (comparable({entry.key: entry for entry in store.entries(db)}) for store in stores)
        assert differences(one, other) == []


@pytest.mark.parametrize("seed", range(3))
def test_a_replica_of_random_commands_equals_a_real_redis(
    start_redis: Callable[..., RedisServer], pair: Pair, seed: int
) -> None:
    server = start_redis()
    choose = random.Random(seed)

    def write() -> None:
        connection = server.client().connection_pool.get_connection()
        open_transaction = False
        for command in [*(random_command(choose) for _ in range(1500)), [b"EXEC"]]:
            if command in ([b"MULTI"], [b"EXEC"]):
                if open_transaction is not (command == [b"EXEC"]):
                    continue
                open_transaction = not open_transaction
            connection.send_command(*command)
            with suppress(redis.ResponseError):
                connection.read_response()

    commands = recorded_stream(server, write)
    sink = MemorySink()
    apply_batch(sink, pair, commands)
    for db in (0, 1):
        assert differences(comparable(sink.keyspace(db)), read_keyspace(server.client(db=db))) == []


def test_a_snapshot_of_many_entries_of_every_type_equals_its_entries(pair: Pair) -> None:
    sender, receiver = pair
    choose = random.Random(4)
    makers: list[Callable[[], tuple[str, Any]]] = [
        lambda: ("string", choose.randbytes(choose.randrange(100))),
        lambda: ("hash", {b"f%d" % at: choose.randbytes(9) for at in range(choose.randrange(1, 20))}),
        lambda: ("list", [choose.randbytes(9) for _ in range(choose.randrange(1, 20))]),
        lambda: ("set", {choose.randbytes(9) for _ in range(choose.randrange(1, 20))}),
        lambda: ("zset", {choose.randbytes(9): choose.random() for _ in range(choose.randrange(1, 20))}),
    ]
    entries = [Entry(b"k%d" % number, *choose.choice(makers)()) for number in range(3000)]
    sink = MemorySink()
    shard = Shard(receiver, sink)
    sender.send_many(snapshot_events(kevysnap(entries), 1))
    while shard.tick():
        pass
    assert sink.keyspace() == {entry.key: entry for entry in entries}
    client = sink.client()
    for entry in entries[:50]:
        if entry.type == "zset":
            assert client.zrange(entry.key, 0, 0) == [
                min(entry.value, key=lambda member: (entry.value[member], member))
            ]
