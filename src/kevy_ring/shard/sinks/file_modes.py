"""Makes the files and directories of sinks with exactly the given permissions. The umask has no effect."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def create(path: Path, flags: int, file_mode: int) -> int:
    """Open a file and return its descriptor. Make it if it is missing; one that exists keeps its permissions.

    With ``os.O_EXCL`` in ``flags`` it must not exist. Raises OSError.
    """
    flags |= os.O_CLOEXEC
    if not flags & os.O_EXCL:
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            pass
    try:
        fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if flags & os.O_EXCL:
            raise
        return os.open(path, flags)  # another process made it meanwhile
    try:
        os.fchmod(fd, file_mode)
    except BaseException:
        os.close(fd)
        raise
    return fd


def make_directories(path: Path, file_mode: int) -> None:
    """Make a directory and its missing parents. Users who may read files with ``file_mode`` may enter it."""
    if path.is_dir():
        return
    if not path.parent.is_dir():
        make_directories(path.parent, file_mode)
    try:
        path.mkdir(0o700)
    except FileExistsError:
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None
        return
    # An execute bit of a directory is the permission to enter it.
    path.chmod(file_mode | (file_mode & 0o444) >> 2)
