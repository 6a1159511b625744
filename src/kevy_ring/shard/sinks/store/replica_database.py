"""fakeredis's database for a replica: the clock deletes nothing.

A Redis replica treats every key as alive for the commands of its primary, and waits for the primary's DEL. Only its
readers see a key whose time has come as absent. So it is here: an expiry is data, and what differs is who looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from random import randrange
from threading import Lock
from typing import Any

from fakeredis._core._database import Database, Item
from fakeredis.model import Hash


class ReplicaClock:
    """Shared by the databases of one store. ``is_applying``: a command of the stream runs now, under the server's lock.

    Commands that come while it is False are those of readers.
    """

    __slots__ = ("is_applying",)

    def __init__(self) -> None:
        self.is_applying = False


class ReplicaDatabase(Database):
    """The keys of one database, expired or not. ``time`` is the real time, for expiries that are relative."""

    def __init__(self, lock: Lock, clock: ReplicaClock) -> None:
        super().__init__(lock)
        self._clock = clock

    def expired(self, item: Any) -> bool:
        return False

    def schedule_expiry(self, key: bytes, expireat: float | None) -> None:
        pass  # nothing is swept out

    def _remove_expired(self) -> None:
        pass

    def __getitem__(self, key: bytes) -> Any:
        item = self._dict[key]
        if self._clock.is_applying:
            return item
        shown = shown_at(item, self.time)
        if shown is None:
            raise KeyError(key)
        return shown

    def __iter__(self) -> Iterator[bytes]:
        if self._clock.is_applying:
            return iter(self._dict)
        return (key for key, item in list(self._dict.items()) if shown_at(item, self.time) is not None)

    def __len__(self) -> int:
        return len(self._dict) if self._clock.is_applying else sum(1 for _ in self)

    def random_key(self) -> bytes | None:
        """A random key that the asker can see."""
        count = len(self)
        return next(islice(self, randrange(count), None)) if count else None


def shown_at(item: Any, now: float) -> Any:
    """What a reader sees of an item at ``now``: the item, one without the fields whose time has come, or None."""
    if item.expireat is not None and item.expireat < now:
        return None
    value = item.value
    if type(value) is not Hash or not value._expirations:
        return item
    now_ms = now * 1000
    due = {field for field, at_ms in value._expirations.items() if at_ms < now_ms}
    if not due:
        return item
    left = Hash()
    left._values = {field: held for field, held in value._values.items() if field not in due}
    left._expirations = {field: at_ms for field, at_ms in value._expirations.items() if field not in due}
    if not left._values:
        return None
    shown: Any = Item(left)
    shown.expireat = item.expireat
    return shown
