"""Relative expiries are written with their time, so that a later replay gives the same result."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from kevy_ring.cli.compare.jsonl_keys import replayed
from kevy_ring.shard.sinks.jsonl import JsonlSink
from kevy_ring.shard.sinks.jsonl.relative_expiry import is_relative, made_absolute
from kevy_ring_command import RunningCommand
from redis_server import RedisServer, find_redis


@pytest.mark.parametrize(
    ("command", "absolute"),
    [
        (b"SET k v EX 5", b"SET k v PXAT 6000"),
        (b"set k v nx px 5 GET", b"set k v nx PXAT 1005 GET"),
        (b"SETEX k 5 v", b"SET k v PXAT 6000"),
        (b"PSETEX k 5 v", b"SET k v PXAT 1005"),
        (b"EXPIRE k -1 GT", b"PEXPIREAT k 0 GT"),
        (b"PEXPIRE k 5", b"PEXPIREAT k 1005"),
        (b"GETEX k EX 5", b"GETEX k PXAT 6000"),
        (b"HEXPIRE h 5 NX FIELDS 1 f", b"HPEXPIREAT h 6000 NX FIELDS 1 f"),
        (b"HSETEX h EX 5 FIELDS 1 PX 7", b"HSETEX h PXAT 6000 FIELDS 1 PX 7"),
        (b"RESTORE k 5 payload REPLACE", b"RESTORE k 1005 payload REPLACE ABSTTL"),
    ],
)
def test_a_relative_expiry_becomes_the_moment_that_it_meant(command: bytes, absolute: bytes) -> None:
    argv = command.split()
    assert is_relative([memoryview(item) for item in argv])
    assert made_absolute(argv, 1000) == absolute.split()


@pytest.mark.parametrize(
    "command",
    [
        b"SET EX PX", b"SET k v", b"SET k v PXAT 5", b"SET k v EX x", b"SET k v EX", b"EXPIRE k", b"EXPIRE k soon",
        b"EXPIREAT k 5", b"HSETEX h FIELDS 1 PX 7", b"RESTORE k 0 payload", b"RESTORE k 5 payload absttl", b"PING",
        b"EXPIREXPIREXPIRE k 5",
    ],
)  # fmt: skip
def test_any_other_command_stays_as_it_is(command: bytes) -> None:
    argv = command.split()
    assert not is_relative(argv)
    assert made_absolute(argv, 1000) == argv


def test_a_replay_counts_a_relative_expiry_from_when_it_was_applied(tmp_path: Path) -> None:
    sink = JsonlSink(tmp_path)
    before_ms = time.time_ns() // 1_000_000
    sink.apply(1, [b"SET", b"k", b"v"])
    sink.apply(2, [b"EXPIRE", b"k", b"100"])
    sink.close()
    (changes,) = tmp_path.glob("generation-*/changes-*.jsonl")
    first, second = map(json.loads, changes.read_text().splitlines())
    assert "applied_at_ms" not in first
    assert before_ms <= second["applied_at_ms"] <= before_ms + 60_000
    second["applied_at_ms"] -= 50_000
    changes.write_text(f"{json.dumps(first)}\n{json.dumps(second)}\n")
    assert replayed(tmp_path).keyspace()[b"k"].expires_at_ms == second["applied_at_ms"] + 100_000


def test_a_directory_fed_by_redis_6_2_is_verified_although_its_expiries_are_relative(tmp_path: Path) -> None:
    server = RedisServer(find_redis("6.2"), tmp_path / "redis")
    try:
        client = server.client()
        client.mset({"a": 1, "b": 2})
        arguments = ("--sink", f"jsonl:{tmp_path}/changes", "--verify", "--log-interval", "0.1")
        with RunningCommand("ingest", server.url, *arguments, until_told=True) as running:
            running.read_log_until("1 streaming")
            client.expire("a", 1000)
            client.set("c", "3", ex=1000)
            running.end_duration()
            done = running.finish()
        assert done.code == 0, done.err
    finally:
        server.stop()
