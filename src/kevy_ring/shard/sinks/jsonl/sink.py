"""A sink of files: one JSON line per change, rotated by size, a generation of files per snapshot.

    DIR/generation-000002/snapshot-000001.jsonl   the keys of the snapshot; its last line says that it is whole
    DIR/generation-000002/changes-000001.jsonl    the changes since, in order
    DIR/generation-000002/position.json           only with a filter: see passed.py
    DIR/generation-000003.partial/                a snapshot that still arrives: not a generation yet

A snapshot replaces everything. The generation with the greatest number is the state of the store: its snapshot and then
its changes. A snapshot's directory gets its final name by one rename, after the snapshot is whole and on the disk. The
sink keeps the files of earlier generations, unless it has a limit (see ``folding.py``); readers may delete them.

Every line of a change has its offset, so the last whole line gives the position in the stream.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kevy_ring.events import BytesLike
from kevy_ring.shard.disk_error import disk_error
from kevy_ring.shard.extras import check_fakeredis
from kevy_ring.shard.filters.key_filter import NO_FILTER, KeyFilter
from kevy_ring.shard.owned_frames import owned_frames
from kevy_ring.shard.sinks.file_modes import make_directories
from kevy_ring.shard.sinks.jsonl.folding import Folding, rotate_limits
from kevy_ring.shard.sinks.jsonl.generations import (
    PARTIAL,
    finish_removals,
    generations_in,
    path_of,
    remove_generation,
)
from kevy_ring.shard.sinks.jsonl.line import (
    change_line,
    is_open_after,
    selected_by,
)
from kevy_ring.shard.sinks.jsonl.line_file import sync_directory
from kevy_ring.shard.sinks.jsonl.passed import StreamPlace, carry_position, check_filter
from kevy_ring.shard.sinks.jsonl.position import JsonlPosition, folded_from, position_in
from kevy_ring.shard.sinks.jsonl.rotation import Rotation
from kevy_ring.shard.sinks.jsonl.stage import JsonlStage
from kevy_ring.shard.sinks.options import DEFAULT_OPTIONS
from kevy_ring.shard.sinks.place_lock import WAIT_S, PlaceLock
from kevy_ring.shard.sinks.refusals import Refusals
from kevy_ring.shard.sinks.retention import FOREVER, RemovalLog, Retention
from kevy_ring.shard.sinks.sink import load_by_stage
from kevy_ring.shard.snapshot import Snapshot

if TYPE_CHECKING:
    from kevy_ring.inbox import Batch

#: A new file is begun when the last one has this many bytes.
ROTATE_BYTES = 64 << 20

_LOCK = ".kevy-ring.lock"


class JsonlSink:
    """Writes lines (see ``line.py``) below ``directory``, and makes the directory if it is missing.

    Opening it cuts a torn last line. It continues the greatest generation in a new file after ``stored_offset``, the
    offset of the last line there (None: there is none). Applied lines are held until ``commit`` writes them.

    The sink locks the directory for its life. A second sink there raises SinkError (``"locked"``). Every commit and
    flush checks that the directory and the file are still there. ``file_mode``: of the files that it makes.
    ``rotate_bytes``: a file of changes that is larger is followed by a new one. ``lock_wait_s``: how long it waits for
    a predecessor to end. ``filter``: what the sink gets. A directory that was filled with another one raises SinkError
    (``"refused"``). ``refusals``: the policy for what it cannot take; by default one that counts. ``changes``: how much
    of the changes it keeps as lines; older ones are folded into the snapshot. ``keep_generations``: how many
    generations it keeps, with the current one; None: all.
    """

    durable = True

    def __init__(
        self,
        directory: str | Path,
        *,
        rotate_bytes: int = ROTATE_BYTES,
        file_mode: int = DEFAULT_OPTIONS.file_mode,
        lock_wait_s: float = WAIT_S,
        filter: KeyFilter = NO_FILTER,
        refusals: Refusals | None = None,
        changes: Retention = FOREVER,
        keep_generations: int | None = None,
    ) -> None:
        if not changes.is_forever:
            check_fakeredis("jsonl")
        self.directory = Path(directory)
        self.file_mode = file_mode
        self._rotate_bytes = rotate_bytes
        self._rotate_changes = rotate_limits(changes, rotate_bytes)
        self._folding = Folding(
            self.directory, changes, keep_generations, rotate_bytes=rotate_bytes, file_mode=file_mode
        )
        self._lines: list[bytes] = []
        self._changes: Rotation | None = None
        self._is_closed, self._is_filtered = False, bool(filter)
        try:
            make_directories(self.directory, file_mode)
        except OSError as error:
            raise disk_error(self._name, error) from error
        # Lock before touching anything: a second writer would delete the first one's snapshot as a leftover.
        self._lock = PlaceLock(self.directory / _LOCK, self._name, file_mode=file_mode, wait_s=lock_wait_s)
        try:
            self._stored = self._opened(str(filter))
        except OSError as error:
            self._lock.close()
            raise disk_error(self._name, error) from error
        except BaseException:
            self._lock.close()
            raise
        self._applied = self._stored
        self.refusals = refusals or Refusals(self._name)

    def _opened(self, filter_text: str) -> JsonlPosition:
        """Remove what a killed process left, and what need not be kept. Returns the position in the files."""
        finish_removals(self.directory)
        for leftover in self.directory.glob(f"generation-*{PARTIAL}"):
            shutil.rmtree(leftover)
        #: The number of the current generation; 0 before there is one.
        self.generation = max(generations_in(self.directory), default=0)
        check_filter(self.directory, filter_text, is_empty=not self.generation, file_mode=self.file_mode)
        generation = path_of(self.directory, self.generation) if self.generation else None
        position = position_in(generation) if generation else JsonlPosition()
        self._place = StreamPlace(generation if filter_text else None, position, file_mode=self.file_mode)
        self._remove_folded()
        self._folding.remove_old_generations(self.generation)
        return position

    @property
    def _name(self) -> str:
        return f"jsonl:{self.directory}"

    @property
    def stored_offset(self) -> int | None:
        """The offset of the last line written, or of the snapshot; None before the first.

        With a filter: of the last event, even if nothing of it was written.
        """
        return self._place.offset

    @property
    def stream_state(self) -> str:
        """The state of the filter at ``stored_offset``."""
        return self._place.state

    def move_on(self, offset: int, state: str) -> None:
        self._place.move_on(offset, state)

    def apply(self, offset: int, argv: Sequence[BytesLike]) -> None:
        self._lines.append(self._line(offset, argv))

    def apply_batch(self, batch: Batch) -> None:
        self.apply_frames(owned_frames(batch))

    def apply_frames(self, frames: Iterable[tuple[int, list[bytes]]]) -> None:
        """Apply ``frames``, each its offset and its arguments, as one by one with :meth:`apply`."""
        before = self._applied
        try:
            self._lines += [self._line(offset, argv) for offset, argv in frames]
        except BaseException:
            self._applied = before
            raise

    def commit(self) -> None:
        """Write what was applied. If it raises, the lines since the last commit are forgotten."""
        if not self._lines and not self._place.is_ahead:
            return
        has_lines = bool(self._lines)
        try:
            self._lock.check()
            changes = self._file()
            if has_lines:
                changes.append(b"".join(self._lines))
        except BaseException:
            self.rollback()
            raise
        self._lines.clear()
        self._stored = self._applied
        self._place.settle(path_of(self.directory, self.generation), self._stored, has_written=has_lines)
        if self._folding.is_due():
            self._maintain()

    @property
    def removed(self) -> RemovalLog:
        """The changes of the current generation that this object removed, see ``changes``."""
        return self._folding.removed

    def tidy(self) -> None:
        """Remove what has become too old while no change came."""
        if not self._lines:
            self._maintain()

    def rollback(self) -> None:
        """Forget all that was applied since the last commit."""
        self._lines.clear()
        self._place.forget()
        self._applied = self._stored

    def load(self, snapshot: Snapshot) -> None:
        load_by_stage(self, snapshot)

    def stage(self) -> JsonlStage:
        self.commit()
        self._folding.cancel()
        return JsonlStage(
            self.directory,
            self.generation + 1,
            rotate_bytes=self._rotate_bytes,
            file_mode=self.file_mode,
            adopt=self.adopt,
        )

    def flush(self) -> None:
        self.commit()
        if self._changes is not None:
            self._changes.flush()
        self._place.flush()
        self._lock.check()

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self.flush()
        finally:
            self._folding.cancel()
            if self._changes is not None:
                changes, self._changes = self._changes, None
                changes.close()
            self._place.close()
            self._lock.close()
            self.refusals.close()

    def adopt(self, partial: Path, generation: int, snapshot: Snapshot) -> None:
        """Make ``partial``, the directory of a ``snapshot``, the current ``generation``, in one step."""
        if self._changes is not None:
            self._changes.flush()
        self._rename(partial, generation)
        if self._changes is not None:
            self._changes.close()
            self._changes = None
        self.generation = generation
        self._stored = self._applied = JsonlPosition(snapshot.applied_offset)
        self._place.begin(self._stored)
        self._folding.remove_old_generations(generation)

    def _rename(self, partial: Path, generation: int) -> None:
        self._lock.check()
        try:
            partial.rename(path_of(self.directory, generation))
            sync_directory(self.directory)
        except OSError as error:
            raise disk_error(f"jsonl:{partial}", error) from error

    def _maintain(self) -> None:
        """Take the result of a fold, or look whether one is due."""
        self._folding.remove_old_generations(self.generation)
        if self._changes is not None:
            self._changes.rotate()
        folded = self._folding.result(self.generation)
        if folded is None:
            self._folding.look(self.generation, self._changes.number if self._changes is not None else None)
            return
        before = self.generation
        carry_position(path_of(self.directory, before), folded)
        self._rename(folded, before + 1)
        self.generation = before + 1
        if self._changes is not None:
            self._changes.moved(path_of(self.directory, self.generation))
        self._folding.folded(before)

    def _remove_folded(self) -> None:
        """Remove a generation that was folded by a process that was killed before it could remove it."""
        if self.generation:
            before = folded_from(path_of(self.directory, self.generation))
            if before is not None and before < self.generation and path_of(self.directory, before).is_dir():
                remove_generation(self.directory, before)

    def _line(self, offset: int, argv: Sequence[BytesLike]) -> bytes:
        db = selected_by(argv, self._applied.db)
        is_open = self._is_filtered and is_open_after(argv, self._applied.in_transaction)
        self._applied = JsonlPosition(offset, db, is_open)
        return change_line(offset, db, argv, in_transaction=is_open)

    def _file(self) -> Rotation:
        if self._changes is None:
            if self.generation == 0:
                # A stream from its very first change needs no snapshot.
                self.generation = 1
            size, age_s = self._rotate_changes
            where = path_of(self.directory, self.generation)
            self._changes = Rotation(where, "changes", size, self.file_mode, rotate_age_s=age_s)
        return self._changes
