"""The keys of real Redis servers, and of jsonl files, as entries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kevy_ring.cli.compare.jsonl_keys import JsonlKeys
from kevy_ring.cli.compare.redis_keys import PAGE_KEYS, RedisKeys
from kevy_ring.cli.compare.sqlite_keys import SqliteKeys
from kevy_ring.cli.compare.verify import compare
from kevy_ring.cli.failure import Failure
from kevy_ring.replica.snapshots.entry import Entry, Stream
from kevy_ring.shard.sinks.jsonl import JsonlSink
from kevy_ring.shard.sinks.sqlite import SqliteSink
from kevy_ring.shard.snapshot import Snapshot
from redis_server import RedisServer, redis_version, start_redis

__all__ = ["redis_version", "start_redis"]  # fixtures
FAR = 4_000_000_000_123


@pytest.fixture
def server(start_redis: Callable[..., RedisServer]) -> RedisServer:
    server = start_redis()
    client = server.client()
    client.set("string", b"\x00\xff")
    client.pexpireat("string", FAR)
    client.hset("hash", mapping={"f": "v", b"\xff": ""})
    client.rpush("list", "a", "", "a")
    client.sadd("set", "a", b"\xff")
    client.zadd("zset", {"a": 0.1, "b": float("-inf")})
    client.execute_command("XADD", "stream", "5-1", "f", "v", "f", "again")
    client.xgroup_create("stream", "group", "5-1")
    server.client(3).set("elsewhere", "x")
    return server


def read_all(keys: RedisKeys, db: int) -> dict[bytes, Entry]:
    return {key: entry for page in keys.pages(db) for key, entry in page.items()}


def test_every_type_is_read_with_its_value_and_expiry(server: RedisServer) -> None:
    keys = RedisKeys(server.url)
    assert keys.databases() == [0, 3]
    found = read_all(keys, 0)
    string = found.pop(b"string")
    assert (string.type, string.value) == ("string", b"\x00\xff")
    assert string.expires_at_ms is not None
    assert abs(string.expires_at_ms - FAR) <= keys.expiry_slack_ms
    stream = found.pop(b"stream").value
    assert isinstance(stream, Stream)
    assert (stream.last_id, stream.entries) == ((5, 1), [(5, 1, [(b"f", b"v"), (b"f", b"again")])])
    assert [(group.name, group.last_id) for group in stream.groups] == [(b"group", (5, 1))]
    assert found == {
        b"hash": Entry(b"hash", "hash", {b"f": b"v", b"\xff": b""}),
        b"list": Entry(b"list", "list", [b"a", b"", b"a"]),
        b"set": Entry(b"set", "set", {b"a", b"\xff"}),
        b"zset": Entry(b"zset", "zset", {b"a": 0.1, b"b": float("-inf")}),
    }
    assert read_all(keys, 3) == {b"elsewhere": Entry(b"elsewhere", "string", b"x", None, 3)}
    assert set(keys.read(0, [b"hash", b"nothing"])) == {b"hash"}
    keys.close()


def test_a_sinks_only_database_stands_for_database_0(server: RedisServer) -> None:
    keys = RedisKeys(f"{server.url}/3", only_db=3)
    assert keys.databases() == [0]
    assert list(read_all(keys, 0)) == [b"elsewhere"]


def test_more_keys_than_a_page_are_all_read(server: RedisServer) -> None:
    client = server.client()
    client.mset({f"many:{number}": number for number in range(3 * PAGE_KEYS)})
    assert len(read_all(RedisKeys(server.url), 0)) == 3 * PAGE_KEYS + 6


def test_a_user_who_may_not_read_is_told_so(server: RedisServer) -> None:
    server.client().execute_command("ACL", "SETUSER", "blind", "on", ">open-sesame", "+info", "+select", "+scan", "~*")
    keys = RedisKeys(f"redis://blind:open-sesame@127.0.0.1:{server.port}")
    assert keys.databases()
    with pytest.raises(Failure, match="TYPE was refused: this user has no permissions") as caught:
        read_all(keys, 0)
    assert "open-sesame" not in str(caught.value)


def test_a_server_that_is_gone_is_one_line(server: RedisServer) -> None:
    keys = RedisKeys(server.url)
    assert keys.databases()
    server.stop()
    for _ in range(2):
        with pytest.raises(Failure, match="reading keys: "):
            keys.databases()


def test_the_file_of_a_sqlite_sink_holds_the_keys_that_were_written(server: RedisServer, tmp_path: Path) -> None:
    upstream = RedisKeys(server.url)
    entries = [entry for db in upstream.databases() for entry in read_all(upstream, db).values()]
    sink = SqliteSink(tmp_path / "keys.db")
    snapshot = Snapshot("rdb", 7, 0, len(entries))
    snapshot.held.extend(entries)
    sink.load(snapshot)
    client = server.client()
    for offset, argv in enumerate(([b"SET", b"k", b"\xff"], [b"HDEL", b"hash", b"f"], [b"DEL", b"set"]), 8):
        client.execute_command(*argv)
        sink.apply(offset, argv)
    sink.commit()
    keys = SqliteKeys(tmp_path / "keys.db")
    found = compare(upstream, keys, is_final=True)
    assert (found.different, found.differences, found.compared) == (0, [], 7)
    sink.apply(20, [b"SET", b"k", b"other"])
    sink.close()
    assert compare(upstream, keys, is_final=True).different == 1
    assert keys.read(3, [b"elsewhere"])[b"elsewhere"].value == b"x"


def test_the_files_of_a_jsonl_sink_stand_for_the_keys_that_were_written(server: RedisServer, tmp_path: Path) -> None:
    upstream = RedisKeys(server.url)
    entries = [entry for db in upstream.databases() for entry in read_all(upstream, db).values()]
    sink = JsonlSink(tmp_path)
    snapshot = Snapshot("rdb", 7, 0, len(entries))
    snapshot.held.extend(entries)
    sink.load(snapshot)
    client = server.client()
    for offset, argv in enumerate(([b"SET", b"k", b"\xff"], [b"HDEL", b"hash", b"f"], [b"DEL", b"set"]), 8):
        client.execute_command(*argv)
        sink.apply(offset, argv)
    client = server.client(3)
    for offset, argv in enumerate(([b"SELECT", b"3"], [b"APPEND", b"elsewhere", b"y"]), 20):
        client.execute_command(*argv)
        sink.apply(offset, argv)
    sink.flush()
    found = compare(upstream, JsonlKeys(tmp_path), is_final=True)
    assert (found.different, found.differences, found.compared) == (0, [], 7)
    # An incomplete last line does not count.
    sink.apply(22, [b"APPEND", b"elsewhere", b"z"])
    sink.close()
    with next(tmp_path.glob("generation-*/changes-*")).open("ab") as file:
        file.write(b'{"offset": 30, "db": 3, "argv": ["DEL"')
    assert JsonlKeys(tmp_path).read(3, [b"elsewhere"])[b"elsewhere"].value == b"xyz"
