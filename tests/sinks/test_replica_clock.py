"""A replica keeps expired keys until the primary sends DEL, like a real replica that gets the same commands."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from draining import drain
from kevy_ring import Frame, ReplicaInboxReceiver, ReplicaInboxSender
from kevy_ring.cli.compare.jsonl_keys import JsonlKeys, replayed
from kevy_ring.cli.compare.sqlite_keys import SqliteKeys
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard import Shard, Snapshot
from kevy_ring.shard.sinks.jsonl import JsonlSink
from kevy_ring.shard.sinks.memory import MemorySink
from kevy_ring.shard.sinks.options import SinkOptions
from kevy_ring.shard.sinks.redis import RedisSink
from kevy_ring.shard.sinks.sqlite import SqliteSink
from keyspaces import comparable, differences
from random_commands import KEYS, random_command, random_expiry
from real_replica import ScriptedPrimary, recorded_stream
from redis_server import RedisServer, find_redis, read_keyspace, redis_version, start_redis
from snapshot_events import kevysnap, snapshot_events

__all__ = ["redis_version", "start_redis"]

Pair = tuple[ReplicaInboxSender, ReplicaInboxReceiver]
Keyspace = dict[bytes, Entry]
pytestmark = pytest.mark.ring_bytes(4 << 20)


def in_memory(commands: list[list[bytes]], pair: Pair, tmp_path: Path) -> Callable[[int], Keyspace]:
    sink = MemorySink()
    apply_batch(sink, pair, commands)
    return sink.keyspace


def in_sqlite(commands: list[list[bytes]], pair: Pair, tmp_path: Path) -> Callable[[int], Keyspace]:
    with closing(SqliteSink(tmp_path / "replica.db")) as sink:
        apply_batch(sink, pair, commands)
    keys = SqliteKeys(tmp_path / "replica.db")
    now_ms = time.time() * 1000
    return lambda db: {
        key: entry
        for page in keys.pages(db)
        for key, entry in page.items()
        if entry.expires_at_ms is None or entry.expires_at_ms >= now_ms
    }


def in_jsonl(commands: list[list[bytes]], pair: Pair, tmp_path: Path) -> Callable[[int], Keyspace]:
    with closing(JsonlSink(tmp_path / "changes")) as sink:
        apply_batch(sink, pair, commands)
    return replayed(tmp_path / "changes").keyspace


def apply_batch(sink: Any, pair: Pair, commands: list[list[bytes]]) -> None:
    sender, receiver = pair
    shard = Shard(receiver, sink)
    sender.send_many([Frame(offset, argv) for offset, argv in enumerate(commands)])
    drain(shard)


every_sink = pytest.mark.parametrize("sink", [in_memory, in_sqlite, in_jsonl])
SECOND_MS = 1000


def moments() -> tuple[bytes, bytes]:
    """A time in the past and one far ahead, as arguments of PXAT."""
    now_ms = time.time_ns() // 1_000_000
    return b"%d" % (now_ms - 200), b"%d" % (now_ms + 10_000_000)


@every_sink
def test_a_counter_that_expired_here_first_goes_on_counting(sink: Any, pair: Pair, tmp_path: Path) -> None:
    past, _ = moments()
    commands = [[b"SET", b"counter", b"41", b"PXAT", past], [b"INCR", b"counter"], [b"PERSIST", b"counter"]]
    assert sink(commands, pair, tmp_path)(0) == {b"counter": Entry(b"counter", "string", b"42")}


# Each makes expired keys and uses them. The last ones are compared without their expiry.
ON_EXPIRED_KEYS = """
SET a 1 PXAT {past} | APPEND a x
SET b 1 | PEXPIREAT b {past} | SETNX b 2
SET c 1 | EXPIRE c -1 | INCRBY c 5
SET d 1 PXAT {past} | SET d 2 KEEPTTL
SET e 1 PXAT {past} | GETEX e PXAT {ahead}
SET f 1 PXAT {past} | LPUSH f x
SET g 1 PXAT {past} | RENAME g renamed
SET h 1 PXAT {past} | COPY h copied
SET i 1 PXAT {past} | COPY i copied-over REPLACE
SET j 1 PXAT {past} | MOVE j 1
SET k 1 PXAT {past} | RENAMENX k renamed-too
RPUSH l 3 1 2 | PEXPIREAT l {past} | SORT l STORE sorted
RPUSH m a b | PEXPIREAT m {past} | LMOVE m moved-to LEFT RIGHT
RPUSH n a b c | PEXPIREAT n {past} | LPOP n | RPUSH n d
SADD o 1 2 | PEXPIREAT o {past} | SUNIONSTORE united o | SREM o 1
SADD p 1 2 | SADD p2 2 | PEXPIREAT p2 {past} | SDIFFSTORE diffed p p2
ZADD q 1 a | PEXPIREAT q {past} | ZUNIONSTORE zunited 1 q | ZINCRBY q 3 a
HSET r f 1 | PEXPIREAT r {past} | HINCRBY r f 4 | HSETNX r f 9
XADD s 1-1 f v | PEXPIREAT s {past} | XADD s 2-1 f v
SET t 1 PXAT {past} | PEXPIREAT t {ahead} GT
SET u 1 PXAT {past} | PEXPIREAT u {ahead} NX
SET v a PXAT {past} | BITOP OR anded v
SET w 1 PXAT {past} | MULTI | INCR w | PERSIST w | EXEC
SET x 1 PXAT {past} | EVAL SCRIPT 2 x counted
SET y 1 PXAT {past} | DEL y
SET z 1 PXAT {past} | MSETNX z 2 other 2
"""
SCRIPT = b"return redis.call('SET',KEYS[2],tostring(redis.call('EXISTS',KEYS[1])))"


@every_sink
def test_expired_keys_are_alive_for_every_command_as_in_a_real_replica(
    start_redis: Callable[..., RedisServer], sink: Any, pair: Pair, tmp_path: Path
) -> None:
    replica = start_redis()
    past, ahead = moments()
    is_old = replica.client().info("server")["redis_version"].startswith("6.")
    commands = []
    for line in ON_EXPIRED_KEYS.strip().splitlines():
        for text in line.split("|"):
            argv = [SCRIPT if word == "SCRIPT" else word.encode() for word in text.split()]
            argv = [past if word == b"{past}" else ahead if word == b"{ahead}" else word for word in argv]
            if not (is_old and argv[0] == b"PEXPIREAT" and len(argv) > 3):  # conditions came with Redis 7
                commands.append(argv)
    names = sorted({word for argv in commands for word in argv[1:] if word.isalpha() or b"-" in word})
    commands += [[b"PERSIST", name] for name in names]
    with ScriptedPrimary(replica) as primary:
        primary.replicate(commands)
        found = sink(commands, pair, tmp_path)
        for db in (0, 1):
            assert differences(comparable(found(db)), read_keyspace(replica.client(db=db))) == []


@every_sink
def test_a_restored_key_keeps_its_expiry_in_the_past_as_in_a_real_replica(
    start_redis: Callable[..., RedisServer], sink: Any, pair: Pair, tmp_path: Path
) -> None:
    replica = start_redis()
    past, _ = moments()
    client = replica.client()
    client.rpush("l", "a", "b")
    payload = client.dump("l")
    commands = [
        [b"RESTORE", b"new", past, payload, b"ABSTTL"],
        [b"SET", b"old", b"1"],
        [b"RESTORE", b"old", past, payload, b"ABSTTL", b"REPLACE"],
        [b"SET", b"refused", b"1", b"PXAT", past],
        [b"RESTORE", b"refused", b"0", payload],
        [b"RESTORE-ASKING", b"moved", b"0", payload],
        [b"RESTORE-ASKING", b"moved-too", past, payload, b"ABSTTL", b"REPLACE"],
    ]
    names = [b"new", b"old", b"refused", b"moved", b"moved-too"]
    with ScriptedPrimary(replica) as primary:
        for persist in ([], [[b"RPUSH", name, b"c"] for name in names] + [[b"PERSIST", name] for name in names]):
            commands += persist
            primary.replicate(persist or commands)
        found = sink(commands, pair, tmp_path)
        assert differences(comparable(found(0)), read_keyspace(client)) == []
    assert found(0)[b"new"].value == found(0)[b"moved"].value == [b"a", b"b", b"c"]


@pytest.mark.parametrize("seed", range(3))
def test_random_commands_with_short_expiries_give_what_a_real_replica_has(
    start_redis: Callable[..., RedisServer], pair: Pair, tmp_path: Path, seed: int
) -> None:
    choose = random.Random(seed)
    replica = start_redis()
    commands = []
    is_open = False
    for _ in range(1500):
        command = random_expiry(choose) if choose.random() < 0.3 else random_command(choose)
        if command in ([b"MULTI"], [b"EXEC"]):
            if is_open is not (command == [b"EXEC"]):
                continue
            is_open = not is_open
        commands.append(command)
    commands += [[b"EXEC"]] if is_open else []
    # Compare also the keys that an expiry hides.
    commands += [[b"PERSIST", key] for key in KEYS] + [[b"SELECT", b"1"]] + [[b"PERSIST", key] for key in KEYS]
    with ScriptedPrimary(replica) as primary:
        primary.replicate(commands)
        found = in_memory(commands, pair, tmp_path)
        for db in (0, 1):
            assert differences(comparable(found(db)), read_keyspace(replica.client(db=db))) == []


@pytest.mark.parametrize("sink", [in_memory, in_sqlite, in_jsonl])
def test_a_replica_that_lags_behind_the_expiries_ends_with_the_keys_of_the_primary(
    start_redis: Callable[..., RedisServer], sink: Any, pair: Pair, tmp_path: Path
) -> None:
    primary = start_redis()
    choose = random.Random(7)

    def write() -> None:
        pipeline = primary.client().pipeline(transaction=False)
        for _ in range(3000):
            pipeline.execute_command(*short_lived(choose))
            if len(pipeline) >= 50:
                pipeline.execute(raise_on_error=False)
                time.sleep(0.005)
        pipeline.execute(raise_on_error=False)
        # Keep all keys that are left: none may expire during the comparison.
        for key in KEYS:
            primary.client().persist(key)

    commands = recorded_stream(primary, write)
    time.sleep(1.5)
    found = sink(commands, pair, tmp_path)
    assert differences(comparable(found(0)), read_keyspace(primary.client())) == []


def short_lived(choose: random.Random) -> list[bytes]:
    """A change of a key that lives for some milliseconds, or a command that changes or removes its expiry."""
    key = choose.choice(KEYS)
    number = int(key[1:])
    text, member = b"%d" % choose.randrange(100), b"m%d" % choose.randrange(5)
    change = [
        [b"INCR", key], [b"RPUSH", key, text], [b"SADD", key, member], [b"ZINCRBY", key, text, member],
        [b"HINCRBY", key, member, text],
    ][number % 5]  # fmt: skip
    expiry = choose.choice([[b"PEXPIRE", key, b"%d" % choose.randrange(1, 60)], [b"PERSIST", key]])
    return change if choose.random() < 0.7 else expiry


def test_a_reader_does_not_see_a_key_whose_time_has_come_and_the_stream_does() -> None:
    past, _ = moments()
    sink = MemorySink()
    client = sink.client()
    for offset, argv in enumerate([[b"SET", b"a", b"1", b"PXAT", past], [b"RPUSH", b"b", b"x"]]):
        sink.apply(offset, argv)
    sink.apply(2, [b"PEXPIREAT", b"b", past])
    assert (sink.keyspace(), sink.databases) == ({}, [])
    assert (client.keys(), client.get("a"), client.dbsize(), client.exists("a", "b")) == ([], None, 0, 0)
    assert (client.type("b"), client.lrange("b", 0, -1)) == (b"none", [])
    assert (client.randomkey(), client.scan()[1]) == (None, [])
    sink.apply(3, [b"APPEND", b"a", b"2"])
    sink.apply(4, [b"PERSIST", b"a"])
    sink.apply(5, [b"PERSIST", b"b"])
    assert client.get("a") == b"12"
    assert client.lrange("b", 0, -1) == [b"x"]
    assert sorted(sink.keyspace()) == [b"a", b"b"]


def test_entries_of_a_snapshot_that_expired_on_their_way_are_alive_for_the_stream() -> None:
    sink = MemorySink()
    stage = sink.stage()
    stage.add([Entry(b"k", "string", b"41", 1000)])
    stage.commit(Snapshot("kevysnap", 1, 0, 1))
    assert sink.keyspace() == {}
    sink.apply(1, [b"INCR", b"k"])
    sink.apply(2, [b"PERSIST", b"k"])
    assert sink.keyspace()[b"k"].value == b"42"


def test_relative_expiries_count_from_when_they_are_applied() -> None:
    sink = MemorySink()
    before_ms = time.time_ns() // 1_000_000
    for offset, text in enumerate([
        b"SET a 1 PX 100000", b"SET b 1 EX 100", b"SETEX c 100 1", b"SET d 1", b"EXPIRE d 100", b"SET e 1",
        b"GETEX e PX 100000", b"SET f 1 PX 100000 NX", b"RPUSH g x", b"PEXPIRE g 100000 NX",
    ]):  # fmt: skip
        sink.apply(offset, text.split())
    after_ms = time.time_ns() // 1_000_000
    expiries = [entry.expires_at_ms for entry in sink.keyspace().values()]
    assert len(expiries) == 7
    assert all(at is not None and before_ms - 1 <= at - 100_000 <= after_ms + 1 for at in expiries)


def test_a_sqlite_shard_goes_on_when_keys_have_expired_in_the_middle_of_a_batch(pair: Pair, tmp_path: Path) -> None:
    past, ahead = moments()
    with closing(SqliteSink(tmp_path / "replica.db")) as sink:
        commands = [[b"SET", b"k%d" % at, b"1", b"PXAT", past] for at in range(200)]
        commands += [[b"SUNIONSTORE", b"s", b"k%d" % at] for at in range(200)]  # each refused: a string
        commands += [[b"DBSIZE"], [b"KEYS", b"*"], [b"RANDOMKEY"], [b"SET", b"live", b"1", b"PXAT", ahead]]
        apply_batch(sink, pair, commands)
        assert sink.stored_offset == len(commands) - 1
    keys = SqliteKeys(tmp_path / "replica.db")
    assert sum(len(page) for page in keys.pages(0)) == 201


# A clock far ahead of the primary's, which acts like an unlimited lag.
def test_a_clock_that_runs_ahead_changes_nothing(pair: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _, ahead = moments()
    now = time.time
    monkeypatch.setattr("time.time", lambda: now() + 1_000_000)
    sink = MemorySink()
    apply_batch(
        sink,
        pair,
        [
            [b"RPUSH", b"l", b"a"], [b"PEXPIREAT", b"l", ahead], [b"RPUSH", b"l", b"b"], [b"PERSIST", b"l"],
            [b"HSET", b"h", b"f", b"1"], [b"HPEXPIREAT", b"h", ahead, b"FIELDS", b"1", b"f"],
            [b"HINCRBY", b"h", b"f", b"4"], [b"HPERSIST", b"h", b"FIELDS", b"1", b"f"],
        ],
    )  # fmt: skip
    assert {key: entry.value for key, entry in sink.keyspace().items()} == {b"l": [b"a", b"b"], b"h": {b"f": b"5"}}


def test_fields_of_a_hash_are_hidden_when_their_time_has_come_and_kept_for_the_stream() -> None:
    past, ahead = moments()
    sink = MemorySink()
    client = sink.client()

    def apply(*texts: bytes) -> None:
        for offset, text in enumerate(texts):
            sink.apply(offset, [{b"PAST": past, b"AHEAD": ahead}.get(word, word) for word in text.split()])

    apply(
        b"HSET h a 1 b 1 c 1", b"HPEXPIREAT h PAST FIELDS 1 a", b"HPEXPIREAT h AHEAD FIELDS 1 b",
        b"HSET all a 1", b"HEXPIREAT all 1 FIELDS 1 a",
        b"HSETEX x PXAT PAST FIELDS 2 a 1 b 1", b"HSETEX x KEEPTTL FIELDS 1 a 2", b"HSET x c 1",
    )  # fmt: skip
    assert sink.refusals.count == 0
    shown = {key: entry.value for key, entry in sink.keyspace().items()}
    assert shown == {b"h": {b"b": b"1", b"c": b"1"}, b"x": {b"c": b"1"}}
    assert client.hgetall("h") == {b"b": b"1", b"c": b"1"}
    assert (client.hget("h", "a"), client.hlen("h"), client.exists("all")) == (None, 2, 0)
    apply(b"HINCRBY h a 4", b"HPERSIST h FIELDS 1 a", b"HGETEX all PERSIST FIELDS 1 a", b"HPERSIST x FIELDS 2 a b")
    shown = {key: entry.value for key, entry in sink.keyspace().items()}
    assert shown == {
        b"h": {b"a": b"5", b"b": b"1", b"c": b"1"}, b"all": {b"a": b"1"}, b"x": {b"a": b"2", b"b": b"1", b"c": b"1"},
    }  # fmt: skip
    apply(b"HDEL h a", b"HSETEX x FNX FIELDS 1 a 9", b"HSETEX x FXX EX 100 FIELDS 1 a 7", b"HGETDEL x FIELDS 1 b")
    assert sink.keyspace()[b"x"].value == {b"a": b"7", b"c": b"1"}
    assert client.hpttl("x", "a")[0] > 90_000
    assert sink.refusals.count == 0


def test_an_untouched_jsonl_directory_replays_to_the_same_keys_at_any_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now_ms = time.time_ns() // 1_000_000
    with closing(JsonlSink(tmp_path)) as sink:
        for offset, text in enumerate([b"SET n 41 PXAT %d" % (now_ms + 500), b"INCR n", b"PERSIST n", b"RPUSH l a"]):
            sink.apply(offset, text.split())
    at_once = JsonlKeys(tmp_path).read(0, [b"n", b"l"])
    now = time.time
    monkeypatch.setattr("time.time", lambda: now() + 1_000_000)
    later = JsonlKeys(tmp_path)
    assert later.databases() == [0]
    assert later.read(0, [b"n", b"l"]) == at_once
    assert at_once[b"n"].value == b"42"


@pytest.mark.parametrize("is_sqlite", [True, False])
@pytest.mark.parametrize(
    "refused",
    [
        [[b"RPUSH", b"a", b"x"]],
        [[b"NOSUCH", b"a"]],
        [[b"SET"]],
        [[b"MULTI"], [b"RPUSH", b"a", b"x"], [b"EXEC"]],
        [[b"EVAL", b"return redis.call('RPUSH', 'a', 'x')", b"0"]],
        [[b"SORT", b"a", b"BY"]],
    ],
)
def test_a_refused_command_does_not_hold_the_batch_that_brought_it(
    pair: Pair, tmp_path: Path, refused: list[list[bytes]], is_sqlite: bool
) -> None:
    """Its error once kept the frames of the calls alive, and so the arguments in the ring: ViewsEscaped."""
    sender, receiver = pair
    sink: Any = SqliteSink(tmp_path / "replica.db") if is_sqlite else MemorySink()
    with closing(sink):
        sink.apply(0, [b"SET", b"a", b"1"])
        sink.flush()
        shard = Shard(receiver, sink)  # as after a restart: frames that the sink already has are skipped one by one
        # With a snapshot's begin and end in the batch, the shard takes each event separately.
        sender.send_many([*snapshot_events(kevysnap([Entry(b"a", "string", b"1")]), 1)])
        sender.send_many([Frame(offset, argv) for offset, argv in enumerate(refused, 1)])
        gc.disable()
        try:
            drain(shard)
        finally:
            gc.enable()
        assert sink.refusals.count == 1
        assert shard.applied_offset == len(refused)


def random_field_command(choose: random.Random) -> list[bytes]:
    """Commands as a primary replicates them, without HPERSIST: a real replica of 8.2 ignores it for an expired field,
    and so differs from its primary."""
    key, field, other = b"h%d" % choose.randrange(3), b"f%d" % choose.randrange(4), b"f%d" % choose.randrange(4)
    fields = [b"FIELDS", b"1", field] if field == other else [b"FIELDS", b"2", field, other]
    pairs = [b"FIELDS", b"1", field, b"5"]
    at_ms = b"%d" % (time.time_ns() // 1_000_000 + choose.choice([-100_000, -20, 2, 20, 1_000_000]))
    return choose.choice(
        [
            [b"HSET", key, field, b"7"], [b"HSET", key, field, b"1", other, b"2"], [b"HDEL", key, field],
            [b"HINCRBY", key, field, b"3"], [b"HSETNX", key, field, b"9"], [b"HPEXPIREAT", key, at_ms, *fields],
            [b"HPEXPIREAT", key, at_ms, choose.choice([b"NX", b"XX", b"GT", b"LT"]), *fields],
            [b"HSETEX", key, b"PXAT", at_ms, *pairs], [b"HSETEX", key, b"KEEPTTL", *pairs],
            [b"HSETEX", key, b"FNX", *pairs], [b"HSETEX", key, b"FXX", b"PXAT", at_ms, *pairs],
            [b"HSETEX", key, *pairs],
            [b"COPY", key, b"h1", b"REPLACE"], [b"RENAME", key, b"h2"], [b"DEL", key],
        ]
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_fields_that_expire_are_alive_for_every_command_as_in_a_real_replica(
    pair: Pair, tmp_path: Path, seed: int
) -> None:
    choose = random.Random(seed)
    replica = RedisServer(find_redis("8.2"), tmp_path / "redis")
    try:
        commands = [random_field_command(choose) for _ in range(1200)]
        # Compare twice: the visible fields with their expiries, and all fields that the expiries hide.
        with ScriptedPrimary(replica) as primary:
            primary.replicate(commands)
            client = replica.client()
            sink = MemorySink()
            apply_batch(sink, pair, commands)
            ours = sink.client()
            for key in ("h0", "h1", "h2"):
                for field in ("f0", "f1", "f2", "f3"):
                    ask = ("HPEXPIRETIME", key, "FIELDS", "1", field)
                    theirs = client.execute_command(*ask)
                    found = ours.execute_command(*ask)
                    assert (found or [-2]) == (theirs or [-2]), (key, field)
            _, ahead = moments()
            fields = [b"FIELDS", b"4", b"f0", b"f1", b"f2", b"f3"]
            extend = [[b"HPEXPIREAT", b"h%d" % at, ahead, *fields] for at in range(3)]
            primary.replicate(extend)
            for offset, argv in enumerate(extend, len(commands)):
                sink.apply(offset, argv)
            assert differences(comparable(sink.keyspace()), read_keyspace(client)) == []
    finally:
        replica.stop()


def test_a_replica_that_lags_behind_the_expiries_of_fields_ends_with_the_fields_of_the_primary(
    pair: Pair, tmp_path: Path
) -> None:
    choose = random.Random(5)
    primary = RedisServer(find_redis("8.2"), tmp_path / "redis")

    def write() -> None:
        client = primary.client()
        for _ in range(150):
            pipeline = client.pipeline(transaction=False)
            for _ in range(20):
                key, field = f"h{choose.randrange(3)}", f"f{choose.randrange(6)}"
                fields = ("FIELDS", "1", field)
                brief = str(choose.randrange(1, 40))
                pipeline.execute_command(
                    *choose.choice(
                        [
                            ("HINCRBY", key, field, "3"), ("HINCRBY", key, field, "5"),
                            ("HPEXPIRE", key, brief, *fields),
                            ("HPERSIST", key, *fields), ("HSETEX", key, "PX", brief, *fields, "7"),
                            ("HGETEX", key, "PX", brief, *fields), ("HGETEX", key, "PERSIST", *fields),
                            ("HSETEX", key, "KEEPTTL", *fields, "9"),
                        ]
                    )
                )  # fmt: skip
            pipeline.execute(raise_on_error=False)
            time.sleep(0.004)
        for at in range(3):
            client.execute_command("HPERSIST", f"h{at}", "FIELDS", "6", *(f"f{field}" for field in range(6)))
        time.sleep(2)  # give the primary time to delete expired fields and replicate that

    try:
        commands = recorded_stream(primary, write)
        time.sleep(0.5)
        sink = MemorySink()
        apply_batch(sink, pair, commands)
        assert differences(comparable(sink.keyspace()), read_keyspace(primary.client())) == []
        assert sink.refusals.first is None
    finally:
        primary.stop()


def test_a_redis_target_takes_keys_that_move_in_a_cluster(start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis()
    client = server.client()
    client.rpush("l", "a")
    with closing(RedisSink(server.url, options=SinkOptions(replace_target=True))) as sink:
        sink.apply(1, [b"RESTORE-ASKING", b"moved", b"0", client.dump("l")])
        sink.flush()
        assert sink.refusals.first is None
    assert client.lrange("moved", 0, -1) == [b"a"]
