"""A file of whole lines: what cannot be written in full is not there at all."""

from __future__ import annotations

import os
from pathlib import Path

from kevy_ring.errors import SinkError
from kevy_ring.shard.disk_error import disk_error

#: Lines are collected up to this many bytes before a write.
BLOCK_BYTES = 256 * 1024


class LineFile:
    """Appends lines to a new file. ``size_bytes`` counts what was appended, written or not.

    Every method raises SinkError (``"space"`` for a full disk or a quota, else ``"io"``). After a failed write the file
    ends where it ended before and the lines wait for the next attempt; after a failed fsync nobody can tell what is on
    the disk, and every later call fails too.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting = bytearray()
        self._written = 0
        self._broken: OSError | None = None
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            sync_directory(path.parent)
        except OSError as error:
            raise self._failure(error) from error

    @property
    def size_bytes(self) -> int:
        return self._written + len(self._waiting)

    def append(self, lines: bytes) -> None:
        """Add whole lines; they may wait for ``flush``. When it raises, these lines are not waiting."""
        before = len(self._waiting)
        self._waiting += lines
        if len(self._waiting) >= BLOCK_BYTES:
            try:
                self._write()
            except SinkError:
                del self._waiting[before:]
                raise

    def flush(self) -> None:
        """Return when every line is on the disk."""
        self._write()
        try:
            os.fsync(self._fd)
        except OSError as error:
            self._broken = error
            raise self._failure(error) from error

    def close(self) -> None:
        """Close the file as it is, without the lines that wait; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write(self) -> None:
        if self._broken is not None:
            raise self._failure(self._broken)
        done = 0
        try:
            with memoryview(self._waiting) as lines:
                while done < len(lines):
                    done += os.write(self._fd, lines[done:])
        except OSError as error:
            self._take_back(error)
            raise self._failure(error) from error
        self._written += done
        self._waiting.clear()

    def _take_back(self, cause: OSError) -> None:
        try:
            os.ftruncate(self._fd, self._written)
            os.lseek(self._fd, self._written, os.SEEK_SET)
        except OSError:
            self._broken = cause

    def _failure(self, error: OSError) -> SinkError:
        return disk_error(f"jsonl:{self.path}", error, f"the file holds {self._written} bytes of whole lines")


def sync_directory(path: Path) -> None:
    """Make the names in a directory last."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def drop_torn_line(path: Path) -> None:
    """Cut a file after its last whole line: what a killed process left of the next one is no line."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - BLOCK_BYTES)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                file.truncate(start + newline + 1)
                return
            end = start
        file.truncate(0)
