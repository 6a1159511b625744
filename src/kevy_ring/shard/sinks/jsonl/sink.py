"""A sink of files: one JSON line per change, rotated by size, a generation of files per snapshot.

    DIR/generation-000002/snapshot-000001.jsonl   the keys of the snapshot; its last line says that it is whole
    DIR/generation-000002/changes-000001.jsonl    the changes since, in order
    DIR/generation-000003.partial/                a snapshot that still arrives: not a generation yet

A snapshot replaces everything. The generation with the greatest number is the state of the store: its snapshot and then
its changes. A snapshot's directory gets its final name by one rename, after the snapshot is whole and on the disk. The
sink keeps the files of earlier generations; readers may delete them.

Every line of a change has its offset, so the last whole line gives the position in the stream.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kevy_ring.events import BytesLike
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard.disk_error import disk_error
from kevy_ring.shard.owned_frames import owned_frames
from kevy_ring.shard.sinks.file_modes import make_directories
from kevy_ring.shard.sinks.jsonl.line import change_line, end_line, entry_line, selected_by, skipped_lines
from kevy_ring.shard.sinks.jsonl.line_file import LineFile, sync_directory
from kevy_ring.shard.sinks.jsonl.position import CHANGES, JsonlPosition, position_in
from kevy_ring.shard.sinks.options import DEFAULT_OPTIONS
from kevy_ring.shard.sinks.place_lock import WAIT_S, PlaceLock
from kevy_ring.shard.sinks.refusals import Refusals
from kevy_ring.shard.sinks.sink import load_by_stage
from kevy_ring.shard.snapshot import Snapshot

if TYPE_CHECKING:
    from kevy_ring.inbox import Batch

#: A new file is begun when the last one has this many bytes.
ROTATE_BYTES = 64 << 20

_GENERATION = re.compile(r"generation-(\d{6,})")
_PARTIAL = ".partial"
_LOCK = ".kevy-ring.lock"


class JsonlSink:
    """Writes lines (see ``line.py``) below ``directory``, and makes the directory if it is missing.

    Opening it cuts a torn last line. It continues the greatest generation in a new file after ``stored_offset``, the
    offset of the last line there (None: there is none). Applied lines are held until ``commit`` writes them.

    The sink locks the directory for its life. A second sink there raises SinkError (``"locked"``). Every commit and
    flush checks that the directory and the file are still there. ``file_mode``: of the files that it makes.
    """

    durable = True

    def __init__(
        self,
        directory: str | Path,
        *,
        rotate_bytes: int = ROTATE_BYTES,
        file_mode: int = DEFAULT_OPTIONS.file_mode,
        lock_wait_s: float = WAIT_S,
        refusals: Refusals | None = None,
    ) -> None:
        self.directory = Path(directory)
        self.file_mode = file_mode
        self._rotate_bytes = rotate_bytes
        self._lines: list[bytes] = []
        self._changes: _Rotation | None = None
        self._is_closed = False
        try:
            make_directories(self.directory, file_mode)
        except OSError as error:
            raise disk_error(self._name, error) from error
        # Lock before touching anything: a second writer would delete the first one's snapshot as a leftover.
        self._lock = PlaceLock(self.directory / _LOCK, self._name, file_mode=file_mode, wait_s=lock_wait_s)
        try:
            numbers = [
                int(found[1]) for path in self.directory.iterdir() if (found := _GENERATION.fullmatch(path.name))
            ]
            for leftover in self.directory.glob(f"generation-*{_PARTIAL}"):
                shutil.rmtree(leftover)
            #: The number of the current generation; 0 before there is one.
            self.generation = max(numbers, default=0)
            self._stored = position_in(self.path_of(self.generation)) if self.generation else JsonlPosition()
        except OSError as error:
            self._lock.close()
            raise disk_error(self._name, error) from error
        except BaseException:
            self._lock.close()
            raise
        self._applied = self._stored
        self.refusals = refusals or Refusals(self._name)

    @property
    def _name(self) -> str:
        return f"jsonl:{self.directory}"

    @property
    def stored_offset(self) -> int | None:
        """The offset of the last line written, or of the snapshot; None before the first."""
        return self._stored.offset

    def apply(self, offset: int, argv: Sequence[BytesLike]) -> None:
        self._lines.append(self._line(offset, argv))

    def apply_batch(self, batch: Batch) -> None:
        before = self._applied
        try:
            self._lines += [self._line(offset, argv) for offset, argv in owned_frames(batch)]
        except BaseException:
            self._applied = before
            raise

    def commit(self) -> None:
        """Write what was applied. If it raises, the lines since the last commit are forgotten."""
        if not self._lines:
            return
        try:
            self._lock.check()
            self._file().append(b"".join(self._lines))
        except BaseException:
            self.rollback()
            raise
        self._lines.clear()
        self._stored = self._applied

    def rollback(self) -> None:
        """Forget all that was applied since the last commit."""
        self._lines.clear()
        self._applied = self._stored

    def load(self, snapshot: Snapshot) -> None:
        load_by_stage(self, snapshot)

    def stage(self) -> JsonlStage:
        self.commit()
        return JsonlStage(self, self._rotate_bytes)

    def flush(self) -> None:
        self.commit()
        if self._changes is not None:
            self._changes.flush()
        self._lock.check()

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self.flush()
        finally:
            if self._changes is not None:
                changes, self._changes = self._changes, None
                changes.close()
            self._lock.close()
            self.refusals.close()

    def path_of(self, generation: int) -> Path:
        """The directory of a generation."""
        return self.directory / f"generation-{generation:06}"

    def adopt(self, partial: Path, generation: int, snapshot: Snapshot) -> None:
        """Make ``partial`` the current generation, in one step."""
        if self._changes is not None:
            self._changes.flush()
        self._lock.check()
        try:
            partial.rename(self.path_of(generation))
            sync_directory(self.directory)
        except OSError as error:
            raise disk_error(f"jsonl:{partial}", error) from error
        if self._changes is not None:
            self._changes.close()
            self._changes = None
        self.generation = generation
        self._stored = self._applied = JsonlPosition(snapshot.applied_offset)

    def _line(self, offset: int, argv: Sequence[BytesLike]) -> bytes:
        db = selected_by(argv, self._applied.db)
        self._applied = JsonlPosition(offset, db)
        return change_line(offset, db, argv)

    def _file(self) -> _Rotation:
        if self._changes is None:
            if self.generation == 0:
                # A stream from its very first change needs no snapshot.
                self.generation = 1
            self._changes = _Rotation(self.path_of(self.generation), "changes", self._rotate_bytes, self.file_mode)
        return self._changes


class JsonlStage:
    """The files of a snapshot that still arrives."""

    def __init__(self, sink: JsonlSink, rotate_bytes: int) -> None:
        self._sink = sink
        self._generation = sink.generation + 1
        self._path = sink.path_of(self._generation).with_name(f"generation-{self._generation:06}{_PARTIAL}")
        self._files: _Rotation | None = _Rotation(self._path, "snapshot", rotate_bytes, sink.file_mode)

    def add(self, entries: list[Entry]) -> None:
        assert self._files is not None
        self._files.append(b"".join(map(entry_line, entries)))

    def commit(self, snapshot: Snapshot) -> None:
        assert self._files is not None
        self._files.append(b"".join([*skipped_lines(snapshot.left_out), end_line(snapshot)]))
        self._files.flush()
        self._files.close()
        self._sink.adopt(self._path, self._generation, snapshot)
        self._files = None

    def abort(self) -> None:
        if self._files is not None:
            self._files.close()
            self._files = None
        shutil.rmtree(self._path, ignore_errors=True)


class _Rotation:
    """Numbered files in one directory. When one is full, the next one is begun."""

    def __init__(self, directory: Path, stem: str, rotate_bytes: int, file_mode: int) -> None:
        self._directory = directory
        self._stem = stem
        self._rotate_bytes = rotate_bytes
        self._file_mode = file_mode
        try:
            make_directories(directory, file_mode)
            sync_directory(directory.parent)
            self._number = max(
                (int(match[1]) for path in directory.iterdir() if (match := CHANGES.fullmatch(path.name))), default=0
            )
        except OSError as error:
            raise disk_error(f"jsonl:{directory}", error) from error
        self._file = self._next()

    def append(self, lines: bytes) -> None:
        if self._file.size_bytes >= self._rotate_bytes:
            self._file.flush()
            full, self._file = self._file, self._next()
            full.close()
        self._file.append(lines)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _next(self) -> LineFile:
        self._number += 1
        return LineFile(self._directory / f"{self._stem}-{self._number:06}.jsonl", file_mode=self._file_mode)
