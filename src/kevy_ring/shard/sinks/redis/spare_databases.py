"""Empty databases of a Redis server, which hold a snapshot until it is swapped in."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from kevy_ring.errors import SinkError

if TYPE_CHECKING:
    from kevy_ring.shard.sinks.redis.target import Target

#: In each claimed database. If the lock is missing beside it, the process that claimed the database is gone.
MARK = b"kevy-ring:spare"
LOCK = b"kevy-ring:spare:lock"
#: Ends the claim of the selected database.
UNCLAIM = [b"DEL", MARK, LOCK]
LOCK_S = 600
_RENEW_S = 60.0
_DEFAULT_DATABASES = 16  # the default of Redis, for servers that hide their configuration


class SpareDatabases:
    """Claims databases, so that two loads into one server never use the same one."""

    def __init__(self, target: Target, *, keep: int | None, token: bytes) -> None:
        """``keep``: a database that is never claimed. ``token``: identifies this load."""
        self._target = target
        self._keep = keep
        self._token = token
        self._claimed: list[int] = []
        self._renewed_at = time.monotonic()
        self._count = database_count(target) if self._can_swap() else 0

    def claim(self, besides: set[int]) -> int | None:
        """Claim and select the highest empty database, and return it. None: there is none."""
        used = self.in_use()
        for db in range(self._count - 1, -1, -1):
            if db != self._keep and db not in besides and db not in self._claimed and self._take(db, db in used):
                self._claimed.append(db)
                return db
        return None

    def in_use(self) -> set[int]:
        """The databases that hold any key."""
        return {db for db, count in keys_by_database(self._target).items() if count}

    @property
    def renewal_due(self) -> bool:
        """True if the locks of the claims are old enough to be renewed."""
        return bool(self._claimed) and time.monotonic() - self._renewed_at >= _RENEW_S

    def renew(self) -> None:
        """Renew the locks. This may select another database."""
        for db in self._claimed:
            self._target.ask(b"SELECT", b"%d" % db)
            self._target.ask(b"SET", LOCK, self._token, b"EX", b"%d" % LOCK_S)
        self._renewed_at = time.monotonic()

    def give_back(self, target: Target | None = None) -> None:
        """Empty the claimed databases. ``target``: another connection, if the first one no longer works."""
        target = target or self._target
        for db in self._claimed:
            target.ask(b"SELECT", b"%d" % db)
            target.ask(b"FLUSHDB", b"ASYNC")
        self._claimed.clear()

    def _take(self, db: int, used: bool) -> bool:
        self._target.ask(b"SELECT", b"%d" % db)
        if used and not self._target.ask(b"EXISTS", MARK):
            return False
        if self._target.ask(b"SET", LOCK, self._token, b"NX", b"EX", b"%d" % LOCK_S) is None:
            return False
        if used:
            # Marked but not locked: the process that filled it is gone.
            self._target.ask(b"FLUSHDB")
            self._target.ask(b"SET", LOCK, self._token, b"EX", b"%d" % LOCK_S)
        self._target.ask(b"SET", MARK, self._token)
        if self._target.ask(b"DBSIZE") == 2:
            return True
        # Another program added keys between the check and the lock.
        self._target.ask(*UNCLAIM)
        return False

    def _can_swap(self) -> bool:
        try:
            self._target.ask(b"SWAPDB", b"0", b"0")
        except SinkError as error:
            if error.reason != "refused":
                raise
            return False
        return True


def database_count(target: Target) -> int:
    """How many databases a server has; the default of Redis if it does not say."""
    try:
        return int(target.ask(b"CONFIG", b"GET", b"databases")[1])
    except SinkError as error:
        if error.reason != "refused":
            raise
    except (IndexError, ValueError):
        pass
    return _DEFAULT_DATABASES


def keys_by_database(target: Target) -> dict[int, int]:
    """How many keys each database of a server holds. This may select another database."""
    try:
        return parse_keyspace(target.ask(b"INFO", b"keyspace"))
    except SinkError as error:
        if error.reason != "refused":
            raise
    found: dict[int, int] = {}
    for db in range(database_count(target)):
        try:
            found[db] = target.ask_all([b"SELECT", b"%d" % db], [b"DBSIZE"])[1]
        except SinkError as error:
            if error.reason != "refused":
                raise
            break  # there are no more databases
    return found


def parse_keyspace(keyspace: bytes) -> dict[int, int]:
    """Read a reply to INFO keyspace: keys by database."""
    return {int(db): int(keys) for db, keys in re.findall(rb"^db(\d+):keys=(\d+)", keyspace, re.MULTILINE)}
