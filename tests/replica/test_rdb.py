"""The reader of RDBs: every type of real servers, cut anywhere, compared with another reader and with the servers."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from kevy_ring.errors import SnapshotError
from kevy_ring.replica.snapshots.entry import Entry, Stream
from kevy_ring.replica.snapshots.rdb import RdbReader, crc64, entry_of_dump, library_name
from redis_server import RedisServer, StartServer, add_vectors, start_server

__all__ = ["start_server"]

SERVERS = ["redis 6.2", "redis 7.0", "redis 8.2", "valkey 8.1", "valkey 9.1"]
WITH_FIELD_EXPIRIES = ("redis 8.2", "valkey 9.1")


def fill(server: RedisServer, name: str) -> None:
    """Keys of all types in all their encodings, some with an expiry, in two databases."""
    client = server.client()
    client.mset({"string": "v", "int8": -7, "int16": 3000, "int32": -(1 << 30), "int64": 1 << 40, "": "no name"})
    client.mset({"compressed": "abc" * 3000, "repeated": "a" * 100_000, "random": random.Random(1).randbytes(5000)})
    client.set("k" * 5000, "a long name")
    client.set("expires", "1", pxat=int(time.time() * 1000) + 10**9) if name != "redis 6.2" else client.set(
        "expires", "1", px=10**9
    )
    client.rpush("list", "a", "1", -1, 100, 5000, 1 << 20, 1 << 40, "x" * 70, "y" * 5000, "")
    client.rpush("long list", *range(2000))
    client.rpush("large elements", "e" * 20_000, "f" * 20_000)
    client.sadd("integers", 1, -2, 3000)
    client.sadd("large integers", 1 << 40, 5)
    client.sadd("set", "a", "b", 7)
    client.sadd("large set", *(f"m{n}" for n in range(1000)))
    client.zadd("scores", {"a": 1, "b": 2.5, "c": float("inf"), "d": float("-inf"), "e": -1e300})
    client.zadd("large scores", {f"m{n}": n / 3 for n in range(1000)})
    client.hset("hash", mapping={"f": "1", "g": "x" * 100})
    client.hset("large hash", mapping={f"f{n}": "v" * n for n in range(600)})
    client.pfadd("log", *range(1000))
    for n in range(300):
        client.xadd("stream", {"f": n, "g": "x" * n} if n % 7 else {"other": n}, id=f"{1000 + n // 10}-{1 + n % 10}")
    client.xdel("stream", "1000-3", "1005-1")
    client.xgroup_create("stream", "group", "0")
    client.xreadgroup("group", "one", {"stream": ">"}, count=40)
    client.xreadgroup("group", "two", {"stream": ">"}, count=20)
    client.xack("stream", "group", "1000-2")
    client.xgroup_create("stream", "empty", "$")
    client.xadd("emptied", {"a": "b"}, id="5-5")
    client.xdel("emptied", "5-5")
    server.client(db=3).set("elsewhere", "1")
    if name in WITH_FIELD_EXPIRIES:
        client.hset("fields", mapping={"a": "1", "b": "2", "c": "3"})
        for key, field in (("fields", "a"), ("fields", "b"), ("large hash", "f5")):
            client.execute_command("HPEXPIRE", key, 10**9 if field == "a" else 10**8, "FIELDS", 1, field)


def saved(server: RedisServer) -> bytes:
    server.client().save()
    return (server.directory / "dump.rdb").read_bytes()


def read(body: bytes, piece_bytes: int = 65536) -> tuple[dict[tuple[int, bytes], Entry], RdbReader]:
    reader = RdbReader()
    entries = []
    for at in range(0, len(body), piece_bytes):
        entries += reader.feed(memoryview(body)[at : at + piece_bytes])
    reader.finish()
    found = {(entry.db, entry.key): entry for entry in entries}
    assert len(found) == len(entries)
    return found, reader


def expected(client: Any, key: bytes) -> Any:
    """The value of a key, as the server answers it; of a stream only its entries."""
    kind = client.type(key)
    return {
        b"string": lambda: client.get(key),
        b"list": lambda: client.lrange(key, 0, -1),
        b"set": lambda: client.smembers(key),
        b"zset": lambda: dict(client.zrange(key, 0, -1, withscores=True)),
        b"hash": lambda: client.hgetall(key),
        b"stream": lambda: client.xrange(key),
    }[kind]()


def of_server(entry: Entry) -> Any:
    if not isinstance(entry.value, Stream):
        return entry.value
    return [(b"%d-%d" % (ms, seq), dict(pairs)) for ms, seq, pairs in entry.value.entries]


@pytest.mark.parametrize("name", SERVERS)
def test_all_keys_of_a_real_server_have_the_values_and_expiries_that_it_answers(
    start_server: StartServer, name: str
) -> None:
    server = start_server(name=name)
    fill(server, name)
    found, reader = read(saved(server))
    assert reader.left_out == []
    for db in (0, 3):
        client = server.client(db=db)
        for key in client.keys("*"):
            entry = found.pop((db, key))
            assert of_server(entry) == expected(client, key), key
            assert entry.type == client.type(key).decode()
            expiry = client.pttl(key)
            left = None if entry.expires_at_ms is None else entry.expires_at_ms - time.time() * 1000
            assert (expiry, left) == (-1, None) or (left is not None and abs(left - expiry) < 60_000), key
    assert found == {}


@pytest.mark.parametrize("name", SERVERS)
def test_a_stream_has_its_ids_groups_consumers_and_pending_entries(start_server: StartServer, name: str) -> None:
    server = start_server(name=name)
    fill(server, name)
    client = server.client()
    stream = read(saved(server))[0][(0, b"stream")].value
    info = dict(
        zip(*[iter(client.execute_command("XINFO", "STREAM", "stream", "FULL", "COUNT", "0"))] * 2, strict=True)
    )
    assert b"%d-%d" % stream.last_id == info[b"last-generated-id"]
    if name != "redis 6.2":
        assert stream.entries_added == info[b"entries-added"]
        assert b"%d-%d" % stream.max_deleted_id == info[b"max-deleted-entry-id"]
    assert {group.name for group in stream.groups} == {group["name"] for group in client.xinfo_groups("stream")}
    for group in stream.groups:
        said = {each["name"]: each for each in client.xinfo_consumers("stream", group.name)}
        assert {consumer for consumer, _ in group.consumers} == set(said)
        pending = client.xpending_range("stream", group.name, "-", "+", 1000)
        assert sorted((b"%d-%d" % (ms, seq), owner, times) for ms, seq, owner, _, times in group.pending) == sorted(
            (each["message_id"], each["consumer"], each["times_delivered"]) for each in pending
        )
    assert read(saved(server))[0][(0, b"emptied")].value.last_id == (5, 5)


@pytest.mark.parametrize("name", WITH_FIELD_EXPIRIES)
def test_fields_keep_their_expiries(start_server: StartServer, name: str) -> None:
    server = start_server(name=name)
    fill(server, name)
    found, _ = read(saved(server))
    for key, fields in ((b"fields", (b"a", b"b")), (b"large hash", (b"f5",))):
        expiries = found[(0, key)].field_expiries
        assert expiries is not None
        said = server.client().execute_command("HPEXPIRETIME", key, "FIELDS", len(fields), *fields)
        assert expiries == dict(zip(fields, said, strict=True))
    assert found[(0, b"hash")].field_expiries is None


@pytest.mark.parametrize("name", SERVERS)
def test_another_reader_finds_the_same(start_server: StartServer, name: str) -> None:
    rdb = pytest.importorskip("rdb")
    server = start_server(name=name)
    fill(server, name)
    body = saved(server)
    if body.startswith(b"VALKEY"):
        pytest.skip("rdb-py knows no RDB of Valkey 9")
    found, _ = read(body)
    db, compared = 0, 0
    for item in rdb.RdbDecoder(str(server.directory / "dump.rdb")):
        kind = item["type"]
        if kind == "select_db":
            db = item["db"]
        if kind not in ("string", "list", "set", "sorted_set", "hash"):
            continue
        entry = found[(db, item["key"])]
        values = item.get("value", item.get("values", item.get("members")))
        plain = {member: score for score, member in values} if kind == "sorted_set" else values
        assert entry.value == (set(plain) if kind == "set" else plain)
        assert entry.expires_at_ms == item["expiry"]
        compared += 1
    assert compared > 20


def test_it_is_the_same_wherever_it_is_cut(start_server: StartServer) -> None:
    server = start_server()
    fill(server, "redis 7.0")
    body = saved(server)
    whole, _ = read(body, len(body))
    for piece_bytes in (1, 7, 1000, 70_001):
        assert read(body, piece_bytes)[0] == whole


def test_a_key_larger_than_a_batch_and_many_batches(start_server: StartServer) -> None:
    server = start_server()
    client = server.client()
    client.config_set("rdbcompression", "no")
    client.rpush("list", *(f"{n}" + "e" * 3000 for n in range(2000)))
    client.set("large", b"l" * 5_000_000)
    client.mset({f"key:{n}": "v" * 100 for n in range(30_000)})
    found, _ = read(saved(server), 10_000)
    assert len(found) == 30_002
    assert found[(0, b"large")].value == b"l" * 5_000_000
    assert found[(0, b"list")].value == client.lrange("list", 0, -1)


def test_what_cannot_be_decoded_is_named(start_server: StartServer) -> None:
    server = start_server(name="redis 8.2")
    client = server.client()
    client.set("a", "1")
    client.execute_command(
        "FUNCTION", "LOAD", "#!lua name=mylib\nredis.register_function('f', function() return 1 end)"
    )
    add_vectors(client, "vectors")
    found, reader = read(saved(server))
    assert list(found) == [(0, b"a")]
    functions = [library_name(name) for kind, _, name, *_ in reader.left_out if kind == "function"]
    assert functions == [b"mylib"]
    assert [item[:4] for item in reader.left_out if item.kind == "key"] == [("key", 0, b"vectors", "vectorset")]


def test_an_unknown_type_names_type_and_key() -> None:
    reader = RdbReader()
    with pytest.raises(SnapshotError, match=r"RDB type 99 is not known, at key b'strange' \(byte 18\)"):
        reader.feed(b"REDIS0011\x63\x07strange\x00\x00")
    with pytest.raises(SnapshotError, match="was refused before"):
        reader.feed(b"")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"KEVYSNAP1", "no RDB"),
        (b"REDIS00x1", "no RDB"),
        (b"REDIS0011\xfe\xc0\x01", "wrong length"),
        (b"REDIS0011\x00\x01k\xc4", "cannot be decoded"),
        (b"REDIS0011\x00\xc3\x01\x50\x00a", "cannot be decoded"),
        (b"REDIS0011\xf0\x01k", "type 240 is not known"),
        (b"REDIS0003\xff\x00", "bytes behind its end"),
        (b"REDIS0011\xff" + bytes(7) + b"\x01", "checksum"),
        (b"REDIS0011\x07\x01k\x81" + bytes(8) + b"\x09", "unknown opcode"),
        (b"REDIS0011\x10\x01k\x03abc\xff" + bytes(8), "cannot be decoded, at key b'k'"),
    ],
)
def test_what_is_no_rdb_is_a_typed_error(body: bytes, text: str) -> None:
    with pytest.raises(SnapshotError, match=text):
        RdbReader().feed(body)


@pytest.mark.parametrize("name", SERVERS)
def test_changed_bytes_whose_checksum_is_right_give_entries_or_a_typed_error(
    start_server: StartServer, name: str
) -> None:
    server = start_server(name=name)
    fill(server, name)
    server.client().delete("repeated", "long list", "large set", "large scores")
    body = saved(server)
    seed = random.Random(name)
    refused = 0
    for _ in range(400):
        changed = bytearray(body[:-8])
        for _ in range(seed.randrange(1, 4)):
            changed[seed.randrange(9, len(changed))] = seed.randrange(256)
        changed += crc64(bytes(changed)).to_bytes(8, "little")
        try:
            read(bytes(changed))
        except SnapshotError:
            refused += 1
        except AssertionError:  # a key came twice: the change made two names equal
            pass
    assert refused > 10


@pytest.mark.parametrize("name", SERVERS)
def test_a_dump_payload_of_every_type_gives_its_entry(start_server: StartServer, name: str) -> None:
    server = start_server(name=name)
    fill(server, name)
    found, _ = read(saved(server))
    client = server.client()
    for (db, key), entry in found.items():
        if db == 0:
            restored, kind = entry_of_dump(b"k" * 70_000, client.dump(key))
            assert restored is not None
            assert kind == restored.type == entry.type
            assert (restored.value, restored.field_expiries) == (entry.value, entry.field_expiries), key


def test_a_dump_payload_of_a_module_gives_the_name_of_its_type(start_server: StartServer) -> None:
    client = start_server(name="redis 8.2").client()
    add_vectors(client, "vectors")
    assert entry_of_dump(b"k", client.dump("vectors")) == (None, "vectorset")


@pytest.mark.parametrize("payload", [b"", b"\x00" * 10, b"\x00" * 12, b"garbage that is long enough to be one"])
def test_what_is_no_dump_payload_is_an_error(payload: bytes) -> None:
    with pytest.raises(SnapshotError):
        entry_of_dump(b"k", payload)
