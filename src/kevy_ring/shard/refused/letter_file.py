"""The file of dead letters. All shards of a run append to it, and a replay reads it when no run has it open."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kevy_ring.errors import DeadLetterError, SinkError
from kevy_ring.shard.disk_error import disk_error
from kevy_ring.shard.sinks.file_modes import create
from kevy_ring.shard.sinks.place_lock import gone, is_same_file
from kevy_ring.shard.write_all import write_all

#: Another shard may hold the file for this long while it appends. Its appends are short, so longer means stopped.
APPEND_WAIT_S = 30.0
_LOOK_S = 0.01
_HELD = (errno.EWOULDBLOCK, errno.EACCES)


class LetterFile:
    """Appends whole lines to the file at ``path``, and makes it if it is missing.

    An open file has a shared lock for its life, so that no replay reads it meanwhile. Each append has an exclusive
    lock of another kind, so that lines of several processes never mix. The kernel frees both at the death of a process.

    The constructor raises SinkError: ``"space"`` for a full disk, ``"locked"`` while a replay has the file.
    """

    def __init__(self, path: str | Path, *, file_mode: int = 0o600) -> None:
        self.path = Path(os.path.abspath(path))
        try:
            self._fd = create(self.path, os.O_RDWR | os.O_APPEND, file_mode)
        except OSError as error:
            raise disk_error(self._name, error) from error
        self._close = weakref.finalize(self, os.close, self._fd)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            self._close()
            if error.errno not in _HELD:
                raise disk_error(self._name, error) from error
            detail = "kevy-ring replay has it. Start again when that has ended, or name another file"
            raise SinkError(self._name, reason="locked", detail=detail) from None

    @property
    def _name(self) -> str:
        return f"dead-letter:{self.path}"

    def append(self, lines: bytes) -> None:
        """Append whole lines, and return when they are on the disk.

        Raises DeadLetterError for every failure. Unless the disk failed too, the file then has none of the lines.
        """
        try:
            with self._alone():
                self._append(lines)
        except OSError as error:
            detail = f"{self.path} cannot take the dead letters, so the stream stops before them"
            raise _ends_the_run(disk_error(self._name, error, detail)) from error
        except SinkError as error:
            raise _ends_the_run(error) from error

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._close()

    def _append(self, lines: bytes) -> None:
        if not is_same_file(self.path, self._fd):
            raise gone(self._name, self.path)
        size = os.fstat(self._fd).st_size
        # A killed process may have left a torn line. End it: a reader passes over it.
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            lines = b"\n" + lines
        try:
            write_all(self._fd, lines)
        except OSError:
            os.ftruncate(self._fd, size)
            raise
        os.fsync(self._fd)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._close.alive:
            raise SinkError(self._name, reason="io", detail="the file is closed")
        deadline = time.monotonic() + APPEND_WAIT_S
        while not _lock(self._fd, fcntl.F_WRLCK):
            if time.monotonic() >= deadline:
                detail = f"another process has held {self.path} for {APPEND_WAIT_S:g} s. Is it stopped?"
                raise SinkError(self._name, reason="timeout", detail=detail)
            time.sleep(_LOOK_S)
        try:
            yield
        finally:
            _lock(self._fd, fcntl.F_UNLCK)


def _ends_the_run(why: SinkError) -> DeadLetterError:
    return DeadLetterError(why.sink, reason=why.reason, detail=why.detail, errno=why.errno)


def _lock(fd: int, kind: int) -> bool:
    """Lock or unlock the whole file for this open file (and not for the process); False: another one has it."""
    # struct flock: l_type, l_whence, l_start, l_len (0: all), l_pid (must be 0).
    whole = struct.pack("hhqqi4x", kind, os.SEEK_SET, 0, 0, 0)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, whole)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise disk_error("dead-letter", error, "the file system has no locks. Choose a file on another one") from error
    return True
