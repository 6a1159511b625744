"""The mark that the redis sink leaves in its target: the upstream of the replica, and how many keys the replica has.

The mark has two keys. ``kevy-ring:target`` names the upstream. It is never copied: a sink that follows a server with
such a key leaves it out. ``{kevy-ring:target}:<random id>`` is copied like any key. A sink that finds its own id in the
stream that it follows knows that its writes come back to it. (The braces put both keys into one slot of a cluster.)
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass, field
from typing import Any

#: The key that names the upstream of the target.
MARK = b"kevy-ring:target"
_VERSION = 1
_ID_BYTES = 16
_ID_PREFIX = b"{" + MARK + b"}:"
_ID_KEY = re.compile(re.escape(_ID_PREFIX) + rb"[0-9a-f]{%d}" % (2 * _ID_BYTES))


def is_mark(key: bytes) -> bool:
    """Whether a key is a mark of any sink, and not a key of a user."""
    return MARK in key and (key == MARK or _ID_KEY.fullmatch(key) is not None)


@dataclass(frozen=True, slots=True)
class Mark:
    """``upstream``: its URL without user and password. ``database``: the one that is the replica; None: all of them.

    ``keys``: how many keys the sink left in each database. ``more``: how many keys it may have added after that count
    (a killed sink cannot count again). ``restores_import_mode``: the sink has switched ``import-mode`` on. ``filter``:
    the text of the filter of the replica; empty: none.
    """

    upstream: str
    database: int | None
    id: str = field(default_factory=lambda: secrets.token_hex(_ID_BYTES))
    keys: dict[int, int] = field(default_factory=dict)
    more: int = 0
    restores_import_mode: bool = False
    filter: str = ""

    @property
    def home(self) -> int:
        """The database of the mark."""
        return self.database or 0

    @property
    def id_key(self) -> bytes:
        """The key that must never appear in the followed stream."""
        return _ID_PREFIX + self.id.encode()

    def update_command(self) -> list[bytes]:
        """Writes the counts. Select database :attr:`home` before it."""
        return [b"SET", MARK, self._text()]

    def write_command(self) -> list[bytes]:
        """Writes both keys. Select database :attr:`home` before it."""
        return [b"MSET", MARK, self._text(), self.id_key, self.upstream.encode()]

    def added(self, found: dict[int, int]) -> int:
        """How many keys of ``found`` (keys by database) this mark does not account for."""
        surplus = sum(max(0, count - self.keys.get(db, 0)) for db, count in found.items())
        return max(0, surplus - self.more)

    def _text(self) -> bytes:
        told = {
            "version": _VERSION,
            "upstream": self.upstream,
            "database": self.database,
            "id": self.id,
            "keys": {str(db): count for db, count in sorted(self.keys.items()) if count},
            "more": self.more,
            "restores_import_mode": self.restores_import_mode,
        }
        if self.filter:
            told["filter"] = self.filter
        return json.dumps(told).encode()


def parse_mark(value: bytes | None) -> Mark | None:
    """The mark in a value of :data:`MARK`; None: the value is not a mark."""
    try:
        told: Any = json.loads(value or b"")
        database = told["database"]
        mark = Mark(
            upstream=str(told["upstream"]),
            database=None if database is None else int(database),
            id=str(told["id"]),
            keys={int(db): int(count) for db, count in told["keys"].items()},
            more=int(told["more"]),
            restores_import_mode=bool(told["restores_import_mode"]),
            filter=str(told.get("filter", "")),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return mark if told.get("version") == _VERSION and is_mark(mark.id_key) else None


def without_mark(argv: list[bytes]) -> list[bytes] | None:
    """A command of a stream without the mark of its server; None: nothing remains of the command."""
    if MARK not in argv:
        return argv
    name = argv[0].upper()
    if name in (b"DEL", b"UNLINK"):
        kept = [argv[0], *(key for key in argv[1:] if key != MARK)]
    elif name == b"MSET":
        pairs = zip(argv[1::2], argv[2::2], strict=False)
        kept = [argv[0], *(part for key, value in pairs if key != MARK for part in (key, value))]
    else:
        keys = argv[1:3] if name in (b"RENAME", b"RENAMENX", b"COPY") else argv[1:2]
        return None if MARK in keys else argv
    return kept if len(kept) > 1 else None
