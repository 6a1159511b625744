"""The view ``text_keys``: the keys and the strings of the sqlite sink as TEXT, for queries by people.

SQLite compares a BLOB with no TEXT, and has no way to tell whether bytes are UTF-8. So the sink notes what is not, in
the table ``not_text``: there the view has NULL.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

_SCHEMA = """
    CREATE TABLE not_text (
        db INTEGER NOT NULL, key BLOB NOT NULL, is_key INTEGER NOT NULL, is_value INTEGER NOT NULL,
        PRIMARY KEY (db, key)
    ) WITHOUT ROWID;
    CREATE VIEW text_keys AS
        SELECT keys.db, CASE WHEN n.is_key THEN NULL ELSE CAST(keys.key AS TEXT) END AS key, keys.type,
            CASE WHEN n.is_value THEN NULL ELSE CAST(keys.value AS TEXT) END AS value, keys.expires_at_ms
        FROM keys LEFT JOIN not_text AS n ON n.db = keys.db AND n.key = keys.key;
"""


class TextView:
    """Keeps ``not_text`` true, in the transactions of the file. Every method may raise sqlite3.Error."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._has_rows = False
        self._written: list[tuple[int, bytes]] = []
        self._found: list[tuple[int, bytes, bool, bool]] = []

    def prepare(self) -> None:
        """Make the table and the view if they are missing, as in a file of an earlier release."""
        execute = self._connection.execute
        if not execute("SELECT 1 FROM sqlite_master WHERE name = 'text_keys'").fetchone():
            execute("BEGIN IMMEDIATE")
            try:
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    execute(statement)
                self._insert(_not_text(execute("SELECT db, key, type, value FROM keys")))
                execute("COMMIT")
            except BaseException:
                execute("ROLLBACK")
                raise
        self._has_rows = execute("SELECT EXISTS (SELECT 1 FROM not_text)").fetchone()[0] == 1

    def noting(self, rows: Iterable[Any]) -> Iterator[Any]:
        """Pass on rows of ``keys`` that are about to be written; ``settle`` follows."""
        self._written.clear()
        self._found.clear()
        for row in rows:
            if self._has_rows:
                self._written.append((row[0], row[1]))
            self._found += _not_text((row,))
            yield row

    def settle(self) -> None:
        """The rows are written."""
        self.delete(self._written)
        self._insert(self._found)

    def delete(self, keys: Iterable[tuple[int, bytes]]) -> None:
        """Keys are deleted, or written again."""
        if self._has_rows:
            self._connection.executemany("DELETE FROM not_text WHERE db = ? AND key = ?", keys)

    def clear(self, db: int | None = None) -> None:
        """All keys are deleted, or those of one database."""
        if self._has_rows:
            self._connection.execute("DELETE FROM not_text WHERE ? IS NULL OR db = ?", (db, db))

    def _insert(self, rows: Iterable[tuple[int, bytes, bool, bool]]) -> None:
        cursor = self._connection.executemany("INSERT OR REPLACE INTO not_text VALUES (?, ?, ?, ?)", rows)
        self._has_rows = self._has_rows or cursor.rowcount > 0


def _not_text(rows: Iterable[Any]) -> Iterator[tuple[int, bytes, bool, bool]]:
    for row in rows:
        is_key, is_value = not _is_text(row[1]), not _is_text(row[3])
        if is_key or is_value:
            yield row[0], row[1], is_key, is_value


def _is_text(value: Any) -> bool:
    if not isinstance(value, bytes):
        return True
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
