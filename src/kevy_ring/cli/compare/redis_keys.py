"""The keys of a Redis server (or of anything that answers like one), read in pipelines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from kevy_ring.cli.failure import Failure
from kevy_ring.replica.protocols.resp import encode_command
from kevy_ring.replica.snapshots.entry import Entry, Stream, StreamGroup
from kevy_ring.replica.upstream_url import UpstreamUrl, parse_upstream

TIMEOUT_S = 30.0
#: Keys per pipeline: the server answers others in between.
PAGE_KEYS = 500
#: PTTL is read some moments before or after TIME.
_PTTL_SLACK_MS = 500

_READS: dict[str, Callable[[bytes], list[bytes]]] = {
    "string": lambda key: [b"GET", key],
    "hash": lambda key: [b"HGETALL", key],
    "list": lambda key: [b"LRANGE", key, b"0", b"-1"],
    "set": lambda key: [b"SMEMBERS", key],
    "zset": lambda key: [b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"],
    "stream": lambda key: [b"XRANGE", key, b"-", b"+"],
}


class RedisKeys:
    """A key source. A value that cannot be read (a module's type) is None, its type is as the server names it.

    ``only_db``: that database stands for database 0 and is the only one. Raises :class:`Failure` when the server
    cannot be reached or does not let the user read.
    """

    def __init__(self, url: str | UpstreamUrl, *, only_db: int | None = None) -> None:
        self._url = parse_upstream(url)
        self._only_db = only_db
        self._connection: Any = None
        self._selected = 0
        self._has_pexpiretime = True

    @property
    def expiry_slack_ms(self) -> int:
        return 0 if self._has_pexpiretime else _PTTL_SLACK_MS

    def databases(self) -> list[int]:
        if self._only_db is not None:
            return [0]
        keyspace = bytes(self._ask([[b"INFO", b"keyspace"]])[0])
        names = [line.partition(b":")[0] for line in keyspace.splitlines()]
        return [int(name[2:]) for name in names if name.startswith(b"db") and name[2:].isdigit()]

    def pages(self, db: int) -> Iterator[dict[bytes, Entry]]:
        self._select(db)
        cursor = b"0"
        while True:
            cursor, keys = self._ask([[b"SCAN", cursor, b"COUNT", b"%d" % PAGE_KEYS]])[0]
            if keys:
                yield self.read(db, keys)
                self._select(db)
            if cursor == b"0":
                return

    def read(self, db: int, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        self._select(db)
        found: dict[bytes, Entry] = {}
        for start in range(0, len(keys), PAGE_KEYS):
            found |= self._read_page(db, keys[start : start + PAGE_KEYS])
        return found

    def close(self) -> None:
        """Let go of the connection; the next reading opens another."""
        connection, self._connection, self._selected = self._connection, None, 0
        if connection is not None:
            connection.disconnect()

    def _read_page(self, db: int, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        kinds = [bytes(kind).decode() for kind in self._ask([[b"TYPE", key] for key in keys])]
        present = [(key, kind) for key, kind in zip(keys, kinds, strict=True) if kind != "none"]
        expiries = self._expiries([key for key, _ in present])
        readable = [(key, kind) for key, kind in present if kind in _READS]
        replies = self._ask([_READS[kind](key) for key, kind in readable], refusals_too=True)
        values = dict(zip((key for key, _ in readable), replies, strict=True))
        entries = {}
        for (key, kind), expires_at_ms in zip(present, expiries, strict=True):
            reply = values.get(key)
            # Replaced by another type between the two pipelines: no value of this type, so it will be read again.
            value = None if isinstance(reply, Exception) or reply is None else _plain(kind, reply)
            if kind == "stream" and value is not None:
                value = self._with_groups(key, value)
            entries[key] = Entry(key, kind, value, expires_at_ms, db)
        return entries

    def _expiries(self, keys: list[bytes]) -> list[int | None]:
        if self._has_pexpiretime:
            replies = self._ask([[b"PEXPIRETIME", key] for key in keys], refusals_too=True)
            if not any(isinstance(reply, Exception) for reply in replies):
                return [reply if reply >= 0 else None for reply in replies]
            self._has_pexpiretime = False  # before Redis 7
        clock, *left = self._ask([[b"TIME"], *([b"PTTL", key] for key in keys)], refusals_too=True)
        if isinstance(clock, Exception):
            now_ms = time.time_ns() // 1_000_000
        else:
            now_ms = int(clock[0]) * 1000 + int(clock[1]) // 1000
        return [now_ms + ms if isinstance(ms, int) and ms >= 0 else None for ms in left]

    def _with_groups(self, key: bytes, stream: Stream) -> Stream:
        about, groups = self._ask([[b"XINFO", b"STREAM", key], [b"XINFO", b"GROUPS", key]], refusals_too=True)
        if isinstance(about, list):
            stream.last_id = _id(_fields(about)[b"last-generated-id"])
        if isinstance(groups, list):
            for group in map(_fields, groups):
                stream.groups.append(StreamGroup(group[b"name"], _id(group[b"last-delivered-id"])))
        return stream

    def _select(self, db: int) -> None:
        number = db if self._only_db is None else self._only_db
        if number != self._selected:
            self._ask([[b"SELECT", b"%d" % number]])
            self._selected = number

    def _ask(self, commands: list[list[bytes]], *, refusals_too: bool = False) -> list[Any]:
        """The replies to ``commands``. An error reply raises Failure, or stands in the list for ``refusals_too``."""
        from redis import exceptions

        replies: list[Any] = []
        try:
            if self._connection is None:
                self._connection = cast(Any, self._url.redis_connection(TIMEOUT_S))
                self._connection.connect()
            self._connection.send_packed_command([encode_command(*command) for command in commands], check_health=False)
            for command in commands:
                try:
                    replies.append(self._connection.read_response(disable_decoding=True))
                except exceptions.ResponseError as error:
                    if not refusals_too or isinstance(error, exceptions.NoPermissionError):
                        self.close()
                        raise Failure(self._refused(command, str(error))) from None
                    replies.append(error)
        except (exceptions.RedisError, OSError) as error:
            self.close()
            raise Failure(f"{self._url.redacted}: reading keys: {self._url.scrub(str(error))}") from None
        return replies

    def _refused(self, command: list[bytes], text: str) -> str:
        return f"{self._url.redacted}: {command[0].decode()} was refused: {self._url.scrub(text)}"


def _plain(kind: str, reply: Any) -> Any:
    if kind == "hash":
        return _fields(reply)
    if kind == "set":
        return set(reply)
    if kind == "zset":
        return {member: float(score) for member, score in _fields(reply).items()}
    if kind == "stream":
        entries = [(*_id(name), _pairs(fields)) for name, fields in reply]
        return Stream(entries=entries)
    return reply


def _fields(flat: Any) -> dict[bytes, Any]:
    # A connection may speak RESP3, whatever it was asked for: there a map is a map.
    return dict(flat) if isinstance(flat, dict) else dict(_pairs(flat))


def _pairs(flat: Any) -> list[tuple[Any, Any]]:
    items = iter(flat)
    return list(zip(items, items, strict=True))


def _id(name: bytes) -> tuple[int, int]:
    ms, _, seq = bytes(name).partition(b"-")
    return int(ms), int(seq)
