"""The checks of the redis sink before it writes to its target, and the mark that it leaves there."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from certificates import make_certificates
from cut_proxy import CutProxy
from draining import drain
from kevy_ring import Frame, ReplicaInboxReceiver, ReplicaInboxSender
from kevy_ring.errors import SinkError, TargetRefused
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.replica.upstream_url import UpstreamUrl, parse_upstream
from kevy_ring.shard import Shard, Snapshot, sink_from_url
from kevy_ring.shard.sinks.options import SinkOptions
from kevy_ring.shard.sinks.redis import RedisSink
from kevy_ring.shard.sinks.redis.target_mark import MARK, is_mark
from kevy_ring_command import wait_until
from redis_server import RedisServer, read_keyspace, redis_version, start_redis
from snapshot_events import snapshot_events, strings

__all__ = ["redis_version", "start_redis"]

Pair = tuple[ReplicaInboxSender, ReplicaInboxReceiver]
Start = Callable[..., RedisServer]

REPLACE = SinkOptions(replace_target=True)
ANOTHER_RUN = SinkOptions(run="0123456789abcdef")
UPSTREAM = "redis://upstream:6379"

pytestmark = pytest.mark.ring_bytes(1 << 20)


def values(server: RedisServer, db: int = 0) -> dict[bytes, Any]:
    """The keys of a database, without marks."""
    found = read_keyspace(server.client(db=db))
    return {key: value for key, (_, value, _) in found.items() if not is_mark(key)}


def mark(server: RedisServer, db: int = 0) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(server.client(db=db).get(MARK) or b"null")
    return told


def id_key(server: RedisServer, db: int = 0) -> bytes:
    return b"{" + MARK + b"}:" + mark(server, db)["id"].encode()


def refusal_of(make: Callable[[], object]) -> TargetRefused:
    with pytest.raises(TargetRefused) as raised:
        make()
    assert raised.value.reason == "refused"
    return raised.value


def restart(server: RedisServer, upstream: str | UpstreamUrl = UPSTREAM, **options: Any) -> RedisSink:
    """A sink as a new process would make it."""
    return RedisSink(server.url, upstream=upstream, options=SinkOptions(**options))


def apply_all(sink: RedisSink, *commands: bytes) -> None:
    for offset, command in enumerate(commands):
        sink.apply(offset, command.split())
    sink.flush()


# The target is the upstream


def test_the_upstream_is_refused_as_its_own_target_by_each_of_its_names(start_redis: Start, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = start_redis("--unixsocket", str(path))
    proxy = CutProxy(server.port)
    ports = (server.port, proxy.port)
    names = [f"redis://localhost:{server.port}", f"unix://{path}", *(f"redis://127.0.0.1:{port}/3" for port in ports)]
    for name in [server.url, *names]:
        for options in (SinkOptions(), REPLACE):
            made = lambda name=name, options=options: RedisSink(  # noqa: E731
                name, upstream=parse_upstream(f"redis://127.0.0.1:{server.port}"), options=options
            )
            refused = refusal_of(made)
            assert refused.cause == "same-server"
            assert f"127.0.0.1:{server.port}" in refused.detail
            assert "Name another server" in refused.detail
    proxy.close()
    assert server.client().dbsize() == 0


@pytest.mark.parametrize("redis_version", ["7.0"], indirect=True)
def test_the_upstream_is_refused_as_its_own_target_over_tls(start_redis: Start, tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    server = start_redis(
        "--tls-cert-file", str(made.certificate), "--tls-key-file", str(made.key), "--unixsocket", str(tmp_path / "s"),
        "--tls-ca-cert-file", str(made.authority), "--tls-auth-clients", "no", "--requirepass", "sesame", tls=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60  # the port listens before the socket exists
    while not (tmp_path / "s").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    upstream = parse_upstream(f"unix://:sesame@{tmp_path}/s")
    url = f"rediss://:sesame@127.0.0.1:{server.port}?ssl_ca_certs={made.authority}"
    refused = refusal_of(lambda: RedisSink(url, upstream=upstream))
    assert refused.cause == "same-server"
    assert "sesame" not in str(refused)


def linked(replica: RedisServer, primary: RedisServer) -> None:
    replica.client().execute_command("REPLICAOF", "127.0.0.1", str(primary.port))
    for _ in range(400):
        told = replica.client().info("replication")
        if told["master_link_status"] == "up" and not told["master_sync_in_progress"]:
            return
        time.sleep(0.05)
    raise AssertionError("no link between the two servers")


def test_a_replica_of_the_upstream_is_refused(start_redis: Start) -> None:
    upstream, target = start_redis(), start_redis()
    linked(target, upstream)
    refused = refusal_of(lambda: RedisSink(target.url, upstream=parse_upstream(upstream.url), options=REPLACE))
    assert refused.cause == "same-server"


def test_a_replica_of_any_server_is_refused(start_redis: Start) -> None:
    primary, target = start_redis(), start_redis()
    linked(target, primary)
    refused = refusal_of(lambda: restart(target, replace_target=True))
    assert refused.cause == "replica"
    assert f"a replica of 127.0.0.1:{primary.port}" in refused.detail


def test_the_primary_of_the_followed_replica_is_refused(start_redis: Start) -> None:
    upstream, target = start_redis(), start_redis()
    linked(upstream, target)
    refused = refusal_of(lambda: RedisSink(target.url, upstream=parse_upstream(upstream.url), options=REPLACE))
    assert refused.cause == "same-server"


def test_a_former_replica_with_a_history_of_its_own_is_another_server(start_redis: Start) -> None:
    upstream, target = start_redis(), start_redis()
    linked(target, upstream)
    target.client().execute_command("REPLICAOF", "NO", "ONE")
    sink = RedisSink(target.url, upstream=parse_upstream(upstream.url), options=REPLACE)
    apply_all(sink, b"SET a 1")
    sink.close()
    assert values(target) == {b"a": b"1"}


def test_a_stream_of_the_targets_own_history_is_refused_before_anything_is_staged(
    pair: Pair, start_redis: Start
) -> None:
    sender, receiver = pair
    server = start_redis()
    server.client().set("mine", 1)
    sink = RedisSink(server.url, options=REPLACE)
    shard = Shard(receiver, sink)
    sender.set_upstream(server.client().info("replication")["master_replid"])
    sender.send_many(snapshot_events(strings(a="1"), 5))
    assert refusal_of(shard.tick).cause == "same-server"
    assert values(server) == {b"mine": b"1"}
    sink.close()


def test_an_upstream_that_becomes_a_replica_of_the_target_is_noticed_with_its_next_history(
    pair: Pair, start_redis: Start
) -> None:
    sender, receiver = pair
    upstream, target = start_redis(), start_redis()
    sink = RedisSink(target.url, upstream=parse_upstream(upstream.url))
    shard = Shard(receiver, sink)
    sender.set_upstream(upstream.client().info("replication")["master_replid"])
    sender.send(Frame(1, [b"SET", b"a", b"1"]))
    drain(shard)
    linked(upstream, target)
    sender.set_upstream(upstream.client().info("replication")["master_replid"])
    sender.send_many(snapshot_events(strings(b="1"), 5))
    assert refusal_of(shard.tick).cause == "same-server"
    assert values(target) == {b"a": b"1"}
    sink.close()


def test_a_target_that_becomes_a_writable_replica_is_noticed_at_a_flush(
    start_redis: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kevy_ring.shard.sinks.redis.sink._IDENTITY_EVERY_S", 0.0)
    upstream, target = start_redis(), start_redis("--replica-read-only", "no")
    sink = RedisSink(target.url, upstream=parse_upstream(upstream.url))
    apply_all(sink, b"SET a 1")
    linked(target, upstream)
    sink.apply(1, [b"SET", b"b", b"1"])
    assert refusal_of(sink.flush).cause in ("same-server", "replica")
    sink.close()


# What is written comes back


def test_the_sinks_own_id_in_a_frame_stops_the_shard_and_nothing_of_its_pipeline_is_sent(
    pair: Pair, start_redis: Start
) -> None:
    sender, receiver = pair
    server = start_redis()
    sink = RedisSink(server.url, upstream=UPSTREAM)
    sink.claim()
    shard = Shard(receiver, sink)
    sender.send_many([Frame(1, [b"SET", b"a", b"1"]), Frame(2, [b"MSET", b"x", b"1", id_key(server), b"y"])])
    refused = refusal_of(shard.tick)
    assert refused.cause == "loop"
    assert "come back in the stream of redis://upstream:6379" in refused.detail
    assert values(server) == {}
    sink.close()


@pytest.mark.parametrize("what", ["the copied key", "the mark itself"])
def test_the_sinks_own_id_in_a_snapshot_stops_the_shard_and_nothing_is_replaced(
    pair: Pair, start_redis: Start, what: str
) -> None:
    sender, receiver = pair
    server = start_redis()
    sink = RedisSink(server.url, upstream=UPSTREAM)
    apply_all(sink, b"SET a 1")
    shard = Shard(receiver, sink)
    entry = {
        "the copied key": {id_key(server).decode(): "x"},
        "the mark itself": {MARK.decode(): (server.client().get(MARK) or b"").decode()},
    }[what]
    sender.send_many(snapshot_events(strings(b="1", **entry), 5))
    with pytest.raises(TargetRefused) as raised:
        drain(shard)
    assert raised.value.cause == "loop"
    shard.close()
    assert values(server) == {b"a": b"1"}
    assert list(server.client().info("keyspace")) == ["db0"]
    sink.close()


def test_each_run_has_an_id_of_its_own_so_that_what_an_ended_loop_left_behind_stops_nothing(
    start_redis: Start,
) -> None:
    server = start_redis()
    first = restart(server)
    first.claim()
    left = id_key(server)
    first.close()
    second = restart(server)
    second.claim()
    assert server.client().keys(b"{" + MARK + b"}:*") == [id_key(server)] != [left]
    apply_all(second, b"SET %s x" % left)
    assert server.client().get(left) == b"x"
    second.close()


def test_the_mark_of_another_target_goes_no_further_and_its_id_does(pair: Pair, start_redis: Start) -> None:
    sender, receiver = pair
    a_to_b, b_to_c = start_redis(), start_redis()
    first = RedisSink(a_to_b.url, upstream="redis://a:1")
    apply_all(first, b"SET a 1", b"FLUSHALL", b"SET b 2")
    theirs = (a_to_b.client().get(MARK) or b"").decode()
    second = RedisSink(b_to_c.url, upstream="redis://b:1")
    shard = Shard(receiver, second)
    passed = id_key(a_to_b)
    sender.send_many(snapshot_events(strings(**{"b": "2", MARK.decode(): theirs, passed.decode(): "x"}), 5))
    sender.send_many(
        [
            Frame(6, [b"SET", MARK, b"{}"]),
            Frame(7, [b"MSET", MARK, b"{}", b"c", b"3"]),
            Frame(8, [b"DEL", b"b", MARK]),
            Frame(9, [b"SET", b"names it", MARK]),
        ]
    )
    drain(shard)
    shard.close()
    assert mark(b_to_c)["upstream"] == "redis://b:1"
    assert values(b_to_c) == {b"c": b"3", b"names it": MARK}
    assert b_to_c.client().get(passed) == b"x"
    assert second.refusals.count == 0
    second.close()
    RedisSink(b_to_c.url, upstream="redis://b:1").close()
    assert refusal_of(lambda: RedisSink(b_to_c.url, upstream="redis://a:1")).cause == "foreign-keys"
    first.close()


# One run at a time


def test_a_second_run_into_the_same_replica_is_refused_and_takes_nothing_over(start_redis: Start) -> None:
    target = start_redis()
    first = restart(target)
    apply_all(first, b"INCR counter")
    before = mark(target)
    for url in (target.url, f"{target.url}/0"):
        refused = refusal_of(lambda url=url: RedisSink(url, upstream=UPSTREAM, options=ANOTHER_RUN))  # type: ignore[misc]
        assert refused.cause == "in-use"
        assert "another run writes there, from 127.0.0.1:" in str(refused)
    assert mark(target) == before
    apply_all(first, b"INCR counter")
    assert values(target) == {b"counter": b"2"}
    first.close()
    RedisSink(target.url, upstream=UPSTREAM, options=ANOTHER_RUN).close()


def test_two_runs_may_write_to_two_databases_of_one_server(start_redis: Start) -> None:
    target = start_redis()
    one = RedisSink(f"{target.url}/1", upstream=UPSTREAM)
    other = RedisSink(f"{target.url}/2", upstream=UPSTREAM, options=ANOTHER_RUN)
    apply_all(one, b"SET k 1")
    apply_all(other, b"SET k 2")
    assert (values(target, 1), values(target, 2)) == ({b"k": b"1"}, {b"k": b"2"})


def test_a_run_is_waited_for_that_is_about_to_end(start_redis: Start) -> None:
    target = start_redis()
    first = restart(target)
    threading.Timer(0.4, first.close).start()
    RedisSink(target.url, upstream=UPSTREAM, options=ANOTHER_RUN).close()


def test_where_clients_may_not_be_listed_a_target_is_written_to_all_the_same(start_redis: Start) -> None:
    target = start_redis()
    target.client().execute_command("ACL", "SETUSER", "u", "on", ">p", "~*", "+@all", "-client")
    sink = RedisSink(f"redis://u:p@127.0.0.1:{target.port}", upstream=UPSTREAM)
    apply_all(sink, b"SET k 1")
    assert values(target) == {b"k": b"1"}


# Keys of other programs


def test_foreign_keys_are_counted_and_nothing_is_touched(start_redis: Start) -> None:
    server = start_redis()
    server.client().mset({f"k{number}": 1 for number in range(40)})
    server.client(db=5).set("a", 1)
    refused = refusal_of(lambda: restart(server))
    assert refused.cause == "foreign-keys"
    assert refused.keys == {0: 40, 5: 1}
    assert "it holds 41 keys (40 in database 0, 1 in database 5)" in refused.detail
    assert "none of them from redis://upstream:6379" in refused.detail
    assert "--replace-target" in refused.detail
    assert (server.client().dbsize(), server.client(db=5).dbsize()) == (40, 1)


def test_replace_target_takes_the_server_and_the_next_run_needs_no_option(pair: Pair, start_redis: Start) -> None:
    sender, receiver = pair
    server = start_redis()
    server.client().set("old", 1)
    server.client(db=5).set("old", 1)
    sink = restart(server, replace_target=True)
    shard = Shard(receiver, sink)
    sender.send_many(snapshot_events(strings(a="1", b="2"), 5))
    drain(shard)
    shard.close()
    assert values(server) == {b"a": b"1", b"b": b"2"}
    assert list(server.client().info("keyspace")) == ["db0"]
    sink.close()
    restart(server).close()


def test_with_a_database_in_the_url_only_that_one_is_looked_at_and_replaced(pair: Pair, start_redis: Start) -> None:
    sender, receiver = pair
    server = start_redis()
    server.client().set("mine", 1)
    sink = RedisSink(f"{server.url}/5", upstream=UPSTREAM)
    shard = Shard(receiver, sink)
    sender.send_many(snapshot_events(strings(a="1"), 5))
    drain(shard)
    shard.close()
    assert (values(server), values(server, 5)) == ({b"mine": b"1"}, {b"a": b"1"})
    assert mark(server, 5)["database"] == 5
    assert mark(server) is None
    sink.close()
    server.client(db=5).set("theirs", 1)
    refused = refusal_of(lambda: RedisSink(f"{server.url}/5", upstream=UPSTREAM))
    assert refused.keys == {5: 2}
    assert refusal_of(lambda: restart(server)).keys == {0: 1, 5: 2}


def test_the_same_upstream_in_other_databases_is_foreign(start_redis: Start) -> None:
    server = start_redis()
    sink = RedisSink(f"{server.url}/0", upstream=UPSTREAM)
    apply_all(sink, b"SET a 1")
    sink.close()
    assert "in other databases than those named now" in refusal_of(lambda: restart(server)).detail


def test_a_mark_without_any_key_claims_nothing(start_redis: Start) -> None:
    server = start_redis()
    mistyped = restart(server, "redis://another:1")
    mistyped.claim()
    mistyped.close()
    sink = restart(server)
    sink.claim()
    assert mark(server)["upstream"] == UPSTREAM
    assert set(server.client().keys("*")) == {MARK, id_key(server)}
    sink.close()


def test_another_upstreams_mark_is_foreign(start_redis: Start) -> None:
    server = start_redis()
    sink = restart(server, parse_upstream("redis://user:secret@another:1"))
    apply_all(sink, b"SET a 1")
    sink.close()
    stored = (server.client().get(MARK) or b"").decode()
    assert "secret" not in stored
    assert "user" not in stored
    refused = refusal_of(lambda: restart(server))
    assert "a replica of redis://another:1 and not of redis://upstream:6379" in refused.detail
    assert refused.keys == {0: 1}


def test_keys_added_since_the_last_run_are_foreign_and_counted(start_redis: Start) -> None:
    server = start_redis()
    sink = restart(server)
    apply_all(sink, b"SET a 1", b"SELECT 3", b"SET b 1", b"SET c 1")
    sink.close()
    restart(server).close()
    server.client(db=3).mset({"d": 1, "e": 1})
    refused = refusal_of(lambda: restart(server))
    assert refused.cause == "foreign-keys"
    assert refused.keys == {0: 1, 3: 4}
    assert "at least 2 of them added since the last run with redis://upstream:6379" in refused.detail
    server.client(db=3).delete("d", "e")
    restart(server).close()


def test_keys_that_are_gone_since_the_last_run_are_no_reason_to_refuse(start_redis: Start) -> None:
    server = start_redis()
    sink = restart(server)
    apply_all(sink, b"SET a 1", b"SET b 1 PX 1")
    sink.close()
    server.client().delete("a")
    restart(server).close()


def test_a_sink_that_was_killed_between_two_flushes_is_taken_up_by_its_next_run(start_redis: Start) -> None:
    server = start_redis()
    killed = restart(server)
    apply_all(killed, b"SET a 1")
    for number in range(1000):
        killed.apply(number, [b"SET", b"k%d" % number, b"1"])
    assert server.client().dbsize() > 900
    next_run = restart(server)
    apply_all(next_run, b"SET z 1")
    assert mark(server)["keys"] == {"0": 1002}
    assert mark(server)["more"] == 0
    next_run.close()
    server.client().set("theirs", 1)
    assert refusal_of(lambda: restart(server)).keys == {0: 1003}


@pytest.mark.parametrize("emptying", [b"FLUSHDB", b"SWAPDB 0 1", b"FLUSHALL"])
def test_keys_behind_an_emptying_command_are_ours_after_a_kill(pair: Pair, start_redis: Start, emptying: bytes) -> None:
    target = start_redis()
    apply_batch_and_die(pair, target, b"SET a 1", emptying, *(b"SET k%d 1" % number for number in range(200)))
    assert restart(target).guard.is_written


@pytest.mark.parametrize("emptying", [b"FLUSHDB", b"SWAPDB 0 1", b"FLUSHALL"])
def test_a_transaction_that_empties_and_was_cut_by_a_kill_leaves_no_foreign_keys(
    pair: Pair, start_redis: Start, emptying: bytes
) -> None:
    target = start_redis()
    first = restart(target)
    apply_all(first, *(b"SET k%d 1" % number for number in range(200)))
    first.close()
    apply_batch_and_die(pair, target, *(b"SET k%d 2" % number for number in range(10)), b"MULTI", emptying)
    assert len(values(target)) == 200
    assert restart(target).guard.is_written


def apply_batch_and_die(pair: Pair, target: RedisServer, *commands: bytes) -> None:
    """Send all in one batch and then nothing more, as before a SIGKILL."""
    sender, receiver = pair
    sender.send_many([Frame(offset, command.split()) for offset, command in enumerate(commands)])
    sink = restart(target)
    with receiver.drain(len(commands)) as batch:
        assert len(batch) == len(commands)
        sink.apply_batch(batch)
    connection = sink._live()
    if not sink.in_transaction:
        connection.settle()
    connection._socket.shutdown(2)
    wait_until(lambda: len(target.client().client_list()) == 1)


def test_keys_added_during_a_run_are_not_replaced_by_its_next_snapshot(pair: Pair, start_redis: Start) -> None:
    sender, receiver = pair
    server = start_redis()
    sink = restart(server)
    shard = Shard(receiver, sink)
    sender.send_many(snapshot_events(strings(a="1"), 5))
    drain(shard)
    server.client(db=7).mset({"theirs": 1, "and theirs": 1})
    sender.send(Frame(6, [b"SET", b"b", b"1"]))
    drain(shard)
    sink.flush()
    sender.send_many(snapshot_events(strings(c="1"), 9))
    refused = refusal_of(lambda: drain(shard))
    assert refused.keys == {0: 2, 7: 2}
    assert values(server) == {b"a": b"1", b"b": b"1"}
    sink.close()


def test_keys_added_while_a_snapshot_loads_are_not_replaced_by_it(start_redis: Start) -> None:
    server = start_redis()
    sink = restart(server)
    stage = sink.stage()
    stage.add([Entry(b"a", "string", b"1")])
    server.client(db=7).set("theirs", 1)
    with pytest.raises(TargetRefused) as raised:
        stage.commit(Snapshot("rdb", 0, 0, 0))
    assert raised.value.keys == {7: 1}
    stage.abort()
    assert (values(server), values(server, 7)) == ({}, {b"theirs": b"1"})
    sink.close()


def test_what_a_killed_load_left_is_not_foreign(start_redis: Start) -> None:
    server = start_redis()
    killed = restart(server)
    killed.stage().add([Entry(b"a", "string", b"1")])
    assert len(server.client().info("keyspace")) == 2
    restart(server).close()


def test_a_load_that_a_full_server_refuses_leaves_nothing_there(start_redis: Start) -> None:
    server = start_redis()
    server.client().config_set("maxmemory", server.client().info("memory")["used_memory"] + (2 << 20))
    sink = restart(server)
    stage = sink.stage()
    with pytest.raises(SinkError, match="OOM"):
        for number in range(100):
            stage.add([Entry(b"k%d" % number, "string", bytes(100_000))])
    stage.abort()
    assert set(server.client().info("keyspace")) == {"db0"}
    server.client().config_set("maxmemory", 0)  # a full server may also refuse the reads of a transaction
    assert values(server) == {}


# The mark and the stream


@pytest.mark.parametrize(
    "commands",
    [
        [b"FLUSHALL"],
        [b"flushall ASYNC"],
        [b"SELECT 3", b"SET b 1", b"FLUSHALL"],
        [b"FLUSHDB"],
        [b"MULTI", b"SET b 1", b"FLUSHDB SYNC", b"EXEC"],
        [b"SELECT 3", b"SET b 1", b"SWAPDB 0 3"],
        [b"SELECT 3", b"SET b 1", b"SwapDB 3 0", b"SELECT 0", b"SET c 1", b"SWAPDB 1 2"],
    ],
    ids=lambda commands: b", ".join(commands).decode(),
)
def test_the_mark_outlives_whatever_the_stream_does_to_its_database(start_redis: Start, commands: list[bytes]) -> None:
    server, plain = start_redis(), start_redis()
    sink = restart(server)
    every = [b"SET a 1", *commands, b"SET last 1"]
    apply_all(sink, *every)
    client = plain.client()
    for command in every:
        client.execute_command(*command.split()) if not command.startswith(b"SELECT") else None
        if command.startswith(b"SELECT"):
            client = plain.client(db=int(command.split()[1]))
            continue
    assert sink.refusals.first is None
    assert mark(server)["upstream"] == UPSTREAM
    assert server.client().exists(id_key(server))
    found = [values(server, db) for db in range(4)]
    assert sum(map(len, found)) == sum(mark(server)["keys"].values())
    assert all(not read_keyspace(server.client(db=db)).keys() & {MARK} for db in range(1, 4))
    assert b"last" in {key for keys in found for key in keys}
    sink.close()
    restart(server).close()


def test_in_one_database_no_command_of_the_stream_touches_another(start_redis: Start) -> None:
    server = start_redis()
    for db in (0, 1, 3):
        server.client(db=db).set("mine", db)
    sink = RedisSink(f"{server.url}/3", upstream=UPSTREAM, options=REPLACE)
    apply_all(sink, b"FLUSHALL", b"SET a 1", b"COPY a b DB 0", b"COPY a c", b"SWAPDB 0 0")
    assert values(server, 3) == {b"a": b"1", b"b": b"1", b"c": b"1"}
    for command in (b"MOVE a 1", b"COPY a b DB 1 REPLACE", b"SWAPDB 0 1", b"SELECT 1"):
        with pytest.raises(SinkError, match="a URL without a database takes them all"):
            sink.apply(9, command.split())
    sink.reconnect()
    apply_all(sink, b"FLUSHDB", b"SET z 1")
    assert [values(server, db) for db in (0, 1, 3)] == [{b"mine": b"0"}, {b"mine": b"1"}, {b"z": b"1"}]
    assert mark(server, 3)["keys"] == {"3": 1}
    sink.close()


def test_a_database_that_the_target_lacks_is_an_error_and_nothing_goes_into_another(start_redis: Start) -> None:
    server = start_redis("--databases", "2")
    sink = restart(server)
    sink.apply(0, [b"SELECT", b"9"])
    with pytest.raises(SinkError) as raised:
        sink.flush()
    assert raised.value.reason == "refused"


def test_a_database_that_the_target_lacks_is_an_error_inside_a_transaction_too(start_redis: Start) -> None:
    server = start_redis("--databases", "2")
    sink = restart(server)
    for offset, command in enumerate((b"MULTI", b"SET a 1", b"SELECT 9", b"SET b 1", b"EXEC")):
        sink.apply(offset, command.split())
    with pytest.raises(SinkError, match="DB index is out of range"):
        sink.flush()


@pytest.mark.parametrize("redis_version", ["7.0"], indirect=True)
def test_a_server_in_cluster_mode_takes_the_mark_and_the_stream(pair: Pair, start_redis: Start) -> None:
    sender, receiver = pair
    server = start_redis("--cluster-enabled", "yes")
    server.client().execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    while b"cluster_state:ok" not in server.client().execute_command("CLUSTER", "INFO"):
        time.sleep(0.02)
    sink = restart(server)
    sink.claim()
    shard = Shard(receiver, sink)
    sender.send_many([*snapshot_events(strings(a="1"), 5), Frame(6, [b"SET", b"b", b"1"]), Frame(7, [b"FLUSHALL"])])
    sender.send_many([Frame(8, [b"SET", b"c", b"1"])])
    drain(shard)
    shard.close()
    assert [key for key in server.client().keys("*") if not is_mark(key)] == [b"c"]
    assert sink.refusals.first is None
    sender.send_many(snapshot_events(strings(a="1", b="1"), 9))
    with pytest.raises(SinkError, match="CROSSSLOT") as raised:
        drain(shard)
    assert raised.value.reason == "refused"
    sink.close()
    restart(server).close()


# INFO is refused


@pytest.mark.parametrize("side", ["target", "upstream"])
def test_where_info_is_refused_that_is_said_and_an_option_is_asked_for(start_redis: Start, side: str) -> None:
    upstream, target = start_redis(), start_redis()
    asked = {"target": target, "upstream": upstream}[side]
    asked.client().execute_command("ACL", "SETUSER", "default", "-info")
    followed = parse_upstream(upstream.url)
    refused = refusal_of(lambda: RedisSink(target.url, upstream=followed))
    assert refused.cause == "unchecked"
    assert "--allow-unchecked-target" in refused.detail
    assert "+info" in refused.detail
    if side == "upstream":
        assert upstream.url in refused.detail
    allowed = SinkOptions(allow_unchecked_target=True)
    sink = RedisSink(target.url, upstream=followed, options=allowed)
    apply_all(sink, b"SET a 1", b"SELECT 4", b"SET b 1")
    stage = sink.stage()
    stage.add([Entry(b"c", "string", b"1", None, 2)])
    stage.commit(Snapshot("rdb", 0, 0, 0))
    assert [values(target, db) for db in (0, 2, 4)] == [{}, {b"c": b"1"}, {}]
    sink.close()
    target.client(db=9).set("theirs", 1)
    refused = refusal_of(lambda: RedisSink(target.url, upstream=followed, options=allowed))
    assert refused.keys == {2: 1, 9: 1}


def test_the_same_server_without_info_is_found_by_its_mark(pair: Pair, start_redis: Start) -> None:
    sender, receiver = pair
    server = start_redis()
    server.client().set("mine", 1)
    server.client().execute_command("ACL", "SETUSER", "default", "-info")
    options = SinkOptions(allow_unchecked_target=True, replace_target=True)
    sink = sink_from_url(server.url, options=options)
    assert isinstance(sink, RedisSink)
    sink.claim()
    # The keys that a full sync from there brings now.
    held = {key.decode(): (server.client().get(key) or b"").decode() for key in server.client().keys("*")}
    sender.send_many(snapshot_events(strings(**held), 5))
    assert refusal_of(lambda: drain(Shard(receiver, sink))).cause == "loop"
    assert values(server) == {b"mine": b"1"}
    sink.close()
