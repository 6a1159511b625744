"""The file of the sqlite sink: its tables, its transactions, and its position in the stream.

    keys      db, key, type, value, expires_at_ms     what the store holds; a key whose expiry has come stays until
                                                      the upstream deletes it
    changes   offset, db, argv, at_ms                 the commands since the last snapshot, in order, and when each was
                                                      applied (Unix ms); ``change_log.py`` removes old ones
    live_keys                                         a view: the keys without those whose time has come
    skipped   db, key, type                           what the snapshot had and this sink cannot hold
    position  offset, db, transaction_offset          one row: the last change or snapshot, the database selected there,
                                                      and the offset of the MULTI that is open there (else NULL)

The view ``text_keys`` (see ``sqlite_text``) is ``keys`` with TEXT for people's queries.

It is in WAL mode: others may read it at any time, and see the state after one batch or after the next.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from kevy_ring.errors import SinkError
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard.disk_error import disk_error
from kevy_ring.shard.filters.stored import check_same_filter
from kevy_ring.shard.sinks.file_modes import create
from kevy_ring.shard.sinks.options import DEFAULT_OPTIONS
from kevy_ring.shard.sinks.place_lock import gone
from kevy_ring.shard.sinks.sqlite.change_log import ChangeLog
from kevy_ring.shard.sinks.sqlite.error import REMEDY, sqlite_error
from kevy_ring.shard.sinks.sqlite.row import KeyRow, argv_of_row, entry_of_row
from kevy_ring.shard.sinks.sqlite.text import TextView
from kevy_ring.shard.snapshot import SkippedKey

#: "kvRg": tells a file of ours from any other database.
APPLICATION_ID = 0x6B765267
#: Another program may hold the file for this long; then the sink fails.
BUSY_S = 5.0
_VERSION = 1
_MAX_OFFSET = 2**63 - 1
Step = TypeVar("Step")

_TABLES = """
    CREATE TABLE keys (
        db INTEGER NOT NULL, key BLOB NOT NULL, type TEXT NOT NULL, value NOT NULL, expires_at_ms INTEGER,
        PRIMARY KEY (db, key)
    );
    CREATE TABLE changes (
        "offset" INTEGER PRIMARY KEY, db INTEGER NOT NULL, argv TEXT NOT NULL, at_ms INTEGER NOT NULL
    );
    CREATE TABLE position (
        one INTEGER PRIMARY KEY CHECK (one = 1), "offset" INTEGER, db INTEGER NOT NULL, transaction_offset INTEGER
    );
    INSERT INTO position VALUES (1, NULL, 0, NULL);
"""

#: Made in files of earlier versions too.
_SKIPPED = """
    CREATE TABLE IF NOT EXISTS skipped (
        db INTEGER NOT NULL, key BLOB NOT NULL, type TEXT NOT NULL, PRIMARY KEY (db, key)
    )
"""
#: The filter that the file was filled with, and its state at the position.
_FILTER = """
    CREATE TABLE IF NOT EXISTS filter (
        one INTEGER PRIMARY KEY CHECK (one = 1), text TEXT NOT NULL, state TEXT NOT NULL
    )
"""
_LIVE_KEYS = """
    CREATE VIEW IF NOT EXISTS live_keys AS SELECT * FROM keys
    WHERE expires_at_ms IS NULL OR expires_at_ms >= (julianday('now') - 2440587.5) * 86400000
