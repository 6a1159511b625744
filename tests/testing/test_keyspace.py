"""The upstream's model of its keys, compared with fakeredis."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.testing.keyspace import Keyspace
from kevy_ring.testing.workload import Workload

fakeredis = pytest.importorskip("fakeredis")


def keyspace_of(store: Any) -> dict[bytes, Entry]:
    """All keys of a fakeredis, as entries."""
    entries = {}
    for key in store.scan_iter():
        kind = store.type(key).decode()
        value: Any
        if kind == "string":
            value = store.get(key)
        elif kind == "hash":
            value = store.hgetall(key)
        elif kind == "list":
            value = store.lrange(key, 0, -1)
        elif kind == "set":
            value = store.smembers(key)
        else:
            value = dict(store.zrange(key, 0, -1, withscores=True))
        at_ms = store.pexpiretime(key)
        entries[key] = Entry(key, kind, value, at_ms if at_ms > 0 else None)
    return entries


parts = st.sampled_from([b"", b"a", b"b", b"\x00\r\n"])
numbers = st.integers(-50, 50).map(lambda number: b"%d" % number)
commands = st.one_of(
    st.tuples(st.just(b"SET"), st.just(b"s"), parts),
    st.tuples(st.just(b"APPEND"), st.just(b"s"), parts.filter(bool)),
    st.tuples(st.just(b"INCRBY"), st.just(b"n"), numbers),
    st.tuples(st.just(b"HSET"), st.just(b"h"), parts, parts),
    st.tuples(st.just(b"HSET"), st.just(b"h"), parts, parts, parts, parts),
    st.tuples(st.just(b"HDEL"), st.just(b"h"), parts),
    st.tuples(st.sampled_from([b"RPUSH", b"LPUSH"]), st.just(b"l"), parts),
    st.tuples(st.sampled_from([b"RPUSH", b"LPUSH"]), st.just(b"l"), parts, parts, parts),
    st.tuples(st.sampled_from([b"RPOP", b"LPOP"]), st.just(b"l")),
    st.tuples(st.sampled_from([b"SADD", b"SREM"]), st.just(b"m"), parts),
    st.tuples(st.sampled_from([b"SADD", b"SREM"]), st.just(b"m"), parts, parts),
    st.tuples(st.just(b"ZADD"), st.just(b"z"), numbers, parts),
    st.tuples(st.just(b"ZADD"), st.just(b"z"), numbers, parts, numbers, parts),
    st.tuples(st.just(b"ZREM"), st.just(b"z"), parts),
    st.tuples(st.just(b"DEL"), st.sampled_from([b"s", b"n", b"h", b"l", b"m", b"z"])),
    st.tuples(st.just(b"PEXPIREAT"), st.sampled_from([b"s", b"n", b"h", b"l", b"m", b"z"]), st.just(b"4102444800007")),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(commands, max_size=40))
def test_any_commands_leave_the_keys_that_they_leave_in_fakeredis(stream: list[tuple[bytes, ...]]) -> None:
    store = fakeredis.FakeRedis(server=fakeredis.FakeServer())
    keyspace = Keyspace()
    for argv in stream:
        keyspace.apply(argv)
        store.execute_command(*argv)
    assert keyspace.entries == keyspace_of(store)


def test_a_workload_leaves_the_keys_that_it_leaves_in_fakeredis() -> None:
    workload = Workload(shard=0, shards=1, keys=0, ops=6000, value_bytes=48, big_values=1)
    store = fakeredis.FakeRedis(server=fakeredis.FakeServer())
    keyspace = Keyspace()
    for argv in workload.commands():
        keyspace.apply(argv)
        store.execute_command(*argv)
    assert len(keyspace.entries) > 30
    assert keyspace.entries == keyspace_of(store)


def test_a_command_for_another_type_is_refused() -> None:
    keyspace = Keyspace([Entry(b"s", "string", b"")])
    with pytest.raises(ValueError, match="string"):
        keyspace.apply((b"HSET", b"s", b"f", b"v"))
    with pytest.raises(ValueError, match="no command"):
        keyspace.apply((b"FLUSHALL",))
    assert keyspace.entries == {b"s": Entry(b"s", "string", b"")}
