"""A sink that is a SQLite file: the keys and the changes as tables, one transaction for each batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kevy_ring.errors import SinkError
from kevy_ring.events import BytesLike
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard.extras import check_fakeredis, missing_extra
from kevy_ring.shard.filters.key_filter import NO_FILTER, KeyFilter
from kevy_ring.shard.owned_frames import owned_frames
from kevy_ring.shard.sinks.options import DEFAULT_OPTIONS
from kevy_ring.shard.sinks.place_lock import WAIT_S, PlaceLock
from kevy_ring.shard.sinks.refusals import Refusals
from kevy_ring.shard.sinks.retention import FOREVER, RemovalLog, Retention
from kevy_ring.shard.sinks.sink import load_by_stage
from kevy_ring.shard.sinks.skipped_keys import SkippedKeys
from kevy_ring.shard.sinks.sqlite.change_log import Removed
from kevy_ring.shard.sinks.sqlite.file import BUSY_S, SqliteFile, SqlitePosition
from kevy_ring.shard.sinks.sqlite.row import ChangeRow, KeyRow, change_row, key_row
from kevy_ring.shard.sinks.sqlite.stage import SqliteStage
from kevy_ring.shard.snapshot import Snapshot

if TYPE_CHECKING:
    from kevy_ring.inbox import Batch
    from kevy_ring.shard.sinks.store.tracked_store import TrackedStore


class SqliteSink:
    """Applies commands to databases in memory, as the memory sink does, and writes what changed to the file.

    ``commit`` writes the changes, the keys that they touched and the position in one transaction; ``stored_offset`` is
    the position's. A command between MULTI and EXEC is a change like any other: what opens the file finds the
    transaction where it stood. ``refusals`` counts the commands that were answered with an error.

    It holds a lock beside the file for its life: another sink is refused (SinkError ``"locked"``). Every commit and
    flush looks whether the file is still there. ``path``: of the file. ``file_mode``: of the files that it makes.
    ``busy_s``: how long it waits for a reader's lock, ``lock_wait_s`` for a predecessor to end. ``filter``: what
    the sink gets. A file that was filled with another one raises SinkError (``"refused"``). ``changes``:
    how much of the table of changes it keeps.

    The whole keyspace is held in memory too; it is read from the file when the first command comes. Raises SinkError
    where fakeredis is missing or of a version that was not tested, and where the file cannot be had.
    """

    durable = True

    def __init__(
        self,
        path: str | Path,
        *,
        busy_s: float = BUSY_S,
        file_mode: int = DEFAULT_OPTIONS.file_mode,
        lock_wait_s: float = WAIT_S,
        filter: KeyFilter = NO_FILTER,
        refusals: Refusals | None = None,
        changes: Retention = FOREVER,
    ) -> None:
        check_fakeredis("sqlite")
        try:
            from kevy_ring.shard.sinks.store.shortcut_probe import usable_shortcuts
            from kevy_ring.shard.sinks.store.tracked_store import TrackedStore
        except ImportError as error:
            raise missing_extra("sqlite", "fakeredis", f"cannot be imported ({error})") from error
        # Probed here and not while a batch is applied: what the probe catches keeps frames, and so views of the batch.
        shortcuts = usable_shortcuts()
        self._new_store: Callable[[], TrackedStore] = lambda: TrackedStore(shortcuts)
        self._store: TrackedStore | None = None
        # Without symbolic links: two names of one file are one place.
        self.path = Path(os.path.realpath(path))
        self._lock = PlaceLock(
            self.path.with_name(f"{self.path.name}-lock"),
            f"sqlite:{self.path}",
            file_mode=file_mode,
            wait_s=lock_wait_s,
        )
        try:
            self._file = SqliteFile(path, busy_s=busy_s, file_mode=file_mode)
        except BaseException:
            self._lock.close()
            raise
        self.refusals = refusals or Refusals("sqlite")
        self._file.changes.retention = changes
        #: The changes that this object removed, see ``changes``.
        self.removed = RemovalLog(f"sqlite:{self.path}", changes)
        self._changes: list[ChangeRow] = []
        self._closed = False
        self._moved: str | None = None  # the filter's state, until a commit stores it
        try:
            self._file.adopt_filter(str(filter))
            self._stored = self._applied = self._file.position()
        except BaseException:
            self._file.close()
            self._lock.close()
            raise

    @property
    def stored_offset(self) -> int | None:
        """The offset of the last change in the file, or of the snapshot; None before the first."""
        return self._stored.offset

    @property
    def stream_state(self) -> str:
        """The state of the filter at ``stored_offset``."""
        return self._file.filter_state()

    def move_on(self, offset: int, state: str) -> None:
        self._applied = self._applied._replace(offset=offset)
        self._moved = state

    def apply(self, offset: int, argv: Sequence[BytesLike]) -> None:
        store = self._live()
        store.set_clock()
        argv = owned = [bytes(item) for item in argv]  # no view is left here: an error that is kept keeps this frame
        self._run(store, offset, owned)

    def apply_batch(self, batch: Batch) -> None:
        self.apply_frames(owned_frames(batch))

    def apply_frames(self, frames: Iterable[tuple[int, list[bytes]]]) -> None:
        """Apply ``frames``, each its offset and its arguments, as one by one with :meth:`apply`."""
        store = self._live()
        store.set_clock()
        try:
            for offset, argv in frames:
                self._run(store, offset, argv)
        except BaseException:
            self.rollback()
            raise

    def commit(self) -> None:
        """Write what was applied. If it raises, the file is unchanged, and all since the last commit is forgotten."""
        if not self._changes and self._moved is None:
            return
        try:
            self.check()
            with self._file.transaction():
                removed = self._write_changes() if self._changes else None
                if self._moved is not None:
                    self._file.put_state(self._moved)
                self._file.move(self._stored, self._applied)
        except BaseException:
            self.rollback()
            raise
        self._changes.clear()
        self._stored = self._applied
        self._moved = None
        if removed is not None:
            self.removed.note(*removed)

    def _write_changes(self) -> Removed | None:
        """Write what was applied. Returns what the retention removed."""
        log, keep_from = self._file.changes, self._applied.transaction_offset
        self._file.do(lambda: log.add(self._changes, keep_from))
        removed = self._file.do(lambda: log.trim(len(self._changes), keep_from))
        store = self._live()
        self._write_touched(store)
        if store.skipped.has_changed and not store.in_transaction:
            # The next process that opens the file runs the commands of an open transaction again.
            self._file.put_skipped(*store.skipped.take_changed())
        return removed

    def tidy(self) -> None:
        """Remove changes that have become too old while none came."""
        log, keep_from = self._file.changes, self._stored.transaction_offset
        if self._changes or not self._file.do(lambda: log.has_due(keep_from)):
            return
        with self._file.transaction():
            removed = self._file.do(lambda: log.trim(0, keep_from))
        if removed is not None:
            self.removed.note(*removed)

    def rollback(self) -> None:
        """Forget what was applied since the last commit."""
        self._changes.clear()
        self._moved = None
        self._forget_store()
        with suppress(SinkError):
            # A commit that failed while it was written may still be in the file.
            self._stored = self._file.position()
        self._applied = self._stored

    def load(self, snapshot: Snapshot) -> None:
        load_by_stage(self, snapshot)

    def stage(self) -> SqliteStage:
        self.commit()
        return SqliteStage(self, self._file)

    def adopt(self, position: SqlitePosition) -> None:
        """Note that the file holds only a snapshot of this position."""
        self._forget_store()
        self._stored = self._applied = position
        self._moved = None

    def flush(self) -> None:
        self.commit()
        self.check()
        self._file.sync()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self.flush()
        finally:
            self._file.close()
            self._lock.close()
            self.refusals.close()

    def check(self) -> None:
        """Raises SinkError if the file, its log or the lock was deleted, moved or replaced."""
        self._file.check()
        self._lock.check()

    @property
    def position(self) -> SqlitePosition:
        """The stored position."""
        return self._stored

    def row_of(self, entry: Entry) -> KeyRow:
        """The row of the key in ``entry``. Raises SinkError for a value of a type that has no row."""
        try:
            return key_row(entry)
        except ValueError as error:
            raise SinkError(f"sqlite:{self.path}", reason="refused", detail=f"key {entry.key!r}: {error}") from error

    def _run(self, store: TrackedStore, offset: int, argv: list[bytes]) -> None:
        refused = store.run(argv)
        if refused is not None:
            self.refusals.refuse(offset, store.selected, argv, refused)
        _, db, multi = self._applied
        if not store.in_transaction:
            db, multi = store.selected, None
        elif multi is None:
            multi = offset
        elif len(argv) == 2 and argv[0].upper() == b"SELECT" and argv[1].isdigit():
            db = int(argv[1])
        self._applied = SqlitePosition(offset, db, multi)
        self._changes.append(change_row(offset, db, argv))

    def _forget_store(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.forget()

    def _live(self) -> TrackedStore:
        """The databases, as of the last commit and of what was applied since."""
        store = self._store
        if store is None:
            store = self._new_store()
            for entry in self._file.entries():
                store.put(entry)
            _, db, multi = self._stored
            store.select(db)
            store.skipped = SkippedKeys(self._file.skipped(), db)
            if multi is not None:
                for argv in self._file.commands_from(multi):
                    store.run(argv)  # MULTI and what was queued behind it: queued again
            store.forget_touched()
            self._store = store
        return store

    def _write_touched(self, store: TrackedStore) -> None:
        for db, keys, is_all in store.take_touched():
            if is_all:
                self._file.clear_database(db)
            gone: list[tuple[int, bytes]] = []
            self._file.put_keys(self._rows(store, db, store.keys(db) if is_all else keys, gone))
            self._file.delete_keys(gone)

    def _rows(
        self, store: TrackedStore, db: int, keys: Iterable[bytes], gone: list[tuple[int, bytes]]
    ) -> Iterator[KeyRow]:
        for key in keys:
            entry = store.entry(db, key)
            if entry is None:
                gone.append((db, key))
            else:
                yield self.row_of(entry)
