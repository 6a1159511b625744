"""A fakeredis server, the one connection that a stream is applied through, and its keys as plain values.

fakeredis has no public way to run a command without a client and its reply, nor to put a value into a database as it
is; the private names that both need are used in this file, in the connection, the database and the shortcuts only.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any

from fakeredis import FakeServer
from fakeredis._core._database import Item
from fakeredis.model import ExpiringMembersSet, Hash, XStream, ZSet

from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard.sinks.jsonl.line import selected_by
from kevy_ring.shard.sinks.refusals import RefusedInTransaction
from kevy_ring.shard.sinks.skipped_keys import SkippedKeys
from kevy_ring.shard.sinks.store import stream_value
from kevy_ring.shard.sinks.store.replica_database import ReplicaClock, ReplicaDatabase, shown_at
from kevy_ring.shard.sinks.store.replica_socket import ReplicaSocket
from kevy_ring.shard.sinks.store.shortcuts import Shortcut
from kevy_ring.shard.sinks.store.translations import TRANSLATIONS

#: New enough for fakeredis to know every command that it has.
REDIS_VERSION = (8, 8)

#: About connections, servers or waiting, never about keys: no honest stream has them, and each could stop the store.
REFUSED = frozenset(
    b"ACL AUTH CLIENT CONFIG DEBUG HELLO MONITOR PSUBSCRIBE PSYNC PUNSUBSCRIBE QUIT REPLICAOF RESET SHUTDOWN SLAVEOF "
    b"SSUBSCRIBE SUBSCRIBE SUNSUBSCRIBE SYNC UNSUBSCRIBE UNWATCH WAIT WATCH".split()
)
#: Part of honest streams, and without effect on keys.
PASSED_OVER = frozenset(b"FUNCTION PING PUBLISH REPLCONF SPUBLISH".split())


class Store:
    """The databases of one replica. From one thread, except for clients of ``server``."""

    def __init__(self, shortcuts: dict[bytes, Shortcut]) -> None:
        self.server = FakeServer(version=REDIS_VERSION)
        self.shortcuts = self._usable = shortcuts
        self._skipped = SkippedKeys()
        self._clock = ReplicaClock()
        self._queued: list[list[bytes]] = []  # the commands of an open transaction
        self.server.dbs.clear()
        self.server.dbs.default_factory = self._new_database  # type: ignore[attr-defined]
        self.reconnect()

    def _new_database(self) -> ReplicaDatabase:
        return ReplicaDatabase(self.server.lock, self._clock)

    @property
    def skipped(self) -> SkippedKeys:
        """The keys of a snapshot or a RESTORE that could not be decoded and are missing here."""
        return self._skipped

    @skipped.setter
    def skipped(self, keys: SkippedKeys) -> None:
        self._skipped = keys
        self._choose_shortcuts()

    def forgo_shortcuts(self) -> None:
        """Use no shortcuts from now on: without them fakeredis takes its lock and wakes its waiting clients."""
        self.shortcuts = {}
        self._choose_shortcuts()

    def _choose_shortcuts(self) -> None:
        # A shortcut asks for no marks: this way the plain case pays nothing for them.
        self._usable = {} if self._skipped else self.shortcuts

    def reconnect(self) -> None:
        """Begin a stream: database 0, no transaction."""
        self._queued = []
        self._socket = ReplicaSocket(self.server, self._clock, value_of=value_of, mark_undecoded=self._mark)

    @property
    def in_transaction(self) -> bool:
        """True between MULTI and EXEC."""
        return self._socket._transaction is not None

    @property
    def selected(self) -> int:
        """The number of the selected database."""
        return int(self._socket._db_num)

    @property
    def databases(self) -> list[int]:
        """The numbers of the databases that have keys which a reader sees."""
        self.set_clock()
        return sorted(number for number, db in self.server.dbs.items() if next(iter(db), None) is not None)

    def set_clock(self) -> None:
        """Let relative expiries count from now. fakeredis does that by itself, a shortcut does not."""
        now = time.time()
        for db in self.server.dbs.values():
            db.time = now

    def run(self, argv: list[bytes], *, is_admitted: bool = False) -> str | None:
        """Apply one command. Returns None, or the text of the error that it was refused with.

        That is an :class:`OnSkippedKey` where it needs a key that is in ``skipped`` (not asked if ``is_admitted``).
        """
        name = argv[0]
        socket = self._socket
        shortcut = self._usable.get(name)
        if shortcut is not None and socket._transaction is None and shortcut(socket._db, argv):
            return None
        if self._skipped and not is_admitted:
            return self._run_beside_skipped(argv)
        name = name.upper()
        if name in PASSED_OVER:
            return None
        if name in REFUSED:
            return f"ERR {name.decode()} has no place in a replication stream"
        if name == b"SELECT" and len(argv) == 2 and socket._transaction is None:
            return self._select(argv[1])
        translation = TRANSLATIONS.get(name)
        for command in [argv] if translation is None else translation(argv):
            refused = self._run_ordinary(command)
            if refused is not None:
                return refused
        return None

    def _run_beside_skipped(self, argv: list[bytes]) -> str | None:
        if not self.in_transaction:
            self.skipped.db = self.selected
        commands, refused = self.skipped.admit(argv)
        for command in commands:
            other = self.run(command, is_admitted=True)
            refused = refused or other  # type: ignore[assignment]
        self._choose_shortcuts()
        return refused

    def _mark(self, key: bytes, kind: str) -> None:
        self.skipped.mark(self.selected, key, kind)
        self._choose_shortcuts()

    def _run_ordinary(self, argv: list[bytes]) -> str | None:
        self._socket.reply = None
        was_open, db = self.in_transaction, self.selected
        try:
            self._socket._process_command(argv)
        except Exception as error:  # fakeredis's own faults: one command is lost, not the stream
            return f"{type(error).__name__}: {error}"
        reply, self._socket.reply = self._socket.reply, None
        refused = _error_in(reply)
        if was_open:
            if self.in_transaction:
                if refused is None:
                    self._queued.append(argv)
            else:
                queued, self._queued = self._queued, []
                if refused is not None:
                    return in_transaction(refused, reply, queued, db)
        return refused

    def _select(self, index: bytes) -> str | None:
        try:
            # Not through fakeredis, which stops at 16 databases.
            number = int(index)
        except ValueError:
            number = -1
        if number < 0:
            return f"ERR invalid database {index!r}"
        self.select(number)
        return None

    def select(self, number: int) -> None:
        """Select the database of this number."""
        self._socket.select(number)
        self._socket._db.time = time.time()

    def put(self, entry: Entry) -> None:
        """Put one key in, replacing what has its name. The entry's value belongs to the store from now on."""
        item: Any = Item(value_of(entry))
        if entry.expires_at_ms is not None:
            item.expireat = entry.expires_at_ms / 1000.0
        self.server.dbs[entry.db][entry.key] = item

    def swap(self, other: Store) -> None:
        """Exchange all keys with another store in one step, also for clients of ``server``, and begin a stream."""
        with self.server.lock:
            for number in {*self.server.dbs, *other.server.dbs}:
                self.server.dbs[number].swap(other.server.dbs[number])
        self.reconnect()

    def forget(self) -> None:
        """Drop all keys now: fakeredis's objects refer to each other, and wait for the collector of cycles."""
        for db in self.server.dbs.values():
            db._dict.clear()

    def entries(self, number: int) -> Iterator[Entry]:
        """The keys of one database that a reader sees, as copies: without those whose time has come."""
        now = time.time()
        for key, item in list(self.server.dbs[number]._dict.items()):
            shown = shown_at(item, now)
            if shown is not None:
                yield entry_of(key, shown, number)


