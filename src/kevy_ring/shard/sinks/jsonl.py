"""A sink of files: one JSON line per change, rotated by size, a generation of files per snapshot.

    DIR/generation-000002/snapshot-000001.jsonl   the keys of the snapshot; its last line says that it is whole
    DIR/generation-000002/changes-000001.jsonl    what was applied since, in order
    DIR/generation-000003.partial/                a snapshot on its way in: not a generation yet

A snapshot replaces everything: the generation with the greatest number is the state of the store, its snapshot and then
its changes. The directory of a snapshot gets its name when the snapshot is whole and on the disk, by one rename.
Files of earlier generations stay; whoever reads them decides when they go.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kevy_ring.events import BytesLike
from kevy_ring.replica.entry import Entry
from kevy_ring.shard.disk_error import disk_error
from kevy_ring.shard.owned_frames import owned_frames
from kevy_ring.shard.sinks.jsonl_line import change_line, end_line, entry_line
from kevy_ring.shard.sinks.line_file import LineFile, drop_torn_line, sync_directory
from kevy_ring.shard.snapshot import Snapshot

if TYPE_CHECKING:
    from kevy_ring.inbox import Batch

#: A file is left for the next one once it has this many bytes.
ROTATE_BYTES = 64 << 20

_GENERATION = re.compile(r"generation-(\d{6,})")
_CHANGES = re.compile(r"changes-(\d{6,})\.jsonl")
_PARTIAL = ".partial"


class JsonlSink:
    """Writes lines (see ``jsonl_line``) below ``directory``, which is made where it is missing.

    Opening it goes on in the greatest generation, in a new file. After a crash the changes since the last flush may
    be there twice, in two files: of two lines with one offset the later is the valid one.
    """

    durable = True

    def __init__(self, directory: str | Path, *, rotate_bytes: int = ROTATE_BYTES) -> None:
        self.directory = Path(directory)
        self._rotate_bytes = rotate_bytes
        self._db = 0
        self._changes: _Rotation | None = None
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            numbers = [
                int(found[1]) for path in self.directory.iterdir() if (found := _GENERATION.fullmatch(path.name))
            ]
            for leftover in self.directory.glob(f"generation-*{_PARTIAL}"):
                shutil.rmtree(leftover)
        except OSError as error:
            raise disk_error(f"jsonl:{self.directory}", error) from error
        #: The number of the current generation; 0 before there is one.
        self.generation = max(numbers, default=0)

    def apply(self, offset: int, argv: Sequence[BytesLike]) -> None:
        self._file().append(self._line(offset, argv))

    def apply_batch(self, batch: Batch) -> None:
        db = self._db
        try:
            self._file().append(b"".join([self._line(offset, argv) for offset, argv in owned_frames(batch)]))
        except BaseException:
            self._db = db
            raise

    def load(self, snapshot: Snapshot) -> None:
        stage = self.stage()
        try:
            stage.add(list(snapshot))
            stage.commit(snapshot)
        except BaseException:
            stage.abort()
            raise

    def stage(self) -> JsonlStage:
        return JsonlStage(self, self._rotate_bytes)

    def flush(self) -> None:
        if self._changes is not None:
            self._changes.flush()

    def close(self) -> None:
        if self._changes is not None:
            changes, self._changes = self._changes, None
            try:
                changes.flush()
            finally:
                changes.close()

    def path_of(self, generation: int) -> Path:
        """The directory of a generation."""
        return self.directory / f"generation-{generation:06}"

    def adopt(self, partial: Path, generation: int) -> None:
        """Make ``partial`` the current generation, in one step."""
        if self._changes is not None:
            self._changes.flush()
        try:
            partial.rename(self.path_of(generation))
            sync_directory(self.directory)
        except OSError as error:
            raise disk_error(f"jsonl:{partial}", error) from error
        if self._changes is not None:
            self._changes.close()
            self._changes = None
        self.generation = generation
        self._db = 0

    def _line(self, offset: int, argv: Sequence[BytesLike]) -> bytes:
        if len(argv) == 2 and len(argv[0]) == 6 and bytes(argv[0]).upper() == b"SELECT":
            self._db = int(bytes(argv[1]))
        return change_line(offset, self._db, argv)

    def _file(self) -> _Rotation:
        if self._changes is None:
            if self.generation == 0:
                # Changes from the very first on need no snapshot before them.
                self.generation = 1
            self._changes = _Rotation(self.path_of(self.generation), "changes", self._rotate_bytes)
        return self._changes


class JsonlStage:
    """The files of a snapshot that is on its way in."""

    def __init__(self, sink: JsonlSink, rotate_bytes: int) -> None:
        self._sink = sink
        self._generation = sink.generation + 1
        self._path = sink.path_of(self._generation).with_name(f"generation-{self._generation:06}{_PARTIAL}")
        self._files: _Rotation | None = _Rotation(self._path, "snapshot", rotate_bytes)

    def add(self, entries: list[Entry]) -> None:
        assert self._files is not None
        self._files.append(b"".join(map(entry_line, entries)))

    def commit(self, snapshot: Snapshot) -> None:
        assert self._files is not None
        self._files.append(end_line(snapshot))
        self._files.flush()
        self._files.close()
        self._sink.adopt(self._path, self._generation)
        self._files = None

    def abort(self) -> None:
        if self._files is not None:
            self._files.close()
            self._files = None
        shutil.rmtree(self._path, ignore_errors=True)


class _Rotation:
    """Numbered files in one directory, the next one begun when the last is full."""

    def __init__(self, directory: Path, stem: str, rotate_bytes: int) -> None:
        self._directory = directory
        self._stem = stem
        self._rotate_bytes = rotate_bytes
        try:
            directory.mkdir(exist_ok=True)
            sync_directory(directory.parent)
            found = {int(match[1]): path for path in directory.iterdir() if (match := _CHANGES.fullmatch(path.name))}
            self._number = max(found, default=0)
            if found:
                drop_torn_line(found[self._number])
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
        return LineFile(self._directory / f"{self._stem}-{self._number:06}.jsonl")
