"""fakeredis's connection for one that only applies: it never waits, and RESTORE takes the payloads of a real DUMP."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import redis
from fakeredis import FakeServer
from fakeredis._core._database import Item
from fakeredis._helpers import OK, SimpleError
from fakeredis._socket import FakeSocket

from kevy_ring.errors import SnapshotError
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.replica.snapshots.rdb import entry_of_dump
from kevy_ring.shard.sinks.store.field_expiry import FieldExpiryCommands, deadline_ms
from kevy_ring.shard.sinks.store.replica_database import ReplicaClock

#: A script may call Redis and compute. Without this, fakeredis gives it Python's builtins, files and processes: by
#: names in its globals, and by the attributes of every Python object in its reach.
_CONFINE = """
    local objects = debug.getmetatable(redis.call)
    objects.__index = nil
    objects.__newindex = nil
    for _, name in ipairs{"debug", "dofile", "io", "loadfile", "module", "os", "package", "python", "require"} do
        _G[name] = nil
    end
"""


class ReplicaSocket(FieldExpiryCommands, FakeSocket):
    """fakeredis's connection for one that only applies: it never waits, and keeps the last reply only.

    Its commands see every key, also an expired one.
    """

    reply: Any = None

    def __init__(
        self,
        server: FakeServer,
        clock: ReplicaClock,
        *,
        value_of: Callable[[Entry], Any],
        mark_undecoded: Callable[[bytes, str], None],
    ) -> None:
        """``value_of``: an entry's value as fakeredis holds it. ``mark_undecoded`` is called with the name and the type
        of a key that RESTORE brought and that cannot be decoded."""
        super().__init__(server, 0, client_class=redis.Redis)
        self._clock = clock
        self._value_of = value_of
        self._mark_undecoded = mark_undecoded

    def _run_command(self, *args: Any) -> Any:
        # A command of a script or a transaction runs inside another one.
        outer, self._clock.is_applying = self._clock.is_applying, True
        try:
            result = super()._run_command(*args)
        finally:
            self._clock.is_applying = outer
        if isinstance(result, Exception):
            # fakeredis's frame and the error's traceback refer to each other. Both would last until the collector of
            # cycles runs, and with them all calling frames and the views into the ring that those hold.
            result.__traceback__ = None
        return result

    def put_response(self, msg: Any) -> None:
        self.reply = msg

    def _blocking(self, timeout: float | None, func: Any, shape: Any = None) -> Any:
        outcome = func(True)
        return outcome if shape is None else shape(outcome)

    def flushall(self, *args: bytes) -> Any:
        return super().flushall(*(arg for arg in args if arg.upper() != b"SYNC"))

    def flushdb(self, *args: bytes) -> Any:
        return super().flushdb(*(arg for arg in args if arg.upper() != b"SYNC"))

    def copy(self, key: Any, newkey: Any, *args: bytes) -> int:
        copied: int = super().copy(key, newkey, *args)
        if copied:
            # fakeredis lets both keys share one value: a change of either would be a change of both.
            item: Any = Item(copy.deepcopy(key.value))
            item.expireat = key.expireat
            newkey.update(item.value)
            newkey.db[newkey.key] = item
        return copied

    def getex(self, key: Any, *args: bytes) -> Any:
        reply = super().getex(key, *args)
        if key and len(args) == 2:
            # fakeredis cuts the expiry to whole seconds.
            key.expireat = deadline_ms(args[0], args[1]) / 1000.0
        return reply

    def restore(self, key: Any, ttl: int, payload: bytes, *args: bytes) -> Any:
        """RESTORE with the payload of a real DUMP. fakeredis's own payload is a pickle, which would be unsafe."""
        options = {arg.upper() for arg in args}
        if key and b"REPLACE" not in options:
            raise SimpleError("BUSYKEY Target key name already exists.")
        try:
            entry, kind = entry_of_dump(key.key, payload)
        except SnapshotError as error:
            raise SimpleError(f"ERR {error.detail}") from error
        if entry is None:
            key.value = None
            self._mark_undecoded(key.key, kind)
            raise SimpleError(f"ERR a payload of type {kind} cannot be decoded")
        key.value = self._value_of(entry)
        if ttl:
            key.expireat = ttl / 1000.0 + (0 if b"ABSTTL" in options else self._db.time)
        return OK

    def _get_server_runtime(self, server: Any) -> Any:
        fresh = not hasattr(server, "_lua_runtime")
        runtime = super()._get_server_runtime(server)
        if fresh:
            runtime.execute(_CONFINE.encode())
        return runtime