def entry_of(key: bytes, item: Any, number: int) -> Entry:
    """What fakeredis holds under ``key`` as a plain value, a copy."""
    expires_at_ms = None if item.expireat is None else round(item.expireat * 1000)
    kind, value = _plain(item.value)
    entry = Entry(key, kind, value, expires_at_ms, number)
    if kind == "hash" and item.value._expirations:
        # fakeredis forgets a field before it forgets when that expires.
        entry.field_expiries = {field: at for field, at in item.value._expirations.items() if field in value} or None
    return entry


def value_of(entry: Entry) -> Any:
    """The value of an entry as fakeredis holds it."""
    value = entry.value
    if entry.type == "hash":
        fields = Hash()
        fields._values = value
        for field, at_ms in (entry.field_expiries or {}).items():
            fields._expirations[field] = at_ms
        return fields
    if entry.type == "set":
        return ExpiringMembersSet(dict.fromkeys(value))
    if entry.type == "zset":
        scores = ZSet()
        scores._bylex = value
        scores._byscore.update((score, member) for member, score in value.items())
        return scores
    if entry.type == "stream":
        return stream_value.to_fake(value)
    return value


def _plain(value: Any) -> tuple[str, Any]:
    if isinstance(value, bytes):
        return "string", value
    if isinstance(value, Hash):
        return "hash", value.getall()
    if isinstance(value, list):
        return "list", list(value)
    if isinstance(value, ExpiringMembersSet):
        return "set", set(value)
    if isinstance(value, ZSet):
        return "zset", dict(value.items())
    if isinstance(value, XStream):
        return "stream", stream_value.from_fake(value)
    return type(value).__name__.lower(), _copied(value)


def _copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except TypeError:  # a value that holds its database's lock
        return None


def in_transaction(refused: str, reply: Any, queued: list[list[bytes]], db: int) -> str:
    """The error of an EXEC, with each command of its transaction that had no effect. ``db``: selected at its MULTI."""
    found = RefusedInTransaction(refused)
    found.commands = []
    for number, argv in enumerate(queued):
        # Without a list of replies the whole transaction had no effect.
        error = refused if not isinstance(reply, list) else None
        if isinstance(reply, list) and number < len(reply):
            error = _error_in(reply[number])
        if error is not None:
            found.commands.append((number, db, argv, error))
        db = selected_by(argv, db)
    return found if found.commands else refused


def _error_in(reply: Any) -> str | None:
    """The first error in a reply, which for EXEC is a list of replies."""
    if isinstance(reply, Exception):
        # Its traceback keeps our callers' frames, and the views of a batch that they hold.
        reply.__traceback__ = None
        return str(reply)
    if isinstance(reply, list):
        for part in reply:
            found = _error_in(part)
            if found is not None:
                return found
    return None
