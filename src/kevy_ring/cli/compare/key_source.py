"""Sources of the keys of an upstream or a replica, as plain entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from kevy_ring.cli.failure import Failure
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard.filters.key_filter import KeyFilter
from kevy_ring.testing import EmbeddedPrimary

Pulse = Callable[[], None]


class KeySource(Protocol):
    """Keys by database."""

    @property
    def expiry_slack_ms(self) -> int:
        """How much an expiry read here may differ from the true one."""

    def databases(self) -> list[int]:
        """The databases that hold keys now. A source that is a copy is renewed here."""

    def pages(self, db: int) -> Iterator[dict[bytes, Entry]]:
        """All keys of a database, page by page. A key that changes meanwhile may come with either value, or twice."""

    def read(self, db: int, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Those of ``keys`` that exist, as they are now."""


class EmbeddedKeys:
    """The keys of one shard of an embedded upstream, as they are at the first call."""

    expiry_slack_ms = 0

    def __init__(self, primary: EmbeddedPrimary, shard: int) -> None:
        self._primary = primary
        self._shard = shard

    def databases(self) -> list[int]:
        return [0]

    def pages(self, db: int) -> Iterator[dict[bytes, Entry]]:
        yield self._primary.keyspace(self._shard)

    def read(self, db: int, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        keyspace = self._primary.keyspace(self._shard)
        return {key: keyspace[key] for key in keys if key in keyspace}


class ShardKeys:
    """The keys in the memory of a shard process, which this asks over the process's line."""

    expiry_slack_ms = 1  # a store in memory keeps expiries as seconds in a float

    def __init__(self, ask: Callable[..., Any], shard: int) -> None:
        self._ask = ask
        self._shard = shard

    def databases(self) -> list[int]:
        found: list[int] = self._ask(self._shard, "databases")
        return found

    def pages(self, db: int) -> Iterator[dict[bytes, Entry]]:
        yield self._entries(db, None)

    def read(self, db: int, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        return self._entries(db, list(keys))

    def _entries(self, db: int, keys: list[bytes] | None) -> dict[bytes, Entry]:
        entries: list[Entry] = self._ask(self._shard, "entries", db, keys)
        return {entry.key: entry for entry in entries}


class PassingKeys:
    """The keys of a source that pass a filter."""

    def __init__(self, source: KeySource, chosen: KeyFilter) -> None:
        self._source = source
        self._filter = chosen

    @property
    def expiry_slack_ms(self) -> int:
        return self._source.expiry_slack_ms

    def databases(self) -> list[int]:
        return [db for db in self._source.databases() if self._filter.takes_database(db)]

    def pages(self, db: int) -> Iterator[dict[bytes, Entry]]:
        passes = self._filter.key_passes
        for page in self._source.pages(db):
            yield {key: entry for key, entry in page.items() if passes(db, key)}

    def read(self, db: int, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        passes = self._filter.key_passes
        return self._source.read(db, [key for key in keys if passes(db, key)])


class UnitedKeys:
    """Several sources that together hold one keyspace: the shards of one upstream."""

    def __init__(self, sources: Sequence[KeySource]) -> None:
        self._sources = sources
        self.expiry_slack_ms = max(source.expiry_slack_ms for source in sources)

    def databases(self) -> list[int]:
        return sorted({db for source in self._sources for db in source.databases()})

    def pages(self, db: int) -> Iterator[dict[bytes, Entry]]:
        holder: dict[bytes, int] = {}
        for number, source in enumerate(self._sources):
            for page in source.pages(db):
                for key in page:
                    if holder.setdefault(key, number) != number:
                        raise Failure(f"key {key!r} is in shard {holder[key]} and in shard {number}")
                yield page

    def read(self, db: int, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        found: dict[bytes, Entry] = {}
        for source in self._sources:
            found |= source.read(db, keys)
        return found
