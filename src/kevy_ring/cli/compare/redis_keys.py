"""The keys of a Redis server, or of a server with the same commands, read in pipelines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, cast

from kevy_ring.cli.failure import Failure
from kevy_ring.replica.snapshots.entry import Entry, Stream, StreamGroup
from kevy_ring.replica.upstream_url import UpstreamUrl, parse_upstream

TIMEOUT_S = 30.0
#: Keys per pipeline. The server answers other clients between two pipelines.
PAGE_KEYS = 500
#: PTTL and TIME are not read at the same moment.
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
    """A key source. A value that cannot be read (a module's type) is None; its type is the server's name for it.

    ``only_db``: read only this database, as database ``of_db`` of its upstream. Raises :class:`Failure` if the
    server cannot be reached or refuses to let the user read.
    """

    def __init__(self, url: str | UpstreamUrl, *, only_db: int | None = None, of_db: int = 0) -> None:
        self._url = parse_upstream(url)
        self._only_db = only_db
        self._of_db = of_db
        self._clients: dict[int, Any] = {}
        self._has_pexpiretime = True

    @property
    def expiry_slack_ms(self) -> int:
        return 0 if self._has_pexpiretime else _PTTL_SLACK_MS

    def databases(self) -> list[int]:
        if self._only_db is not None:
            return [self._of_db]
        keyspace = bytes(self._ask(0, [[b"INFO", b"keyspace"]])[0])
        names = [line.partition(b":")[0] for line in keyspace.splitlines()]
        return [int(name[2:]) for name in names if name.startswith(b"db") and name[2:].isdigit()]

    def pages(self, db: int) -> Iterator[dict[bytes, Entry]]:
        found = self._client(db).scan_iter(count=PAGE_KEYS)
        while True:
            with self._failures_of(b"SCAN"):
                keys = list(islice(found, PAGE_KEYS))
            if not keys:
                return
            yield self.read(db, keys)

    def read(self, db: int, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        found: dict[bytes, Entry] = {}
        for start in range(0, len(keys), PAGE_KEYS):
            found |= self._read_page(db, keys[start : start + PAGE_KEYS])
        return found

    def close(self) -> None:
        """Close the connections. The next read opens new ones."""
        while self._clients:
            self._clients.popitem()[1].connection_pool.disconnect()

    def _read_page(self, db: int, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        kinds = [bytes(kind).decode() for kind in self._ask(db, [[b"TYPE", key] for key in keys])]
        present = [(key, kind) for key, kind in zip(keys, kinds, strict=True) if kind != "none"]
        ask_expiries = self._expiry_commands([key for key, _ in present])
        readable = [(key, kind) for key, kind in present if kind in _READS]
        reads = [_READS[kind](key) for key, kind in readable]
        replies = self._ask(db, [*ask_expiries, *reads], refusals_too=True)
        expiries = self._expiries_in(replies[: len(ask_expiries)])
        if expiries is None:
            self._has_pexpiretime = False
            return self._read_page(db, keys)
        values = dict(zip((key for key, _ in readable), replies[len(ask_expiries) :], strict=True))
        entries = {}
        for (key, kind), expires_at_ms in zip(present, expiries, strict=True):
            reply = values.get(key)
            # An error: a key of another type took its place between the two pipelines. It will be read again.
            value = None if isinstance(reply, Exception) or reply is None else _plain(kind, reply)
            if kind == "stream" and value is not None:
                value = self._with_groups(db, key, value)
            entries[key] = Entry(key, kind, value, expires_at_ms, db)
        return entries

    def _expiry_commands(self, keys: list[bytes]) -> list[list[bytes]]:
        if self._has_pexpiretime:
            return [[b"PEXPIRETIME", key] for key in keys]
        return [[b"TIME"], *([b"PTTL", key] for key in keys)]

    def _expiries_in(self, replies: list[Any]) -> list[int | None] | None:
        """When each key expires, from the replies to ``_expiry_commands``. None: Redis before 7 refused them."""
        if self._has_pexpiretime:
            if any(isinstance(reply, Exception) for reply in replies):
                return None
            return [reply if reply >= 0 else None for reply in replies]
        clock, *left = replies
        if isinstance(clock, Exception):
            now_ms = time.time_ns() // 1_000_000
        else:
            now_ms = int(clock[0]) * 1000 + int(clock[1]) // 1000
        return [now_ms + ms if isinstance(ms, int) and ms >= 0 else None for ms in left]

    def _with_groups(self, db: int, key: bytes, stream: Stream) -> Stream:
        about, groups = self._ask(db, [[b"XINFO", b"STREAM", key], [b"XINFO", b"GROUPS", key]], refusals_too=True)
        if isinstance(about, list):
            stream.last_id = _id(_fields(about)[b"last-generated-id"])
        if isinstance(groups, list):
            for group in map(_fields, groups):
                stream.groups.append(StreamGroup(group[b"name"], _id(group[b"last-delivered-id"])))
        return stream

    def _client(self, db: int) -> Any:
        """A client with one connection, which selects ``db`` whenever it opens."""
        if db not in self._clients:
            self._clients[db] = _client_of(self._url, db if self._only_db is None else self._only_db)
        return self._clients[db]

    def _ask(self, db: int, commands: list[list[bytes]], *, refusals_too: bool = False) -> list[Any]:
        """The replies to ``commands``. An error reply raises Failure; with ``refusals_too`` it is in the list."""
        from redis import exceptions

        pipeline = self._client(db).pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        with self._failures_of():
            replies: list[Any] = pipeline.execute(raise_on_error=False)
        kind = exceptions.NoPermissionError if refusals_too else exceptions.ResponseError
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, kind):
                with self._failures_of(command[0]):
                    raise reply
        return replies

    @contextmanager
    def _failures_of(self, command: bytes = b"") -> Iterator[None]:
        """Turn errors of redis-py into Failures. ``command``: the command that an error reply refuses."""
        from redis import exceptions

        try:
            yield
        except (exceptions.RedisError, OSError) as error:
            self.close()
            is_refusal = command and isinstance(error, exceptions.ResponseError)
            what = f"{command.decode()} was refused" if is_refusal else "reading keys"
            raise Failure(f"{self._url.redacted}: {what}: {self._url.scrub(str(error))}") from None


def _client_of(url: UpstreamUrl, db: int) -> Any:
    from redis import Redis, exceptions
    from redis.backoff import NoBackoff
    from redis.connection import ConnectionPool
    from redis.retry import Retry

    def connection(**_: Any) -> Any:
        made = cast(Any, url.redis_connection(TIMEOUT_S))
        made.db = db
        # Do not ask a server again that did not answer in time: that would double a long wait.
        made.retry = Retry(NoBackoff(), 1, supported_errors=(exceptions.ConnectionError,))
        return made

    pool = ConnectionPool(connection_class=cast(Any, connection), max_connections=1, protocol=2)
    client = Redis(connection_pool=pool)
    # Keep replies as the server sends them. redis-py turns a stream's entry into a dict and loses repeated fields.
    callbacks = cast(Any, client.response_callbacks)
    for name in set(callbacks) - {"SCAN"}:
        del callbacks[name]
    return client


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
    # A connection may speak RESP3 although RESP2 was asked for. RESP3 has maps.
    return dict(flat) if isinstance(flat, dict) else dict(_pairs(flat))


def _pairs(flat: Any) -> list[tuple[Any, Any]]:
    items = iter(flat)
    return list(zip(items, items, strict=True))


def _id(name: bytes) -> tuple[int, int]:
    ms, _, seq = bytes(name).partition(b"-")
    return int(ms), int(seq)
