"""A store that knows which keys may have changed since the last call.

Nothing here knows a command. Whatever a command does to a key, it first takes the key's value out of the database's
dictionary, or puts one in, or takes it away: that is what is noted. So a key that was only read is noted as well, and
none that was changed is missed, whether a script, a transaction, an expiry or a shortcut changed it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard.sinks.store.replica_database import ReplicaDatabase
from kevy_ring.shard.sinks.store.shortcuts import Shortcut
from kevy_ring.shard.sinks.store.store import Store, entry_of


class Touched(NamedTuple):
    """Of database ``db``, what may have changed: these keys, or with ``is_all`` any."""

    db: int
    keys: set[bytes]
    is_all: bool


class TouchedDict(dict[bytes, Any]):
    """Notes the keys whose items were taken out, put in or taken away; ``all_touched``: it may be any.

    ``home``: the number of the database that it was when the notes were last taken; None: it is newer.
    """

    __slots__ = ("all_touched", "home", "touched")

    def __init__(self) -> None:
        super().__init__()
        self.touched: set[bytes] = set()
        self.all_touched = False
        self.home: int | None = None

    def __getitem__(self, key: bytes) -> Any:
        self.touched.add(key)
        return super().__getitem__(key)

    def get(self, key: bytes, default: Any = None) -> Any:
        self.touched.add(key)
        return super().get(key, default)

    def setdefault(self, key: bytes, default: Any = None) -> Any:
        self.touched.add(key)
        return super().setdefault(key, default)

    def __setitem__(self, key: bytes, item: Any) -> None:
        self.touched.add(key)
        super().__setitem__(key, item)

    def __delitem__(self, key: bytes) -> None:
        self.touched.add(key)
        super().__delitem__(key)

    def pop(self, key: bytes, *default: Any) -> Any:
        self.touched.add(key)
        return super().pop(key, *default)

    def popitem(self) -> tuple[bytes, Any]:
        self.all_touched = True
        return super().popitem()

    def clear(self) -> None:
        self.all_touched = True
        super().clear()

    def update(self, *args: Any, **kwargs: Any) -> None:
        self.all_touched = True
        super().update(*args, **kwargs)

    def items(self) -> Any:
        self.all_touched = True
        return super().items()

    def values(self) -> Any:
        self.all_touched = True
        return super().values()

    def untouched_get(self, key: bytes) -> Any:
        """The item of a key, or None, without a note."""
        return super().get(key)


class TrackedStore(Store):
    """A :class:`Store` that notes what its commands touch."""

    def __init__(self, shortcuts: dict[bytes, Shortcut]) -> None:
        super().__init__(shortcuts)
        self._seen: dict[int, TouchedDict] = {}

    def _new_database(self) -> ReplicaDatabase:
        database = super()._new_database()
        database._dict = TouchedDict()
        return database

    def take_touched(self) -> Iterator[Touched]:
        """What may have changed since the last call, or since the store was made; database by database."""
        for number, database in list(self.server.dbs.items()):
            keys = _dict_of(database)
            # SWAPDB exchanges the dictionaries of two databases.
            is_all = keys.all_touched or keys.home not in (None, number) or self._seen.get(number, keys) is not keys
            if is_all or keys.touched:
                yield Touched(number, keys.touched, is_all)
        for number, database in self.server.dbs.items():
            keys = self._seen[number] = _dict_of(database)
            keys.home, keys.touched, keys.all_touched = number, set(), False

    def forget_touched(self) -> None:
        """From now on."""
        for _ in self.take_touched():
            pass

    def entry(self, number: int, key: bytes) -> Entry | None:
        """A key, expired or not; None if there is none. Does not count as a touch."""
        item = _dict_of(self.server.dbs[number]).untouched_get(key)
        return None if item is None else entry_of(key, item, number)

    def keys(self, number: int) -> list[bytes]:
        """The keys of a database, expired or not. Does not count as a touch."""
        return list(_dict_of(self.server.dbs[number]))


def _dict_of(database: Any) -> TouchedDict:
    keys = database._dict
    assert isinstance(keys, TouchedDict)
    return keys
