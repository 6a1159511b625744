"""The commands of an entry build the same key on a real Redis."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kevy_ring.replica.snapshots.entry import Entry, Stream, StreamGroup
from kevy_ring.shard.sinks.redis.entry_commands import GROUP_ELEMENTS, entry_commands
from keyspaces import comparable, differences
from redis_server import RedisServer, read_keyspace, redis_version, start_redis

__all__ = ["redis_version", "start_redis"]

GROUP = StreamGroup(b"g", (5, 1), [(b"c", 7), (b"idle", 9)], [(5, 1, b"c", 9, 2)])
ENTRIES = [
    Entry(b"string", "string", b"\x00\xff\r\n"),
    Entry(b"", "string", b""),
    Entry(b"hash", "hash", {b"%d" % n: b"" for n in range(GROUP_ELEMENTS * 2 + 1)}),
    Entry(b"list", "list", [b"%d" % n for n in range(GROUP_ELEMENTS + 1)]),
    Entry(b"set", "set", {b"%d" % n for n in range(GROUP_ELEMENTS)}),
    Entry(b"zset", "zset", {b"a": 0.1, b"b": float("inf"), b"c": float("-inf"), b"d": 1e300}, 4_000_000_000_123),
    Entry(b"stream", "stream", Stream((9, 3), (8, 0), 12, [(5, 1, [(b"a", b"1"), (b"b", b"2")])], [GROUP])),
    Entry(b"no entries", "stream", Stream((9, 3), (9, 3), 1, [])),
    Entry(b"never any", "stream", Stream(groups=[StreamGroup(b"g", (0, 0))])),
]


def test_a_real_redis_takes_them(start_redis: Callable[..., RedisServer], redis_version: str) -> None:
    client = start_redis().client()
    counts = redis_version != "6.2"
    for entry in ENTRIES:
        for command in entry_commands(entry, stream_counts=counts):
            client.execute_command(*command)
    assert differences(comparable({entry.key: entry for entry in ENTRIES}), read_keyspace(client)) == []
    info = client.xinfo_stream("stream")
    assert info["last-generated-id"] == b"9-3"
    if counts:
        assert (info["entries-added"], info["max-deleted-entry-id"]) == (12, b"8-0")
    assert client.xinfo_stream("no entries")["last-generated-id"] == b"9-3"
    assert client.xinfo_stream("never any")["last-generated-id"] == b"0-0"
    assert [consumer["name"] for consumer in client.xinfo_consumers("stream", "g")] == [b"c", b"idle"]
    pending = client.xpending_range("stream", "g", "-", "+", 10)
    assert [(one["message_id"], one["consumer"], one["times_delivered"]) for one in pending] == [(b"5-1", b"c", 2)]


def test_no_command_has_more_elements_than_the_bound() -> None:
    assert [len(command) for command in entry_commands(ENTRIES[2])] == [2 + 2 * 512, 2 + 2 * 512, 2 + 2]


def test_an_unknown_type_has_no_commands() -> None:
    with pytest.raises(ValueError, match="no commands"):
        list(entry_commands(Entry(b"k", "module", None)))


def test_fields_that_expire_together_share_a_command() -> None:
    fields = {b"%d" % n: b"" for n in range(GROUP_ELEMENTS + 2)}
    entry = Entry(b"k", "hash", fields, None, 0, {field: 5 if field == b"0" else 7 for field in fields})
    expiries = [command[:5] for command in entry_commands(entry) if command[0] == b"HPEXPIREAT"]
    assert expiries == [
        [b"HPEXPIREAT", b"k", b"5", b"FIELDS", b"1"],
        [b"HPEXPIREAT", b"k", b"7", b"FIELDS", b"512"],
        [b"HPEXPIREAT", b"k", b"7", b"FIELDS", b"1"],
    ]
    assert {command[0] for command in entry_commands(entry, field_expiries=False)} == {b"HSET"}
