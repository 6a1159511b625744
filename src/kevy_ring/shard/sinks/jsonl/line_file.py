"""A file of whole lines: each append writes all of its lines or none."""

from __future__ import annotations

import os
from pathlib import Path

from kevy_ring.errors import SinkError
from kevy_ring.shard.disk_error import disk_error
from kevy_ring.shard.sinks.file_modes import create
from kevy_ring.shard.sinks.place_lock import gone, is_same_file
from kevy_ring.shard.write_all import write_all

#: A file is read from its end in steps of this many bytes.
BLOCK_BYTES = 256 * 1024


class LineFile:
    """Appends lines to a new file. ``size_bytes`` counts what was written.

    Every method raises SinkError (``"space"`` for a full disk or a quota, else ``"io"``). After a failed write the file
    is cut back to its size before. If that fails too, or after a failed fsync, the content of the disk is unknown, and
    every later call fails. Every later call also fails after the file was deleted, moved or replaced.
    """

    def __init__(self, path: Path, *, file_mode: int = 0o600) -> None:
        self.path = path
        self.size_bytes = 0
        self._broken: SinkError | None = None
        try:
            self._fd = create(path, os.O_WRONLY | os.O_EXCL, file_mode)
            sync_directory(path.parent)
        except OSError as error:
            raise self._failure(error) from error

    def append(self, lines: bytes) -> None:
        """Hand whole lines to the operating system, all or none. Then a killed process does not lose them."""
        self._check()
        try:
            write_all(self._fd, lines)
        except OSError as error:
            self._take_back(error)
            raise self._failure(error) from error
        self.size_bytes += len(lines)

    def flush(self) -> None:
        """Return when every line is on the disk."""
        self._check()
        try:
            os.fsync(self._fd)
        except OSError as error:
            self._broken = self._failure(error)
            raise self._broken from error

    def close(self) -> None:
        """Close the file as it is; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _take_back(self, cause: OSError) -> None:
        try:
            os.ftruncate(self._fd, self.size_bytes)
            os.lseek(self._fd, self.size_bytes, os.SEEK_SET)
        except OSError:
            self._broken = self._failure(cause)

    def _check(self) -> None:
        if self._broken is None and not is_same_file(self.path, self._fd):
            self._broken = gone(f"jsonl:{self.path}", self.path)
        if self._broken is not None:
            raise self._broken

    def _failure(self, error: OSError) -> SinkError:
        return disk_error(f"jsonl:{self.path}", error, f"the file keeps its {self.size_bytes} bytes of whole lines")


def sync_directory(path: Path) -> None:
    """Return when the names in a directory are on the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def drop_torn_line(path: Path) -> None:
    """Cut a file after its last whole line, and return when that is on the disk.

    A killed process may have left a part of the next line.
    """
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        end = _newline_before(file.fileno(), size) + 1
        if end != size:
            file.truncate(end)
        os.fsync(file.fileno())


def last_line(path: Path) -> bytes | None:
    """The last whole line of a file, without its newline; None if there is none."""
    with path.open("rb") as file:
        end = _newline_before(file.fileno(), file.seek(0, os.SEEK_END))
        if end < 0:
            return None
        start = _newline_before(file.fileno(), end) + 1
        return os.pread(file.fileno(), end - start, start)


def _newline_before(fd: int, end: int) -> int:
    """The index of the last newline before ``end``; -1 if there is none."""
    while end:
        start = max(0, end - BLOCK_BYTES)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found
        end = start
    return -1
