"""A lock on the directory or file of a sink: one writer, for the life of the sink."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
import weakref
from contextlib import suppress
from functools import cache
from pathlib import Path

from kevy_ring.errors import SinkError
from kevy_ring.shard.disk_error import disk_error
from kevy_ring.shard.sinks.file_modes import create

#: Wait this long for a holder that is being killed, or that ends because its parent is gone.
WAIT_S = 2.0
_LOOK_S = 0.05
_HELD = (errno.EWOULDBLOCK, errno.EACCES)
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_held: weakref.WeakSet[PlaceLock] = weakref.WeakSet()


class PlaceLock:
    """Makes and locks the file at ``path``, writes its pid into it, and removes it when it is closed.

    The kernel frees the lock of a process that is killed. Raises SinkError (``"locked"``) if another sink has it, in
    this process or in another one, and (``"io"``) on a file system without locks. A child of this process does not
    inherit it, neither by exec nor by fork.
    """

    def __init__(self, path: Path, sink: str, *, file_mode: int, wait_s: float = WAIT_S) -> None:
        self._path = path
        self._sink = sink
        self._fd = -1
        self._fd = self._take(file_mode, time.monotonic() + wait_s)
        _held.add(self)
        _see_to_forks()

    def check(self) -> None:
        """Raises SinkError if the file or its directory was deleted, moved or replaced."""
        if not is_same_file(self._path, self._fd):
            raise gone(self._sink, self._path)

    def close(self) -> None:
        """Free it; a second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            if is_same_file(self._path, fd):
                # A process that opened it meanwhile gets the lock, and then sees that the name is gone.
                with suppress(OSError):
                    self._path.unlink()
            os.close(fd)

    def forget(self) -> None:
        """In a forked child: the lock is the parent's."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        # Without close() the file stays, as after the death of the process.
        self.forget()

    def _take(self, file_mode: int, deadline: float) -> int:
        while True:
            fd = -1
            try:
                fd = create(self._path, os.O_RDWR, file_mode)
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if is_same_file(self._path, fd):
                    os.ftruncate(fd, 0)
                    os.pwrite(fd, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
                    return fd
                os.close(fd)
                continue
            except OSError as error:
                holder = "" if fd < 0 else os.pread(fd, 200, 0).decode("utf-8", "replace")
                if fd >= 0:
                    os.close(fd)
                if error.errno not in _HELD:
                    raise self._failure(error) from error
            if time.monotonic() >= deadline:
                raise self._taken(holder)
            time.sleep(_LOOK_S)

    def _taken(self, holder: str) -> SinkError:
        pid, _, host = holder.strip().partition(" ")
        who = f"process {pid}" if pid.isdigit() else "another process"
        if host and host != socket.gethostname():
            who += f" on {host}"
        detail = f"{who} writes there, and two writers would mix their changes. End it, or name another sink"
        return SinkError(self._sink, reason="locked", detail=detail)

    def _failure(self, error: OSError) -> SinkError:
        if error.errno in _NO_LOCKS:
            hint = "is on a file system without locks, which cannot keep a second writer out. Choose another one"
            return disk_error(self._sink, error, f"{self._path} {hint}")
        return disk_error(self._sink, error, str(self._path))


def is_same_file(path: str | os.PathLike[str], fd: int) -> bool:
    """Whether ``path`` still names the open file ``fd``."""
    try:
        there, ours = os.stat(path), os.fstat(fd)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def gone(sink: str, path: str | os.PathLike[str]) -> SinkError:
    """The error for a sink whose file was deleted, moved or replaced."""
    detail = f"{os.fspath(path)} was deleted, moved or replaced while the sink wrote to it. Later changes are not kept"
    return SinkError(sink, reason="io", detail=detail, errno=errno.ENOENT)


@cache
def _see_to_forks() -> None:
    """Make forked children drop their parent's locks. Otherwise a child would hold them for its whole life."""
    os.register_at_fork(after_in_child=_forget_all)


def _forget_all() -> None:
    for lock in list(_held):
        lock.forget()
