"""What the jsonl sink keeps of a filter: its text beside the generations, and the offset that it has passed in each.

``DIR/filter.json`` has the text of the filter that all generations were filled with, and
``DIR/generation-000002/position.json`` the last event, if it is behind the last line because a filter dropped it.
"""

from __future__ import annotations

import errno
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from kevy_ring.errors import SinkError
from kevy_ring.shard.disk_error import disk_error
from kevy_ring.shard.filters.stored import check_same_filter
from kevy_ring.shard.filters.stream_state import StreamState, Transaction, state_of
from kevy_ring.shard.sinks.file_modes import create
from kevy_ring.shard.sinks.jsonl.line_file import sync_directory
from kevy_ring.shard.sinks.jsonl.position import JsonlPosition
from kevy_ring.shard.write_all import write_all

FILTER = "filter.json"
POSITION = "position.json"
#: The record is always this long, so that writing it again needs no space on the disk.
_RECORD_BYTES = 512


class _Passed(NamedTuple):
    """``offset``: of the last event; ``state``: of the filter there; ``line``: the offset of the last line by then."""

    offset: int
    state: str
    line: int | None


def check_filter(directory: Path, filter_text: str, *, is_empty: bool, file_mode: int) -> None:
    """Store the filter in an empty directory. In any other, raise SinkError if it was filled with another filter."""
    path = directory / FILTER
    stored = str(_content(path).get("filter", ""))
    if not is_empty:
        check_same_filter(f"jsonl:{directory}", stored, filter_text, "name another directory")
    elif stored != filter_text:
        path.unlink(missing_ok=True)
        if filter_text:
            fd = create(path, os.O_WRONLY | os.O_EXCL, file_mode)
            try:
                write_all(fd, json.dumps({"filter": filter_text}).encode() + b"\n")
                os.fsync(fd)
            finally:
                os.close(fd)
        sync_directory(directory)


def carry_position(before: Path, folded: Path) -> None:
    """Give the generation that a fold of ``before`` made the same file of the position; it may be open for writing.

    Raises SinkError.
    """
    try:
        with suppress(FileNotFoundError):
            os.link(before / POSITION, folded / POSITION)
            sync_directory(folded)
    except OSError as error:
        raise disk_error(f"jsonl:{folded}", error) from error


class StreamPlace:
    """The place in the stream: of the last line, or behind it if a filter dropped what came after.

    ``offset`` and ``state``: the stored ones. ``generation``: None: there is none yet. ``line``: the last line.
    """

    def __init__(self, generation: Path | None, line: JsonlPosition, *, file_mode: int) -> None:
        self._file_mode = file_mode
        self._file: _PositionFile | None = None
        self._next: tuple[int, str] | None = None
        self.offset, self.state = line.offset, ""
        if generation is not None:
            self.offset, self.state = _stored(generation, line)

    @property
    def is_ahead(self) -> bool:
        """Whether there is something to store."""
        return self._next is not None

    def move_on(self, offset: int, state: str) -> None:
        """Note where the stream is, for the next :meth:`settle`."""
        self._next = (offset, state)

    def forget(self) -> None:
        """Forget what was noted."""
        self._next = None

    def settle(self, generation: Path, line: JsonlPosition, *, has_written: bool) -> None:
        """Store the place. ``has_written``: whether lines up to ``line`` were written since the last call."""
        following, self._next = self._next, None
        if has_written:
            self.offset, self.state = line.offset, _at(line).text()
        if following is not None and following != (self.offset, self.state):
            self._file = self._file or _PositionFile(generation, self._file_mode)
            self._file.write({"offset": following[0], "state": following[1], "line": line.offset})
            self.offset, self.state = following

    def begin(self, line: JsonlPosition) -> None:
        """A snapshot begins a generation."""
        self.close()
        self._next = None
        self.offset, self.state = line.offset, ""

    def flush(self) -> None:
        """Return when what was stored is on the disk."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Close the file of the generation."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


class _PositionFile:
    """A file of one record. A killed process leaves the last whole record. After a failure every later call fails."""

    def __init__(self, generation: Path, file_mode: int) -> None:
        self._path = generation / POSITION
        self._is_flushed = True
        self._broken: SinkError | None = None
        try:
            self._fd = create(self._path, os.O_WRONLY, file_mode)
        except OSError as error:
            raise self._failure(error) from error

    def write(self, record: dict[str, Any]) -> None:
        """Hand the record to the operating system."""
        if self._broken is not None:
            raise self._broken
        text = json.dumps(record).encode().ljust(_RECORD_BYTES - 1) + b"\n"
        try:
            if os.pwrite(self._fd, text, 0) != len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._broken = self._failure(error)
            raise self._broken from error
        self._is_flushed = False

    def flush(self) -> None:
        """Return when the record is on the disk."""
        if self._broken is not None:
            raise self._broken
        if not self._is_flushed:
            try:
                os.fsync(self._fd)
            except OSError as error:
                self._broken = self._failure(error)
                raise self._broken from error
            self._is_flushed = True

    def close(self) -> None:
        os.close(self._fd)

    def _failure(self, error: OSError) -> SinkError:
        return disk_error(f"jsonl:{self._path}", error)


def _at(line: JsonlPosition) -> StreamState:
    """The filter's state after a line. Every line is written with its own database selected, and nothing held."""
    return StreamState(line.db, line.db, Transaction.OPEN if line.in_transaction else Transaction.NONE)


def _stored(generation: Path, line: JsonlPosition) -> tuple[int | None, str]:
    """The offset of the last event in a generation, and the filter's state there."""
    passed, at = _passed(generation / POSITION), line.offset or 0
    # A record older than the last line is out of date. One that is newer than lines which the machine lost has no use.
    if passed is None or at > passed.offset or at < (passed.line or 0):
        return line.offset, _at(line).text()
    if passed.line == line.offset:
        return passed.offset, passed.state
    # The process was killed while it wrote the frames that the filter had held.
    state = state_of(passed.state).given_up_to(at, line.db, in_transaction=line.in_transaction)
    return passed.offset, state.text()


def _passed(path: Path) -> _Passed | None:
    told = _content(path)
    offset, state, line = told.get("offset"), told.get("state"), told.get("line")
    is_ours = isinstance(offset, int) and isinstance(state, str) and (line is None or isinstance(line, int))
    try:
        state_of(str(state))
    except ValueError:
        is_ours = False
    # Without a whole record the last line counts. A record is torn only if the machine died: then a full sync follows.
    return _Passed(int(offset or 0), str(state), line) if is_ours else None


def _content(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
