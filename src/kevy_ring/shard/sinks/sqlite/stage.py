"""A snapshot that still arrives at a sqlite sink."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from kevy_ring.errors import SinkError
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard.sinks.sqlite.file import SqliteFile, SqlitePosition
from kevy_ring.shard.sinks.sqlite.row import KeyRow
from kevy_ring.shard.snapshot import Snapshot


class StagedSink(Protocol):
    """The part of the sink that a stage uses. The module of the sink imports this one."""

    path: Path

    @property
    def position(self) -> SqlitePosition: ...
    def row_of(self, entry: Entry) -> KeyRow: ...
    def check(self) -> None: ...
    def adopt(self, position: SqlitePosition) -> None: ...


class SqliteStage:
    """A snapshot that still arrives: one transaction, open from its first key to its last."""

    def __init__(self, sink: StagedSink, file: SqliteFile) -> None:
        self._sink = sink
        self._file = file
        file.begin()
        try:
            file.clear()
        except BaseException:
            file.undo()
            raise

    def add(self, entries: list[Entry]) -> None:
        self._look()
        try:
            self._file.put_keys(map(self._sink.row_of, entries))
        except BaseException:
            self._file.undo()
            raise

    def commit(self, snapshot: Snapshot) -> None:
        self._look()
        self._sink.check()
        self._file.put_skipped(snapshot.left_out.keys)
        after = SqlitePosition(snapshot.applied_offset)
        self._file.put_state("")
        self._file.move(self._sink.position, after)
        self._file.end()
        self._sink.adopt(after)
        self._file.fold()

    def abort(self) -> None:
        self._file.undo()

    def _look(self) -> None:
        """Raise SinkError after a failure. It has ended the transaction, so later rows would be written outside it."""
        if not self._file.in_transaction:
            detail = "the snapshot failed earlier, and nothing of it was stored"
            raise SinkError(f"sqlite:{self._sink.path}", reason="io", detail=detail)
