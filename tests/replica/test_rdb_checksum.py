"""The checksum of an RDB finds any changed bit before anything is loaded, for any split and any sink."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kevy_ring.errors import SnapshotError
from kevy_ring.replica.snapshots.rdb import RdbReader, crc64, entry_of_dump
from kevy_ring.shard.assembly import SnapshotAssembly
from kevy_ring.shard.sinks.redis.target_mark import is_mark
from kevy_ring.shard.sinks.sink_url import sink_from_url
from places import DATA
from recording_sink import RecordingSink
from redis_server import RedisServer, redis_version, start_redis
from snapshot_events import strings

__all__ = ["redis_version", "start_redis"]


def rdb_of_a_recorded_full_sync() -> bytes:
    wire = (DATA / "redis-6.2-disk.bin").read_bytes()
    start = wire.index(b"REDIS00")
    length = int(wire[wire.rindex(b"$", 0, start) + 1 : start].strip())
    return wire[start : start + length]


def small_rdb(server: RedisServer) -> bytes:
    client = server.client()
    client.set("string", "v" * 30)
    client.hset("hash", mapping={"f": "1"})
    client.zadd("scores", {"a": 1.5})
    client.save()
    return (server.directory / "dump.rdb").read_bytes()


def load(sink: Any, body: bytes, piece_bytes: int = 65536) -> None:
    assembly = SnapshotAssembly(sink)
    assembly.begin()
    try:
        for at in range(0, len(body), piece_bytes):
            assembly.feed(memoryview(body)[at : at + piece_bytes])
        assembly.finish(7)
    finally:
        assembly.abort()


def flipped(body: bytes, bit: int) -> bytes:
    changed = bytearray(body)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_every_single_flipped_bit_of_a_real_rdb_is_refused(start_redis: Callable[..., RedisServer]) -> None:
    body = small_rdb(start_redis())
    sink = RecordingSink()
    load(sink, body)
    assert len(sink.calls) == 1
    for bit in range(8 * len(body)):
        with pytest.raises(SnapshotError):
            load(sink, flipped(body, bit))
    assert len(sink.calls) == 1


@pytest.mark.parametrize("kind", ["memory", "null", "jsonl", "sqlite", "python"])
def test_no_sink_holds_anything_of_a_damaged_rdb(kind: str, tmp_path: Path) -> None:
    urls = {"jsonl": f"jsonl:{tmp_path}/lines", "sqlite": f"sqlite:{tmp_path}/a.db", "python": "python:builtins:print"}
    body = rdb_of_a_recorded_full_sync()
    sink = sink_from_url(urls.get(kind, kind))
    for bit in range(3, 8 * len(body), len(body) // 7):
        with pytest.raises(SnapshotError):
            load(sink, flipped(body, bit))
    if kind == "memory":
        assert sink.databases == []  # type: ignore[attr-defined]
    if kind == "null":
        assert (sink.snapshots, sink.entries) == (0, 0)  # type: ignore[attr-defined]
    if kind in ("jsonl", "sqlite"):
        assert sink.stored_offset is None  # type: ignore[attr-defined]
    if kind == "jsonl":
        assert list((tmp_path / "lines").glob("generation-*")) == []
    sink.close()


def test_a_redis_target_keeps_its_keys_when_a_damaged_rdb_comes(start_redis: Callable[..., RedisServer]) -> None:
    body = rdb_of_a_recorded_full_sync()
    target = start_redis()
    sink = sink_from_url(target.url)
    load(sink, strings(old="1"))
    for bit in range(3, 8 * len(body), len(body)):
        with pytest.raises(SnapshotError):
            load(sink, flipped(body, bit))
    assert [key for key in target.client().keys("*") if not is_mark(key)] == [b"old"]
    assert set(target.client().info("keyspace")) == {"db0"}
    sink.close()


def test_the_checksum_is_the_same_wherever_the_rdb_is_cut() -> None:
    body = rdb_of_a_recorded_full_sync()
    assert int.from_bytes(body[-8:], "little") == crc64(body[:-8]) != 0
    damaged = flipped(body, 8 * (len(body) // 2))
    for cut in range(len(body)):
        for whole, is_intact in ((body, True), (damaged, False)):
            reader = RdbReader()
            reader.feed(whole[:cut])
            if is_intact:
                reader.feed(memoryview(whole)[cut:])
                reader.finish()
            else:
                with pytest.raises(SnapshotError, match="does not match its bytes"):
                    reader.feed(memoryview(whole)[cut:])
    for piece_bytes in range(1, 20):
        load(RecordingSink(), body, piece_bytes)


def test_an_rdb_that_was_cut_short_is_refused_at_every_length() -> None:
    body = rdb_of_a_recorded_full_sync()
    for length in range(len(body)):
        with pytest.raises(SnapshotError):
            load(RecordingSink(), body[:length])


def test_a_server_that_computes_no_checksum_is_followed(start_redis: Callable[..., RedisServer]) -> None:
    body = small_rdb(start_redis("--rdbchecksum", "no"))
    assert body[-8:] == bytes(8)
    sink = RecordingSink()
    load(sink, body)
    assert {b"string", b"hash", b"scores"} == set(sink.calls[0][1])


def test_a_version_before_checksums_is_taken_only_without_one() -> None:
    record = b"\x00\x01k\x01v"
    sink = RecordingSink()
    load(sink, b"REDIS0003" + record + b"\xff")
    assert sink.calls == [("load", {b"k": b"v"})]
    newer = b"REDIS0009" + record + b"\xff"
    newer += crc64(newer).to_bytes(8, "little")
    load(sink, newer)
    for version in (b"0001", b"0003", b"0004"):
        with pytest.raises(SnapshotError):
            load(sink, newer.replace(b"0009", version))


def test_a_flipped_bit_in_a_dump_payload_is_refused(start_redis: Callable[..., RedisServer]) -> None:
    client = start_redis().client()
    client.hset("h", mapping={"f": "1"})
    payload = client.dump("h")
    assert entry_of_dump(b"k", payload) is not None
    for bit in range(8 * len(payload)):
        with pytest.raises(SnapshotError):
            entry_of_dump(b"k", flipped(payload, bit))