"""


class SqlitePosition(NamedTuple):
    """The position in the stream; see the table ``position`` above."""

    offset: int | None = None
    db: int = 0
    transaction_offset: int | None = None


class SqliteFile:
    """One connection to the file at ``path``, which is made if it is missing.

    Every method raises SinkError; a transaction that failed has changed nothing.
    """

    def __init__(self, path: str | Path, *, busy_s: float = BUSY_S, file_mode: int = DEFAULT_OPTIONS.file_mode) -> None:
        # An absolute path: SQLite has meanings of its own for names such as ":memory:". Without symbolic links: SQLite
        # follows them too, and has its log beside the file that they lead to.
        self.path = Path(os.path.realpath(path))
        self._make(file_mode)
        with self._failures():
            self._connection = sqlite3.connect(self.path, timeout=busy_s, isolation_level=None, check_same_thread=False)
        try:
            with self._failures():
                self._prepare()
        except BaseException:
            self._connection.close()
            raise
        # SQLite keeps both open, and continues in files that have no name any more.
        self._identities = {path: _identity(path) for path in (self.path, self._wal)}

    @property
    def _wal(self) -> Path:
        return self.path.with_name(f"{self.path.name}-wal")

    def check(self) -> None:
        """Raises SinkError if the file or its log was deleted, moved or replaced since it was opened."""
        for path, identity in self._identities.items():
            if identity is not None and _identity(path) != identity:
                raise gone(f"sqlite:{self.path}", path)

    @property
    def in_transaction(self) -> bool:
        """True from ``begin`` to ``end`` or ``undo``."""
        return self._connection.in_transaction

    def position(self) -> SqlitePosition:
        """The position in the file."""
        with self._failures():
            row = self._connection.execute('SELECT "offset", db, transaction_offset FROM position').fetchone()
        if row is None:
            raise self._refusal(f"its table position has no row{REMEDY}")
        position = SqlitePosition(*row)
        is_number = [isinstance(number, int) and number >= 0 for number in position]
        if not (is_number[1] and (is_number[0] or row[0] is None) and (is_number[2] or row[2] is None)):
            raise self._refusal(f"its table position holds what this sink has not written{REMEDY}")
        return position

    def adopt_filter(self, text: str) -> None:
        """Store the filter in a new file. Raises SinkError if the file was filled with another filter."""
        with self._failures():
            execute = self._connection.execute
            row = execute("SELECT text FROM filter").fetchone()
            stored = "" if row is None else str(row[0])
            is_new = self.position().offset is None and not execute("SELECT EXISTS (SELECT 1 FROM keys)").fetchone()[0]
            if is_new and stored != text:
                execute("INSERT OR REPLACE INTO filter VALUES (1, ?, '')", (text,))
            elif not is_new:
                check_same_filter(f"sqlite:{self.path}", stored, text, "name another file")

    def filter_state(self) -> str:
        """The filter's state at the position; empty if there is none."""
        with self._failures():
            row = self._connection.execute("SELECT state FROM filter").fetchone()
        return "" if row is None else str(row[0])

    def put_state(self, state: str) -> None:
        """Write the filter's state."""
        self.do(lambda: self._connection.execute("UPDATE filter SET state = ?", (state,)))

    def entries(self) -> Iterator[Entry]:
        """All keys."""
        with self._failures():
            for row in self._connection.execute("SELECT db, key, type, value, expires_at_ms FROM keys"):
                with self._foreign_rows():
                    entry = entry_of_row(row)
                yield entry

    def commands_from(self, offset: int) -> Iterator[list[bytes]]:
        """The changes from this offset on, in order."""
        with self._failures():
            rows = self._connection.execute('SELECT argv FROM changes WHERE "offset" >= ? ORDER BY "offset"', (offset,))
            for (text,) in rows:
                with self._foreign_rows():
                    argv = argv_of_row(text)
                yield argv

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One transaction: the file gets all changes of the block, or none of them."""
        self.begin()
        try:
            yield
            self.end()
        except BaseException:
            self.undo()
            raise

    def begin(self) -> None:
        """Start a transaction. No other program can write until its end."""
        self.do(lambda: self._connection.execute("BEGIN IMMEDIATE"))

    def end(self) -> None:
        """Commit the transaction."""
        self.do(lambda: self._connection.execute("COMMIT"))

    def undo(self) -> None:
        """Forget the transaction, if one is open; never raises."""
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self.changes.forget_size()
                self._connection.execute("ROLLBACK")

    def clear(self) -> None:
        """Delete all keys, changes and marks of skipped keys."""
        self.do(lambda: self._connection.execute("DELETE FROM keys"))
        self.do(self._text.clear)
        self.do(self.changes.clear)
        self.do(lambda: self._connection.execute("DELETE FROM skipped"))

    def clear_database(self, db: int) -> None:
        """Delete the keys of one database."""
        self.do(lambda: self._connection.execute("DELETE FROM keys WHERE db = ?", (db,)))
        self.do(lambda: self._text.clear(db))

    def put_keys(self, rows: Iterable[KeyRow]) -> None:
        """Write keys, and replace those of the same names."""
        noting = self._text.noting(rows)
        self.do(lambda: self._connection.executemany("INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?, ?)", noting))
        self.do(self._text.settle)

    def delete_keys(self, names: Sequence[tuple[int, bytes]]) -> None:
        """Delete keys, each given as (db, key)."""
        self.do(lambda: self._text.delete(names))
        self.do(lambda: self._connection.executemany("DELETE FROM keys WHERE db = ? AND key = ?", names))

    def skipped(self) -> list[SkippedKey]:
        """The keys that are marked as skipped."""
        with self._failures():
            return [SkippedKey(*row) for row in self._connection.execute("SELECT db, key, type FROM skipped")]

    def put_skipped(self, keys: Iterable[SkippedKey], gone: Iterable[tuple[int, bytes]] = ()) -> None:
        """Mark keys as skipped, and remove the marks of others."""
        self.do(lambda: self._connection.executemany("DELETE FROM skipped WHERE db = ? AND key = ?", gone))
        self.do(lambda: self._connection.executemany("INSERT OR REPLACE INTO skipped VALUES (?, ?, ?)", keys))

    def move(self, before: SqlitePosition, after: SqlitePosition) -> None:
        """Replace the position ``before``. Raises SinkError if the file has another one, written by another process."""
        if after.offset is not None and after.offset > _MAX_OFFSET:
            raise self._refusal(f"the offset {after.offset} is beyond what SQLite can hold")
        moved = self.do(
            lambda: self._connection.execute(
                'UPDATE position SET "offset" = ?, db = ?, transaction_offset = ? WHERE "offset" IS ?',
                (*after, before.offset),
            )
        )
        if moved.rowcount != 1:
            raise self._refusal("another process has written to it. End that process: the sink must be the only writer")

    def sync(self) -> None:
        """Return when the committed changes are on the disk. A commit hands them only to the operating system."""
        try:
            # Not the file itself: closing any descriptor of that one would drop SQLite's locks on it.
            fd = os.open(self._wal, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        except OSError as error:
            raise disk_error(f"sqlite:{self.path}", error) from error
        try:
            os.fsync(fd)
        except OSError as error:
            raise disk_error(f"sqlite:{self.path}", error) from error
        finally:
            os.close(fd)

    def fold(self) -> None:
        """Free the log's space after a large transaction, as far as readers allow."""
        with suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file and forget an open transaction. A second call does nothing."""
        self._connection.close()

    def _prepare(self) -> None:
        connection = self._connection
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and self._pragma("application_id") != APPLICATION_ID:
            raise self._refusal("it is the database of another program. Name another file")
        if tables and self._pragma("user_version") != _VERSION:
            raise self._refusal(f"its tables are of version {self._pragma('user_version')}, not {_VERSION}{REMEDY}")
        connection.execute("PRAGMA journal_mode = WAL")
        # The log is synced by `sync` and before every checkpoint: a commit need not wait for the disk.
        connection.execute("PRAGMA synchronous = NORMAL")
        if not tables:
            statements = "".join(
                (
                    *("BEGIN IMMEDIATE;", _TABLES, f"PRAGMA application_id = {APPLICATION_ID};"),
                    *(f"PRAGMA user_version = {_VERSION};", "COMMIT;"),
                )
            )
            connection.executescript(statements)
        self._text = TextView(connection)
        self._text.prepare()
        #: The table ``changes``. Its methods belong into a transaction of this file, and raise sqlite3.Error.
        self.changes = ChangeLog(connection)
        self.changes.prepare()
        connection.execute(_SKIPPED)
        connection.execute(_FILTER)
        connection.execute(_LIVE_KEYS)

    def _make(self, file_mode: int) -> None:
        """Make the file with its permissions, which SQLite gives to its siblings (-wal, -shm) too."""
        try:
            os.close(create(self.path, os.O_RDWR | os.O_EXCL, file_mode))
        except FileExistsError:
            pass
        except OSError as error:
            raise disk_error(f"sqlite:{self.path}", error) from error

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])

    def do(self, step: Callable[[], Step]) -> Step:
        """The result of a step that may raise sqlite3.Error."""
        with self._failures():
            return step()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except OverflowError as error:
            raise self._refusal("a number is beyond what SQLite can hold") from error
        except sqlite3.Error as error:
            raise sqlite_error(self.path, error) from error
        except UnicodeDecodeError as error:  # of a column of text, or of the words of an error that quotes the file
            raise self._refusal(f"it is damaged: {error}{REMEDY}") from error

    @contextmanager
    def _foreign_rows(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise self._refusal(f"it holds a row that this sink has not written ({error}){REMEDY}") from error

    def _refusal(self, detail: str) -> SinkError:
        return SinkError(f"sqlite:{self.path}", reason="refused", detail=detail)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
