"""A keyspace as plain Python values, for the upstream's snapshots and for comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kevy_ring.replica.snapshots.entry import Entry


class Keyspace:
    """The keys of one shard. It applies the commands that the embedded upstream replicates.

    ``entries`` maps each key to its :class:`Entry`. Keys do not expire by themselves: there is no clock, and a replica
    waits for the primary's DEL.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.entries: dict[bytes, Entry] = {entry.key: entry for entry in entries}
        self._commands: dict[bytes, Callable[[Sequence[bytes]], None]] = {
            b"SET": self._set,
            b"APPEND": self._append,
            b"INCRBY": self._incrby,
            b"DEL": self._del,
            b"PEXPIREAT": self._pexpireat,
            b"HSET": self._hset,
            b"HDEL": lambda argv: self._remove(argv, "hash"),
            b"RPUSH": self._rpush,
            b"LPUSH": self._lpush,
            b"LPOP": lambda argv: self._pop(argv[1], 0),
            b"RPOP": lambda argv: self._pop(argv[1], -1),
            b"SADD": self._sadd,
            b"SREM": self._srem,
            b"ZADD": self._zadd,
            b"ZREM": lambda argv: self._remove(argv, "zset"),
        }

    def apply(self, argv: Sequence[bytes]) -> None:
        """Apply one command (its name in capitals). Raises ``ValueError`` for an unknown command or a wrong type."""
        command = self._commands.get(argv[0])
        if command is None:
            raise ValueError(f"a keyspace has no command {argv[0]!r}")
        command(argv)

    def _value(self, key: bytes, kind: str) -> Any:
        """The value of ``key``, or None when there is no such key."""
        entry = self.entries.get(key)
        if entry is None:
            return None
        if entry.type != kind:
            raise ValueError(f"{key!r} is a {entry.type}, not a {kind}")
        return entry.value

    def _value_or(self, key: bytes, kind: str, empty: type) -> Any:
        value = self._value(key, kind)
        if value is None:
            value = empty()
            self.entries[key] = Entry(key, kind, value)
        return value

    def _set(self, argv: Sequence[bytes]) -> None:
        _, key, value = argv
        self.entries[key] = Entry(key, "string", value)

    def _append(self, argv: Sequence[bytes]) -> None:
        _, key, tail = argv
        self._value_or(key, "string", bytes)
        self.entries[key].value += tail

    def _incrby(self, argv: Sequence[bytes]) -> None:
        _, key, step = argv
        total = int(self._value_or(key, "string", bytes) or b"0") + int(step)
        self.entries[key].value = b"%d" % total

    def _del(self, argv: Sequence[bytes]) -> None:
        for key in argv[1:]:
            self.entries.pop(key, None)

    def _pexpireat(self, argv: Sequence[bytes]) -> None:
        _, key, at_ms = argv
        entry = self.entries.get(key)
        if entry is not None:
            entry.expires_at_ms = int(at_ms)

    def _hset(self, argv: Sequence[bytes]) -> None:
        fields = self._value_or(argv[1], "hash", dict)
        for at in range(2, len(argv), 2):
            fields[argv[at]] = argv[at + 1]

    def _rpush(self, argv: Sequence[bytes]) -> None:
        self._value_or(argv[1], "list", list).extend(argv[2:])

    def _lpush(self, argv: Sequence[bytes]) -> None:
        self._value_or(argv[1], "list", list)[:0] = argv[:1:-1]

    def _pop(self, key: bytes, at: int) -> None:
        elements = self._value(key, "list")
        if elements:
            elements.pop(at)
            if not elements:
                del self.entries[key]

    def _sadd(self, argv: Sequence[bytes]) -> None:
        self._value_or(argv[1], "set", set).update(argv[2:])

    def _srem(self, argv: Sequence[bytes]) -> None:
        members = self._value(argv[1], "set")
        if members is not None:
            members.difference_update(argv[2:])
            if not members:
                del self.entries[argv[1]]

    def _zadd(self, argv: Sequence[bytes]) -> None:
        scores = self._value_or(argv[1], "zset", dict)
        for at in range(2, len(argv), 2):
            scores[argv[at + 1]] = float(argv[at])

    def _remove(self, argv: Sequence[bytes], kind: str) -> None:
        named = self._value(argv[1], kind)
        if named is not None:
            for name in argv[2:]:
                named.pop(name, None)
            if not named:
                del self.entries[argv[1]]
