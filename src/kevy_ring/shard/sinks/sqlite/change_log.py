"""The table ``changes`` of the sqlite sink: every command as a row, and the removal of the oldest.

The keys are in a table of their own, so the sink needs no row of a change for its state, with one exception: the rows
of an open transaction, which the next process runs again. They are never removed.

A removal is part of the transaction that adds rows, so a killed process has done both or neither. The pages of removed
rows are used again by later rows. The file stays as large as it was at its largest; VACUUM would make it smaller.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kevy_ring.shard.sinks.retention import FOREVER
from kevy_ring.shard.sinks.sqlite.row import ChangeRow

#: What a row takes beside its arguments: its key, its database, its time and its place in a page.
ROW_BYTES = 24
#: A removal takes at most this many rows, or twice as many as were added. So it keeps up with any rate, and a long log
#: is cut in steps.
STEP_ROWS = 2000
_SIZE = f"length(CAST(argv AS BLOB)) + {ROW_BYTES}"
#: Marks a table without the column ``at_ms``, of an earlier version: its rows count as of the time of the upgrade.
_WITHOUT_TIME = "SELECT count(*) FROM pragma_table_info('changes') WHERE name = 'at_ms'"


class Removed(NamedTuple):
    """Rows that were removed: how many, their bytes, and the offset of the last one."""

    changes: int
    size_bytes: int
    upto: int


class ChangeLog:
    """The rows of ``changes``. Every method may raise sqlite3.Error."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.retention = FOREVER
        self._connection = connection
        self._size_bytes: int | None = None  # None: not counted yet

    def prepare(self) -> None:
        """Give the table of an earlier version the time of its rows."""
        if not self._connection.execute(_WITHOUT_TIME).fetchone()[0]:
            now = _now_ms()
            self._connection.execute(f"ALTER TABLE changes ADD COLUMN at_ms INTEGER NOT NULL DEFAULT {now}")

    def add(self, rows: Sequence[ChangeRow], keep_from: int | None) -> None:
        """Write changes; their offsets must be new. ``keep_from``: see ``trim``."""
        if self.retention.is_off:
            rows = [] if keep_from is None else [row for row in rows if row[0] >= keep_from]
        now = _now_ms()
        timed = ((*row, now) for row in rows)
        self._connection.executemany('INSERT INTO changes ("offset", db, argv, at_ms) VALUES (?, ?, ?, ?)', timed)
        if self._size_bytes is not None:
            self._size_bytes += sum(len(argv.encode()) + ROW_BYTES for _, _, argv in rows)

    def clear(self) -> None:
        """Remove all rows: a snapshot replaces everything."""
        self._connection.execute("DELETE FROM changes")
        self._size_bytes = 0

    def forget_size(self) -> None:
        """The last transaction was undone, so the rows have to be counted again."""
        self._size_bytes = None

    def has_due(self, keep_from: int | None) -> bool:
        """Whether ``trim`` would remove something."""
        return not self.retention.is_forever and self._due(1, keep_from) is not None

    def trim(self, added: int, keep_from: int | None) -> Removed | None:
        """Remove some of the oldest rows that the retention does not keep; None: there are none.

        ``added``: the rows that the same transaction has added. ``keep_from``: rows from this offset on stay, because
        their transaction is open; None: there is none.
        """
        if self.retention.is_forever:
            return None
        found = self._due(max(STEP_ROWS, 2 * added), keep_from)
        if found is not None:
            self._connection.execute('DELETE FROM changes WHERE "offset" <= ?', (found.upto,))
            if self._size_bytes is not None:
                self._size_bytes -= found.size_bytes
        return found

    def _due(self, most: int, keep_from: int | None) -> Removed | None:
        over = None
        if self.retention.max_bytes is not None:
            over = self._counted() - self.retention.max_bytes
            if over <= 0:
                return None
        count = size_bytes = 0
        upto = None
        for offset, at_ms, row_bytes in self._oldest(most, keep_from):
            is_due = size_bytes < over if over is not None else at_ms < self._oldest_kept_ms()
            if not is_due:
                break
            count, size_bytes, upto = count + 1, size_bytes + row_bytes, offset
        return None if upto is None else Removed(count, size_bytes, upto)

    def _oldest(self, most: int, keep_from: int | None) -> Iterator[tuple[int, int, int]]:
        yield from self._connection.execute(
            f'SELECT "offset", at_ms, {_SIZE} FROM changes WHERE ? IS NULL OR "offset" < ? ORDER BY "offset" LIMIT ?',
            (keep_from, keep_from, most),
        )

    def _oldest_kept_ms(self) -> int:
        return _now_ms() - 1000 * (self.retention.max_age_s or 0)

    def _counted(self) -> int:
        if self._size_bytes is None:
            # Once in the life of a process: it reads the whole log.
            self._size_bytes = self._connection.execute(f"SELECT coalesce(sum({_SIZE}), 0) FROM changes").fetchone()[0]
        return self._size_bytes


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
