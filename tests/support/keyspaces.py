"""Comparing keyspaces: the entries of a sink, the keys of a real server, and recordings in tests/data."""

from __future__ import annotations

import json
from typing import Any

from kevy_ring.replica.snapshots.entry import Entry
from places import DATA
from redis_server import Comparable, comparable_value

#: The clocks are read at different times, and a relative expiry begins when its command is applied.
CLOCKS_MS = 5000


def recorded_keyspace(name: str) -> dict[str, Any]:
    """A keyspace of tests/data. For each key, in hexadecimal: type, value, and whether it had an expiry."""
    keyspace: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text())
    return keyspace


def as_recorded(keyspace: dict[bytes, Entry]) -> dict[str, Any]:
    """The entries in the form of ``recorded_keyspace``."""
    return {
        key.hex(): {"has_ttl": entry.expires_at_ms is not None, "type": entry.type, "value": _in_hex(entry)}
        for key, entry in keyspace.items()
    }


def _in_hex(entry: Entry) -> Any:
    value = entry.value
    if entry.type == "string":
        return value.hex()
    if entry.type == "hash":
        return {field.hex(): text.hex() for field, text in value.items()}
    if entry.type == "zset":
        return {member.hex(): score for member, score in value.items()}
    if entry.type == "set":
        return sorted(member.hex() for member in value)
    if entry.type == "stream":
        return [[f"{ms}-{seq}", [part.hex() for pair in fields for part in pair]] for ms, seq, fields in value.entries]
    return [element.hex() for element in value]


def comparable(keyspace: dict[bytes, Entry]) -> dict[bytes, Comparable]:
    """The entries in the form in which a real server's keys are read."""
    return {key: (entry.type, _comparable(entry), entry.expires_at_ms) for key, entry in keyspace.items()}


def _comparable(entry: Entry) -> Any:
    if entry.type == "stream":
        return [(ms, seq, sorted(fields)) for ms, seq, fields in entry.value.entries]
    return comparable_value(entry.type, entry.value)


def differences(one: dict[bytes, Comparable], other: dict[bytes, Comparable]) -> list[tuple[bytes, Any, Any]]:
    """The keys that differ, with the entry of each side."""
    return [
        (key, one.get(key), other.get(key))
        for key in sorted(one.keys() | other.keys())
        if not _same(one.get(key), other.get(key))
    ]


def _same(a: Comparable | None, b: Comparable | None) -> bool:
    if a is None or b is None or a[:2] != b[:2]:
        return False
    if a[2] is None or b[2] is None:
        return a[2] is b[2]
    return abs(a[2] - b[2]) <= CLOCKS_MS
