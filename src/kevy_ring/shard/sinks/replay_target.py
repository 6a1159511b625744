"""The sinks to which dead letters can be replayed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from kevy_ring.errors import SinkError
from kevy_ring.replica.upstream_url import REDIS_SCHEMES
from kevy_ring.shard.refused.letter import DeadLetter
from kevy_ring.shard.refused.replay import ReplayTarget
from kevy_ring.shard.sinks.python import PythonSink
from kevy_ring.shard.sinks.refusals import Refusals
from kevy_ring.shard.sinks.sink_url import place_of_shard

if TYPE_CHECKING:
    from kevy_ring.shard.sinks.sqlite.replay_sink import SqliteReplaySink


def replay_target(url: str, *, shard: int, shards: int, upstream: str) -> ReplayTarget:
    """The sink that ``url`` names, for the letters of one shard. ``upstream``: the name of the shard's upstream.

    Opening it is refused while a run writes there. Raises ``ValueError`` as ``check_replay_sink`` does, and SinkError
    and TargetRefused as the sinks do.
    """
    check_replay_sink(url)
    own = url.replace("{shard}", str(shard))
    kind, _, rest = own.partition(":")
    if kind == "python" and rest:
        return PythonReplay(PythonSink(rest))
    if kind == "sqlite" and rest:
        from kevy_ring.shard.sinks.sqlite.replay_sink import SqliteReplaySink

        return SqliteReplay(SqliteReplaySink(place_of_shard(url, shard=shard, shards=shards)))
    return RedisReplay(own, upstream)


def check_replay_sink(url: str) -> None:
    """Raises ``ValueError`` for a URL that names no sink to which letters can be replayed."""
    kind, _, rest = url.partition(":")
    if (kind in ("python", "sqlite") and rest) or (kind in REDIS_SCHEMES and rest.startswith("//")):
        return
    if kind == "jsonl":
        raise ValueError("a jsonl sink refuses no command: there is nothing to replay to it")
    raise ValueError("dead letters are replayed to a sqlite:FILE, redis:// or python: sink. Other sinks keep nothing")


class PythonReplay:
    """Calls the callable for each letter. It alone knows whether that is safe."""

    def __init__(self, sink: PythonSink) -> None:
        self._sink = sink

    def existing(self, db: int, keys: Sequence[bytes]) -> list[bytes] | None:
        return None

    def apply(self, letter: DeadLetter) -> str | None:
        try:
            self._sink.target(letter.offset or 0, list(letter.argv))
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        self._sink.flush()
        return None

    def close(self) -> None:
        self._sink.close()


class SqliteReplay:
    """Writes the keys of each command in a transaction of its own. The tables of changes and position stay."""

    def __init__(self, sink: SqliteReplaySink) -> None:
        self._sink = sink

    def existing(self, db: int, keys: Sequence[bytes]) -> list[bytes] | None:
        return [key for key in keys if self._sink.holds(db, key)]

    def apply(self, letter: DeadLetter) -> str | None:
        refused = self._sink.apply_beside(letter.db, list(letter.argv))
        self._sink.flush()
        return refused

    def close(self) -> None:
        self._sink.close()


class _LastRefusal(Refusals):
    """Keeps the last refusal for the replay."""

    last: str | None = None

    def add(self, offset: int | None, command: bytes, reply: str) -> None:
        self.last = str(reply)


class RedisReplay:
    """Sends each command to the server, and keeps its mark true."""

    def __init__(self, url: str, upstream: str) -> None:
        from kevy_ring.shard.sinks.redis.replay_sink import RedisReplaySink

        self._refusals = _LastRefusal("replay")
        self._sink = RedisReplaySink(url, upstream=upstream, refusals=self._refusals)
        self._db = 0

    def existing(self, db: int, keys: Sequence[bytes]) -> list[bytes] | None:
        return [key for key in keys if self._sink.holds(db, key)]

    def apply(self, letter: DeadLetter) -> str | None:
        self._refusals.last = None
        if letter.db != self._db:
            self._sink.apply(letter.offset or 0, [b"SELECT", b"%d" % letter.db])
            self._db = letter.db
        self._sink.apply(letter.offset or 0, list(letter.argv))
        self._sink.flush()
        return self._refusals.last

    def close(self) -> None:
        with suppress(SinkError):  # an earlier error of the connection was reported already
            self._sink.close()
