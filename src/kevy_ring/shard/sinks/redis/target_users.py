"""Which runs write to a Redis server now: each names its connections there, and CLIENT LIST tells of the others'.

The server forgets a name with its connection. So nothing is left by a run that was killed.
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
    """Keeps two runs out of one replica: their commands would be applied twice there.

    ``run``: tells the connections of this run, in whatever process, from those of others. ``only_db``: the database
    that is the replica; None: all of the server's.
    """

    def __init__(self, sink: str, *, run: str, only_db: int | None, wait_s: float = WAIT_S) -> None:
        self._sink = sink
        self._run = run
        self._db = "*" if only_db is None else str(only_db)
        self._wait_s = wait_s

    def introduce(self, target: Target) -> None:
        """Name a connection. A server that does not let this user do so is written to without a name."""
        _ask(target, b"CLIENT", b"SETNAME", f"{_PREFIX}:{self._db}:{self._run}".encode())

    def check(self, target: Target) -> None:
        """Raises TargetRefused while another run writes to the same databases, after a wait for one that is ending.

        A server that does not let this user list its clients cannot be asked.
        """
        deadline = time.monotonic() + self._wait_s
        while (other := self._other(target)) is not None:
            if time.monotonic() >= deadline:
                number, address = other
                detail = (
                    f"another run writes there, from {address}, and two would apply every command twice. End it, or "
                    f"name another server or database; if it is gone and its connection is not: CLIENT KILL ID {number}"
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
    """The reply of a command; None where the server refuses it."""
    try:
        reply = target.ask(*command)
    except SinkError as error:
        if error.reason != "refused":
            raise
        return None
    return reply if isinstance(reply, bytes) else None
