"""A Valkey target that leaves expiry to the upstream, and the effect of late commands on other targets."""

from __future__ import annotations

import json
import time

import pytest

from kevy_ring.errors import SinkError
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard import Snapshot
from kevy_ring.shard.sinks.options import SinkOptions
from kevy_ring.shard.sinks.redis import RedisSink
from kevy_ring.shard.sinks.redis.target_mark import MARK
from kevy_ring_command import RunningCommand, wait_until
from redis_server import RedisServer, StartServer, start_server

__all__ = ["start_server"]


IMPORT = SinkOptions(target_import_mode=True)


def apply_late(sink: RedisSink) -> None:
    """Apply commands 0.2 s after their upstream ran them."""
    past = b"%d" % (time.time_ns() // 1_000_000 - 200)
    late = [
        [b"SET", b"counter", b"41", b"PXAT", past],
        [b"INCR", b"counter"],
        [b"PERSIST", b"counter"],
        [b"RPUSH", b"list", b"a"],
        [b"PEXPIREAT", b"list", past],
        [b"RPUSH", b"list", b"b"],
        [b"PERSIST", b"list"],
    ]
    for offset, argv in enumerate(late):
        sink.apply(offset, argv)
    sink.flush()


def mode(server: RedisServer) -> str:
    return str(server.client().config_get("import-mode")["import-mode"])


def test_in_import_mode_late_commands_find_their_keys_alive(start_server: StartServer) -> None:
    server = start_server(name="valkey 8.1")
    sink = RedisSink(server.url, options=IMPORT)
    apply_late(sink)
    assert sink.refusals.first is None
    assert server.client().get("counter") == b"42"
    assert server.client().lrange("list", 0, -1) == [b"a", b"b"]
    sink.close()


def test_import_mode_is_switched_on_by_the_option_only_and_back_at_the_end(start_server: StartServer) -> None:
    server = start_server(name="valkey 8.1")
    plain = RedisSink(server.url)
    plain.apply(0, [b"SET", b"a", b"1"])
    plain.flush()
    assert mode(server) == "no"
    plain.close()
    sink = RedisSink(server.url, options=IMPORT)
    sink.claim()
    assert mode(server) == "yes"
    sink.close()
    sink.close()
    assert mode(server) == "no"
    assert json.loads(server.client().get(MARK) or b"")["restores_import_mode"] is False


def test_import_mode_that_somebody_else_has_switched_on_is_used_and_left_on(start_server: StartServer) -> None:
    server = start_server("--import-mode", "yes", name="valkey 8.1")
    for options in (SinkOptions(), IMPORT):
        sink = RedisSink(server.url, options=options)
        sink.claim()
        apply_late(sink)
        assert server.client().get("counter") == b"42"
        sink.close()
        assert mode(server) == "yes"


@pytest.mark.parametrize("options", [SinkOptions(), IMPORT], ids=["without the option", "with the option"])
def test_what_a_killed_run_left_on_is_switched_back_by_the_next(
    start_server: StartServer, options: SinkOptions
) -> None:
    server = start_server(name="valkey 8.1")
    killed = RedisSink(server.url, options=IMPORT)
    killed.claim()
    del killed
    assert mode(server) == "yes"
    sink = RedisSink(server.url, options=options)
    sink.claim()
    sink.close()
    assert mode(server) == "no"


def test_expiries_of_a_snapshot_that_have_passed_are_kept_in_import_mode(start_server: StartServer) -> None:
    server = start_server(name="valkey 8.1")
    sink = RedisSink(server.url, options=IMPORT)
    sink.claim()
    stage = sink.stage()
    stage.add([Entry(b"counter", "string", b"41", time.time_ns() // 1_000_000 - 200)])
    stage.commit(Snapshot("rdb", 0, 0, 0))
    assert server.client().get("counter") is None
    sink.apply(1, [b"INCR", b"counter"])
    sink.apply(2, [b"PERSIST", b"counter"])
    sink.flush()
    assert server.client().get("counter") == b"42"
    sink.close()


@pytest.mark.parametrize("options", [SinkOptions(), IMPORT], ids=["without the option", "with the option"])
def test_an_expiry_arrives_as_the_upstream_sent_it_however_late(
    start_server: StartServer, options: SinkOptions
) -> None:
    server = start_server(name="valkey 8.1")
    sink = RedisSink(server.url, options=options)
    sink.claim()
    at = time.time_ns() // 1_000_000 + 100_000
    sink.apply(0, [b"SET", b"a", b"1", b"PXAT", b"%d" % at])
    sink.apply(1, [b"PEXPIREAT", b"a", b"%d" % (at + 7)])
    sink.flush()
    assert server.client().pexpiretime("a") == at + 7
    sink.close()


def test_a_server_without_import_mode_is_refused_for_the_option(start_server: StartServer) -> None:
    server = start_server()
    sink = RedisSink(server.url, options=IMPORT)
    with pytest.raises(SinkError, match="it has no import-mode") as raised:
        sink.claim()
    assert raised.value.reason == "refused"
    assert server.client().dbsize() == 0
    sink.close()


def test_the_command_switches_import_mode_on_for_its_run_and_back(start_server: StartServer) -> None:
    upstream, target = start_server(), start_server(name="valkey 8.1")
    for number in range(20):
        upstream.client().set(f"k{number}", 1, px=700 if number % 2 else 10_000_000)
    options = ("--sink", target.url, "--target-import-mode", "--verify", "--json")
    with RunningCommand("ingest", upstream.url, *options, until_told=True) as running:
        running.read_until(lambda line: line["type"] == "progress" and line["shards"][0]["snapshots"] == 1)
        assert mode(target) == "yes"
        wait_until(lambda: target.client().dbsize() == 10 + 2)  # ten keys expire; two are the sink's mark
        running.end_duration()
        done = running.finish()
    assert done.code == 0, done.err
    assert mode(target) == "no"
    assert target.client().dbsize() == 10 + 2
