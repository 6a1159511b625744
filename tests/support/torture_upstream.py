"""The upstreams of the torture: the embedded one and a real Redis, both under steady writes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.testing import EmbeddedPrimary
from redis_server import RedisServer, comparable_value, find_redis, read_keyspace
from redis_workload import Writes, fill

# Redis puts these between commands. They are no events: PING, and the request for an acknowledgement.
_PING_BYTES = len(b"*1\r\n$4\r\nPING\r\n")
_GETACK_BYTES = len(b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n")
_BETWEEN_MAX = 200  # the most of them between two commands

Keys = dict[tuple[int, bytes], tuple[str, Any]]


class TorturedUpstream(Protocol):
    """The calls that the torture makes on an upstream."""

    url: str

    def cut_links(self) -> None:
        """Cut every replication link at once."""

    def finish(self) -> None:
        """Stop the writes."""

    def is_done(self) -> bool:
        """True after the last write."""

    def final_offset(self) -> int:
        """The offset of the last event. Call it after ``finish``."""

    def keys(self, databases: Sequence[int]) -> Keys:
        """Type and value of every key. Call it after ``finish``."""

    def gap(self, before: int, after: int, argv: list[bytes]) -> str:
        """The error in two neighbouring offsets of a change log. Empty: there is none."""

    def close(self) -> None:
        """End it."""


class Embedded:
    """The embedded upstream, one shard, kevy's protocol 2."""

    def __init__(self, seconds: float, rate: float, seed: int) -> None:
        self._primary = EmbeddedPrimary.start(
            1, 5_000, int(seconds * rate), rate=rate, seed=seed, protocol=2, auto_live=True
        )
        self.url = self._primary.url

    def cut_links(self) -> None:
        self._primary.drop_links()

    def finish(self) -> None:
        pass  # the number of its writes is fixed in advance

    def is_done(self) -> bool:
        return self._primary.live_done()

    def final_offset(self) -> int:
        return self._primary.final_offset(0)

    def keys(self, databases: Sequence[int]) -> Keys:
        return comparable_keys({0: self._primary.keyspace(0)}.items())

    def gap(self, before: int, after: int, argv: list[bytes]) -> str:
        return "" if after == before + 1 else f"offset {after} follows {before}"

    def close(self) -> None:
        self._primary.close()


class Redis:
    """A real Redis server of this machine, with writes from a thread."""

    def __init__(self, seconds: float, rate: float, seed: int, directory: Path, version: str = "7.0") -> None:
        self._server = RedisServer(
            find_redis(version),
            directory,
            *("--repl-backlog-size", "256mb", "--client-output-buffer-limit", "replica 0 0 0"),
        )
        self._client = self._server.client()
        fill(self._client, 3_000)
        self._writes = Writes(self._client, 3_000, seed, rate=rate)
        # A replica that was stopped or killed meanwhile misses most of them.
        self._writes.expiries = True
        self._final: int | None = None
        self._is_done = False
        self.url = self._server.url

    def cut_links(self) -> None:
        self._client.client_kill_filter(_type="replica")

    def finish(self) -> None:
        self._writes.close()
        self._is_done = True

    def is_done(self) -> bool:
        return self._is_done

    def final_offset(self) -> int:
        while self._final is None:
            before = self._offset()
            last = [b"SET", b"the last change", b"made"]
            self._client.execute_command(*last)
            after = self._offset()
            if after - before == resp_bytes(last):  # else the offset contains a PING, which is no event
                self._final = after
        return self._final

    def _offset(self) -> int:
        return int(self._client.info("replication")["master_repl_offset"])

    def keys(self, databases: Sequence[int]) -> Keys:
        found = read_keyspace(self._client)
        return {(0, key): (kind, value) for key, (kind, value, _) in found.items()}

    def gap(self, before: int, after: int, argv: list[bytes]) -> str:
        between = after - before - resp_bytes(argv)
        if between in _BETWEEN:
            return ""
        return f"offset {after} follows {before}, but the command has {resp_bytes(argv)} bytes"

    def close(self) -> None:
        self._server.stop()


_BETWEEN = {
    pings * _PING_BYTES + questions * _GETACK_BYTES
    for pings, questions in itertools.product(range(_BETWEEN_MAX), range(4))
}


def resp_bytes(argv: list[bytes]) -> int:
    """The bytes of a command on the wire."""
    sizes = [len(argument) for argument in argv]
    return len(f"*{len(sizes)}\r\n") + sum(len(f"${size}\r\n") + size + 2 for size in sizes)


def comparable_keys(databases: Any) -> Keys:
    """Entries in the form for comparing keyspaces, without expired ones, which each side deletes in its own time."""
    found: Keys = {}
    for db, entries in databases:
        for key, entry in entries.items():
            found[db, key] = (entry.type, _value(entry))
    return found


def _value(entry: Entry) -> Any:
    if entry.type == "stream":
        return [(ms, seq, sorted(fields)) for ms, seq, fields in entry.value.entries]
    if entry.type == "set":
        return set(entry.value)
    return comparable_value(entry.type, entry.value)


Start = Callable[[float, float, int, Path], TorturedUpstream]
UPSTREAMS: dict[str, Start] = {
    "embedded": lambda seconds, rate, seed, directory: Embedded(seconds, rate, seed),
    "redis": lambda seconds, rate, seed, directory: Redis(seconds, rate, seed, directory / "redis"),
}
