"""The keys in the file of a sqlite sink, read by SQL while the sink writes to it, as any program can."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kevy_ring.cli.failure import Failure
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard.sinks.sqlite.row import entry_of_row
from kevy_ring.shard.snapshot import SkippedKey

_PAGE_KEYS = 1000
_BUSY_S = 10.0
_COLUMNS = "SELECT db, key, type, value, expires_at_ms FROM keys"


class SqliteKeys:
    """A key source. Raises :class:`Failure` if the file cannot be read."""

    expiry_slack_ms = 1  # the sink's store keeps expiries as seconds in a float

    def __init__(self, path: str | Path) -> None:
        self._path = os.path.abspath(path)

    def databases(self) -> list[int]:
        return [db for (db,) in self._rows("SELECT DISTINCT db FROM keys ORDER BY db")]

    def skipped(self) -> list[SkippedKey]:
        """The keys that the snapshot skipped and that were not deleted or rewritten since."""
        return [SkippedKey(*row) for row in self._rows("SELECT db, key, type FROM skipped")]

    def pages(self, db: int) -> Iterator[dict[bytes, Entry]]:
        page = self._entries(f"{_COLUMNS} WHERE db = ? ORDER BY key LIMIT ?", (db, _PAGE_KEYS))
        while page:
            yield page
            page = self._entries(
                f"{_COLUMNS} WHERE db = ? AND key > ? ORDER BY key LIMIT ?", (db, max(page), _PAGE_KEYS)
            )

    def read(self, db: int, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        found: dict[bytes, Entry] = {}
        for start in range(0, len(keys), _PAGE_KEYS // 2):
            some = keys[start : start + _PAGE_KEYS // 2]
            marks = ", ".join("?" * len(some))
            found |= self._entries(f"{_COLUMNS} WHERE db = ? AND key IN ({marks})", (db, *some))
        return found

    def _entries(self, query: str, arguments: tuple[Any, ...]) -> dict[bytes, Entry]:
        rows = self._rows(query, arguments)
        try:
            return {entry.key: entry for entry in map(entry_of_row, rows)}
        except ValueError as error:
            raise Failure(f"sqlite:{self._path}: a row that the sink did not write: {error}") from None

    def _rows(self, query: str, arguments: tuple[Any, ...] = ()) -> list[Any]:
        try:
            with closing(sqlite3.connect(f"file:{quote(self._path)}?mode=ro", uri=True, timeout=_BUSY_S)) as connection:
                return connection.execute(query, arguments).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise Failure(f"sqlite:{self._path}: reading keys: {error}") from None
