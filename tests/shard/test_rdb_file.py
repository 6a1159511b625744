"""RDB through rdb-py: one key's DUMP, and a spool on a full disk."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

import pytest

from kevy_ring.errors import SinkError, SnapshotError
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard.rdb_file import RdbSpool, entry_of_dump
from redis_server import RedisServer, redis_version, start_redis

__all__ = ["redis_version", "start_redis"]


def test_a_dump_payload_of_every_type_gives_its_value(start_redis: Callable[..., RedisServer]) -> None:
    client = start_redis().client()
    client.set("s", "v" * 100)
    client.set("n", 7)
    client.hset("h", mapping={"f": "1"})
    client.rpush("l", "a", "b")
    client.sadd("t", "x", "y")
    client.zadd("z", {"a": 1.5})
    client.xadd("x", {"a": "1"})
    dumps = {key: client.dump(key) for key in ("s", "n", "h", "l", "t", "z", "x")}
    long_key = b"k" * 70_000
    assert entry_of_dump(long_key, dumps["s"]) == Entry(long_key, "string", b"v" * 100)
    assert entry_of_dump(b"", dumps["n"]) == Entry(b"", "string", b"7")
    assert entry_of_dump(b"k", dumps["h"]) == Entry(b"k", "hash", {b"f": b"1"})
    assert entry_of_dump(b"k", dumps["l"]) == Entry(b"k", "list", [b"a", b"b"])
    assert entry_of_dump(b"k", dumps["t"]) == Entry(b"k", "set", {b"x", b"y"})
    assert entry_of_dump(b"k", dumps["z"]) == Entry(b"k", "zset", {b"a": 1.5})
    assert entry_of_dump(b"k", dumps["x"]) is None


@pytest.mark.parametrize("payload", [b"", b"\x00" * 10, b"\x00" * 12, b"garbage that is long enough to be one"])
def test_what_is_no_dump_payload_is_an_error(payload: bytes) -> None:
    with pytest.raises(SnapshotError):
        entry_of_dump(b"k", payload)


def test_a_full_disk_under_the_spool_is_a_typed_error() -> None:
    spool = RdbSpool()
    spool.feed(b"REDIS0009")
    spool._file.close()
    spool._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    with pytest.raises(SinkError) as raised:
        spool.feed(b"more")
    assert (raised.value.reason, raised.value.errno) == ("space", errno.ENOSPC)
    assert "TMPDIR" in str(raised.value)
    spool.close()


def test_without_rdb_py_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rdb", None)
    with pytest.raises(SinkError, match=r"pip install -U 'kevy-ring\[ingest\]'") as raised:
        RdbSpool()
    assert raised.value.reason == "missing-extra"
