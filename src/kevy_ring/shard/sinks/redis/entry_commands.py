"""The commands that build one key on a Redis server of any version from 6.2 on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice

from kevy_ring.replica.snapshots.entry import Entry, Stream

#: Elements per command. A server serves no other client while it runs one command.
GROUP_ELEMENTS = 512


def entry_commands(entry: Entry, *, stream_counts: bool = True, field_expiries: bool = True) -> Iterator[list[bytes]]:
    """The commands that build a key which does not exist yet.

    ``stream_counts``: the server takes a stream's entries-added and max-deleted-id (Redis 7). ``field_expiries``: its
    hash fields can expire (Redis 7.4, Valkey 9). Raises ``ValueError`` for a type that has no commands.
    """
    key, value = entry.key, entry.value
    if entry.type == "string":
        yield [b"SET", key, value]
    elif entry.type == "hash":
        yield from _grouped([b"HSET", key], value.items())
        if entry.field_expiries and field_expiries:
            yield from _field_expiries(key, entry.field_expiries)
    elif entry.type == "list":
        yield from _grouped([b"RPUSH", key], ((element,) for element in value))
    elif entry.type == "set":
        yield from _grouped([b"SADD", key], ((member,) for member in value))
    elif entry.type == "zset":
        yield from _grouped([b"ZADD", key], ((repr(score).encode(), member) for member, score in value.items()))
    elif entry.type == "stream":
        yield from _stream(key, value, stream_counts)
    else:
        raise ValueError(f"no commands for a value of type {entry.type!r}")
    if entry.expires_at_ms is not None:
        yield [b"PEXPIREAT", key, b"%d" % entry.expires_at_ms]


def _field_expiries(key: bytes, expiries: dict[bytes, int]) -> Iterator[list[bytes]]:
    fields_at: dict[int, list[bytes]] = {}
    for field, at_ms in expiries.items():
        fields_at.setdefault(at_ms, []).append(field)
    for at_ms, fields in fields_at.items():
        for start in range(0, len(fields), GROUP_ELEMENTS):
            some = fields[start : start + GROUP_ELEMENTS]
            yield [b"HPEXPIREAT", key, b"%d" % at_ms, b"FIELDS", b"%d" % len(some), *some]


def _grouped(head: list[bytes], groups: Iterable[tuple[bytes, ...]]) -> Iterator[list[bytes]]:
    left = iter(groups)
    while group := list(islice(left, GROUP_ELEMENTS)):
        yield [*head, *chain.from_iterable(group)]


def _stream(key: bytes, stream: Stream, counts: bool) -> Iterator[list[bytes]]:
    for ms, seq, fields in stream.entries:
        yield [b"XADD", key, b"%d-%d" % (ms, seq), *chain.from_iterable(fields)]
    last_id = b"%d-%d" % stream.last_id
    if not stream.entries:
        # An entry that MAXLEN 0 removes at once makes an empty stream. The id 0-0 cannot be added.
        yield [b"XADD", key, b"MAXLEN", b"0", last_id if any(stream.last_id) else b"0-1", b"x", b"y"]
    yield [b"XSETID", key, last_id] + (
        [b"ENTRIESADDED", b"%d" % stream.entries_added, b"MAXDELETEDID", b"%d-%d" % stream.max_deleted_id]
        if counts
        else []
    )
    for group in stream.groups:
        yield [b"XGROUP", b"CREATE", key, group.name, b"%d-%d" % group.last_id]
        for name, _ in group.consumers:
            yield [b"XGROUP", b"CREATECONSUMER", key, group.name, name]
        for ms, seq, consumer, delivered_ms, deliveries in group.pending:
            yield [
                *(b"XCLAIM", key, group.name, consumer, b"0", b"%d-%d" % (ms, seq)),
                *(b"TIME", b"%d" % delivered_ms, b"RETRYCOUNT", b"%d" % deliveries, b"JUSTID", b"FORCE"),
            ]
