"""Values at the edges of their types, as real servers save them: the reader gives what the server answers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.replica.snapshots.rdb import RdbReader
from redis_server import RedisServer, find_server

SERVERS = ["redis 6.2", "redis 7.0", "redis 8.2", "valkey 8.1", "valkey 9.1"]
SCORES = (
    0.0,
    -0.0,
    math.inf,
    -math.inf,
    5e-324,
    -1.7976931348623157e308,
    1 / 3,
    1e17,
    1e-7,
    9007199254740993.0,
    -4096.0,
)
NUMBERS = [
    sign * (1 << bits) + off
    for bits in (0, 6, 7, 12, 13, 15, 16, 23, 24, 31, 32, 62, 63)
    for sign in (1, -1)
    for off in (-1, 0)
]
IN_RANGE = sorted({n for n in NUMBERS if -(1 << 63) <= n < 1 << 63})


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    started = RedisServer(find_server(request.param), tmp_path / "server")
    yield started
    started.stop()


def saved(server: RedisServer) -> dict[bytes, Entry]:
    server.client().save()
    reader = RdbReader()
    entries = reader.feed((server.directory / "dump.rdb").read_bytes())
    reader.finish()
    assert reader.left_out == []
    return {entry.key: entry for entry in entries}


def test_scores_are_bit_for_bit_those_of_the_server(server: RedisServer) -> None:
    client = server.client()
    members = {f"m{n}": score for n, score in enumerate(SCORES)}
    client.zadd("small", members)
    client.zadd("large", {**members, **{f"n{n}": n for n in range(1200)}})
    found = saved(server)
    for key in ("small", "large"):
        value = found[key.encode()].value
        for member, score in members.items():
            said = client.execute_command("ZSCORE", key, member)
            got = value[member.encode()]
            assert (got, math.copysign(1, got)) == (float(said), math.copysign(1, float(said))), (key, member)
            assert got == score


def test_numbers_of_every_width_are_those_that_were_written(server: RedisServer) -> None:
    client = server.client()
    texts = [b"%d" % n for n in IN_RANGE] + [b"-0", b"01", b"+1", b"9223372036854775808", b"-9223372036854775809", b""]
    for n, text in enumerate(texts):
        client.set(f"s{n}", text)
    client.rpush("list", *texts)
    client.hset("hash", mapping={b"f" + text: text for text in texts})
    client.sadd("mixed", *texts)
    for width in (16, 32, 64):
        client.sadd(f"i{width}", *(n for n in IN_RANGE if -(1 << width - 1) <= n < 1 << width - 1))
    client.xadd("stream", {text: text for text in texts}, id="5-5")
    found = saved(server)
    for n, text in enumerate(texts):
        assert found[b"s%d" % n].value == text
    assert found[b"list"].value == texts
    assert found[b"hash"].value == {b"f" + text: text for text in texts}
    assert found[b"mixed"].value == set(texts)
    for width in (16, 32, 64):
        assert found[b"i%d" % width].value == client.smembers(f"i{width}")
    assert found[b"stream"].value.entries == [(5, 5, [(text, text) for text in texts])]


def test_compressed_strings_are_read_wherever_they_lie(server: RedisServer) -> None:
    client = server.client()
    text = [(b"%d" % n) * 400 + b"tail" for n in range(30)]
    client.set(text[0], text[1])
    client.rpush("list", *text, b"p" * 20_000, b"", b"q" * 9000)
    client.sadd("set", *text)
    client.zadd("zset", {each: n for n, each in enumerate(text)})
    client.hset("hash", mapping={each: each for each in text})
    client.hset("packed", mapping={b"f%d" % n: b"a" * 60 for n in range(60)})
    client.xadd("stream", {each: each for each in text})
    client.xgroup_create("stream", b"g" * 300, "0")
    client.xreadgroup(b"g" * 300, b"c" * 300, {"stream": ">"})
    found = saved(server)
    assert found[text[0]].value == text[1]
    assert found[b"list"].value == client.lrange("list", 0, -1)
    assert found[b"set"].value == set(text)
    assert found[b"zset"].value == {each: n for n, each in enumerate(text)}
    assert found[b"hash"].value == {each: each for each in text}
    assert found[b"packed"].value == client.hgetall("packed")
    stream = found[b"stream"].value
    assert stream.entries[0][2] == [(each, each) for each in text]
    assert stream.groups[0].name == b"g" * 300
    assert [name for name, _ in stream.groups[0].consumers] == [b"c" * 300]


def test_a_stream_at_the_edges_of_ids_with_deleted_and_pending_entries(server: RedisServer) -> None:
    client = server.client()
    largest = (1 << 64) - 1
    ids = ["0-1", f"0-{largest}", "7-0", f"7-{1 << 63}", f"{1 << 48}-3", f"{(1 << 63) + 5}-{largest - 1}"]
    for n, each in enumerate(ids):
        client.xadd("stream", {"same": n} if n % 2 else {f"other{n}": n, "same": "", f"x{n}": "y" * n}, id=each)
    client.xgroup_create("stream", "pending", "0")
    client.xgroup_create("stream", "empty", "0")
    client.xreadgroup("pending", "reader", {"stream": ">"}, count=4)
    client.execute_command("XGROUP", "CREATECONSUMER", "stream", "pending", "idle")
    client.xdel("stream", ids[1], ids[2])  # these stay pending
    client.xadd("trimmed", {"f": "v"}, id="1-1")
    client.xtrim("trimmed", maxlen=0, approximate=False)
    found = saved(server)
    value = found[b"stream"].value
    assert [(b"%d-%d" % (ms, seq), dict(pairs)) for ms, seq, pairs in value.entries] == client.xrange("stream")
    assert [b"%d-%d" % each[:2] for each in value.entries] == [ids[n].encode() for n in (0, 3, 4, 5)]
    pending, empty = sorted(value.groups, key=lambda group: group.name, reverse=True)
    assert [b"%d-%d" % each[:2] for each in pending.pending] == [each.encode() for each in ids[:4]]
    assert {name for name, _ in pending.consumers} == {b"reader", b"idle"}
    assert (empty.pending, empty.consumers) == ([], [])
    assert found[b"trimmed"].value.entries == []
    assert found[b"trimmed"].value.last_id == (1, 1)


@pytest.mark.parametrize("server", ["redis 8.2", "valkey 9.1"], indirect=True)
def test_fields_with_and_without_an_expiry_stand_side_by_side(server: RedisServer) -> None:
    client = server.client()
    for key, count in (("small", 9), ("large", 1200)):
        client.hset(key, mapping={f"f{n}": n for n in range(count)})
        for n in range(0, count, 3):
            client.execute_command("HPEXPIREAT", key, (1 << 43) + n * 7919, "FIELDS", 1, f"f{n}")
        client.execute_command("HPERSIST", key, "FIELDS", 1, "f3")
    found = saved(server)
    for name, count in ((b"small", 9), (b"large", 1200)):
        assert found[name].value == client.hgetall(name)
        assert found[name].field_expiries == {b"f%d" % n: (1 << 43) + n * 7919 for n in range(0, count, 3) if n != 3}
