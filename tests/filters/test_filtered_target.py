"""A Redis target behind a filter: its databases, and the filter in its mark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from filtered_stream import Command, at_offsets
from kevy_ring import Frame, replica_inbox_pair
from kevy_ring.errors import TargetRefused
from kevy_ring.replica.upstream_url import parse_upstream
from kevy_ring.shard import KeyFilter, Shard, sink_from_url
from kevy_ring.shard.sinks.options import SinkOptions
from kevy_ring.shard.sinks.redis.target_mark import is_mark
from redis_server import RedisServer, find_redis

#: An upstream that the sink cannot ask. It is a Redis, so its stream has only commands that changed something.
NOT_THERE = parse_upstream("redis://127.0.0.1:1")
IN_5 = KeyFilter(databases=[5], keys=[b"user:*"])


@pytest.fixture
def target(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(find_redis("7.0"), tmp_path / "target")
    yield server
    server.stop()


def apply(url: str, chosen: KeyFilter, stream: list[Command], *, replace: bool = False) -> None:
    sender, receiver = replica_inbox_pair(capacity=1 << 16)
    with closing(sender), closing(receiver):
        options = SinkOptions(filter=chosen, upstreams=(NOT_THERE,), replace_target=replace)
        with closing(sink_from_url(url, options=options)) as sink, closing(Shard(receiver, sink)) as shard:
            sender.send_many([Frame(offset, argv) for offset, argv in stream])
            while shard.tick():
                pass


def keys(server: RedisServer, db: int) -> set[bytes]:
    return {key for key in server.client(db=db).keys("*") if not is_mark(key)}


STREAM = at_offsets(
    [
        [b"SET", b"user:0", b"v"], [b"SELECT", b"5"], [b"MSET", b"user:1", b"v", b"order:1", b"v"],
        [b"MULTI"], [b"SET", b"user:2", b"v"], [b"EXEC"], [b"MOVE", b"user:2", b"0"], [b"SWAPDB", b"0", b"1"],
        [b"COPY", b"user:1", b"user:3", b"DB", b"5"], [b"SELECT", b"0"], [b"MULTI"], [b"SET", b"user:8", b"v"],
        [b"SELECT", b"5"], [b"DEL", b"user:9"], [b"SELECT", b"0"], [b"SET", b"user:8", b"v"], [b"EXEC"],
        [b"SET", b"user:7", b"v"], [b"FLUSHDB"],
    ]
)  # fmt: skip


def test_one_database_of_the_upstream_becomes_the_one_database_of_the_target(target: RedisServer) -> None:
    target.client(db=0).set("of others", 1)
    apply(f"{target.url}/3", IN_5, STREAM)
    assert (keys(target, 3), keys(target, 0), keys(target, 5)) == ({b"user:1", b"user:3"}, {b"of others"}, set())
    apply(f"{target.url}/3", IN_5, at_offsets([[b"SELECT", b"5"], [b"FLUSHALL"], [b"SET", b"user:4", b"v"]]))
    assert (keys(target, 3), keys(target, 0)) == ({b"user:4"}, {b"of others"})


def test_a_target_without_a_database_keeps_the_numbers(target: RedisServer) -> None:
    apply(target.url, IN_5, STREAM)
    assert (keys(target, 5), keys(target, 0)) == ({b"user:1", b"user:3"}, set())


def test_another_filter_on_a_filled_target_is_refused_with_both_named_unless_it_may_be_replaced(
    target: RedisServer,
) -> None:
    url = f"{target.url}/3"
    apply(url, IN_5, STREAM)
    for other, words in ((KeyFilter(databases=[5]), "the filter --db 5"), (KeyFilter(), "no filter")):
        with pytest.raises(TargetRefused) as error:
            apply(url, other, [])
        assert f"filled with the filter --db 5 --keys 'user:*', and this run has {words}." in str(error.value)
        assert "give --replace-target" in str(error.value)
    assert keys(target, 3) == {b"user:1", b"user:3"}
    apply(url, IN_5, [])
    apply(url, KeyFilter(databases=[5]), [], replace=True)
