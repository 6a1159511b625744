"""The seeded workload: the same bytes for the same seed, all kinds of values, and a stream that a store accepts."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from kevy_ring.events import Frame
from kevy_ring.replica.snapshots.canonical import digest_frames
from kevy_ring.replica.snapshots.kevysnap import SnapshotReader
from kevy_ring.replica.snapshots.kevysnap_writer import write_snapshot
from kevy_ring.testing.keyspace import Keyspace
from kevy_ring.testing.workload import BIG_VALUE_BYTES, FAR_AHEAD_MS, Workload, split

SMALL = Workload(shard=1, shards=3, keys=1000, ops=5000, value_bytes=48, seed=7, big_values=4)


def frames_digest(workload: Workload) -> tuple[int, bytes]:
    return digest_frames(Frame(offset, argv) for offset, argv in enumerate(workload.commands(), workload.first_offset))


def test_the_same_parameters_give_the_same_keys_and_commands() -> None:
    again = dataclasses.replace(SMALL)
    assert list(SMALL.preload()) == list(again.preload())
    assert frames_digest(SMALL) == frames_digest(again)


@pytest.mark.parametrize("change", [{"seed": 8}, {"shard": 2}])
def test_another_seed_or_shard_gives_another_stream(change: dict[str, int]) -> None:
    other = dataclasses.replace(SMALL, **change)
    assert frames_digest(SMALL) != frames_digest(other)
    assert list(SMALL.preload()) != list(other.preload())


def test_totals_are_divided_over_the_shards() -> None:
    workloads = [dataclasses.replace(SMALL, shard=shard) for shard in range(3)]
    assert sum(workload.key_count for workload in workloads) == 1000
    assert sum(workload.op_count for workload in workloads) == 5000
    assert sum(workload.big_count for workload in workloads) == 4
    assert [split(5, 3, shard) for shard in range(3)] == [2, 2, 1]
    for workload in workloads:
        assert len({entry.key for entry in workload.preload()}) == workload.key_count
        assert sum(1 for _ in workload.commands()) == workload.op_count
        assert workload.final_offset == workload.key_count + workload.op_count - 1


def test_no_two_shards_have_a_key_in_common() -> None:
    keys = Counter(
        key
        for shard in range(3)
        for key in {
            *(entry.key for entry in dataclasses.replace(SMALL, shard=shard).preload()),
            *(argv[1] for argv in dataclasses.replace(SMALL, shard=shard).commands()),
        }
    )
    assert set(keys.values()) == {1}


def test_all_kinds_of_keys_commands_and_values_come_up() -> None:
    keyspace = Keyspace(SMALL.preload())
    assert {entry.type for entry in keyspace.entries.values()} == {"string", "hash", "list", "set", "zset"}
    commands = list(SMALL.commands())
    assert {argv[0] for argv in commands} == {
        *(b"SET", b"APPEND", b"INCRBY", b"HSET", b"HDEL", b"RPUSH", b"LPUSH", b"LPOP", b"RPOP"),
        *(b"SADD", b"SREM", b"ZADD", b"ZREM", b"DEL", b"PEXPIREAT"),
    }
    values = {argv[2] for argv in commands if argv[0] == b"SET"}
    assert b"" in values
    assert any(b"\r\n" in value for value in values)
    assert sum(len(value) == BIG_VALUE_BYTES for value in values) == SMALL.big_count
    assert any(b"\r\n" in argv[1] for argv in commands)
    before = len(keyspace.entries)
    for argv in commands:
        keyspace.apply(argv)
    assert len(keyspace.entries) != before
    expiries = [entry.expires_at_ms for entry in keyspace.entries.values() if entry.expires_at_ms is not None]
    assert expiries
    assert min(expiries) >= FAR_AHEAD_MS


def test_the_preloaded_keys_survive_a_snapshot() -> None:
    entries = list(SMALL.preload())
    reader = SnapshotReader(0)
    assert [entry for chunk in write_snapshot(entries) for entry in reader.feed(chunk)] == entries
    reader.close()


def test_a_workload_without_keys_or_values_is_one() -> None:
    workload = Workload(shard=0, shards=1, keys=0, ops=200, value_bytes=0)
    assert workload.first_offset == 0
    assert sum(1 for _ in workload.commands()) == 200
    assert Workload(shard=0, shards=1, keys=0, ops=0).final_offset == -1


@pytest.mark.parametrize("change", [{"shard": 3}, {"shard": -1}, {"keys": -1}, {"ops": -1}, {"value_bytes": -1}])
def test_parameters_out_of_range_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"shard|negative"):
        dataclasses.replace(SMALL, **change)
