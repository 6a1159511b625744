"""Finds other runs that write to a Redis server now: each run names its connections, and CLIENT LIST shows them.

The server forgets a name when its connection ends, so a killed run leaves nothing behind.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from kevy_ring.errors import SinkError, TargetRefused
from kevy_ring.shard.sinks.place_lock import WAIT_S

if TYPE_CHECKING:
    from kevy_ring.shard.sinks.redis.target import Target

_LOOK_S = 0.1
_PREFIX = "kevy-ring:target"
_NAMED = re.compile(
    rb"^id=(?P<id>\d+) addr=(?P<addr>\S+) .*?\bname=%s:(?P<db>\*|\d+):(?P<run>[0-9a-f]+) " % _PREFIX.encode(),
    re.MULTILINE,
)


class TargetUsers:
    """Keeps a second run out of a replica, because every command would be applied twice there.

    ``run``: the same in all processes of this run, and different in other runs. ``only_db``: the database that is the
    replica; None: all databases of the server.
    """

    def __init__(self, sink: str, *, run: str, only_db: int | None, wait_s: float = WAIT_S) -> None:
        self._sink = sink
        self._run = run
        self._db = "*" if only_db is None else str(only_db)
        self._wait_s = wait_s

    def introduce(self, target: Target) -> None:
        """Name a connection. If the server does not allow that, the connection stays without a name."""
        _ask(target, b"CLIENT", b"SETNAME", f"{_PREFIX}:{self._db}:{self._run}".encode())

    def check(self, target: Target) -> None:
        """Raises TargetRefused if another run writes to the same databases. Waits a moment for one that is ending.

        If the server does not let this user list its clients, nothing is checked.
        """
        deadline = time.monotonic() + self._wait_s
        while (other := self._other(target)) is not None:
            if time.monotonic() >= deadline:
                number, address = other
                detail = (
                    f"another run writes there, from {address}, and two would apply every command twice. End it, or "
                    f"name another server or database. If only its connection is left: CLIENT KILL ID {number}"
                )
                raise TargetRefused(self._sink, cause="in-use", detail=detail)
            time.sleep(_LOOK_S)

    def _other(self, target: Target) -> tuple[str, str] | None:
        for found in _NAMED.finditer(_ask(target, b"CLIENT", b"LIST") or b""):
            db, run = found["db"].decode(), found["run"].decode()
            if run != self._run and (db == self._db or "*" in (db, self._db)):
                return found["id"].decode(), found["addr"].decode()
        return None


def _ask(target: Target, *command: bytes) -> bytes | None:
    """The reply of a command; None if the server refuses it."""
    try:
        reply = target.ask(*command)
    except SinkError as error:
        if error.reason != "refused":
            raise
        return None
    return reply if isinstance(reply, bytes) else None
