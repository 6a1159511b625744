"""The names of a segment: its file in shared memory and its two doorbells. They may be removed, or taken by others."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING

from kevy_ring._core import ffi, lib
from kevy_ring.errors import SegmentError

if TYPE_CHECKING:
    from kevy_ring._core import CData

SHM_DIR = Path("/dev/shm")
#: The name of a doorbell is the name of the segment and one of these.
SUFFIXES = (".data", ".space")

#: The name, device and inode of each file at the time when it was mapped. If another file gets the name later, it has
#: another inode.
Files = tuple[tuple[str, int, int], ...]


def file_names(name: str) -> list[str]:
    """The names of a segment and its doorbells."""
    return [name, *(name + suffix for suffix in SUFFIXES)]


def files_of(name: str, mapped: CData) -> Files:
    """The files of a mapped segment that exist. A segment that is being made has no doorbells yet."""
    identity = ffi.new("kr_identity *")
    code = lib.kr_map_identity(mapped, identity)
    if code:
        raise SegmentError(name, reason="resources", detail=os.strerror(code), errno=code)
    found = zip(file_names(name), identity.device, identity.inode, strict=True)
    return tuple((each, device, inode) for each, device, inode in found if inode)


def lost_names(files: Files) -> list[str]:
    """The names that are gone, or that now belong to other files."""
    return [name for name, device, inode in files if _identity(name) != (device, inode)]


def _identity(name: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(SHM_DIR / name)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def remove_names(name: str, files: Files | None) -> None:
    """Remove a segment and its doorbells. Names that are gone already are skipped. Raises :class:`SegmentError`.

    ``files``: if another process has made a segment of the same name, remove only names that still belong to these.
    None: remove all files of these names.
    """
    wanted = file_names(name)
    lost = [] if files is None else lost_names(files)
    if files is not None and name in lost:
        wanted = [each for each, _, _ in files if each not in lost]
    # The segment last: if the removal is interrupted, a segment is left, which `kevy-ring gc` finds, and no doorbell
    # without one.
    for each in reversed(wanted):
        try:
            os.unlink(SHM_DIR / each)
        except FileNotFoundError:
            pass
        except OSError as exc:
            raise SegmentError(name, reason="permission", detail=str(exc.strerror), errno=exc.errno or 0) from exc


class TrackedNames:
    """Names that Python's resource tracker removes if this process is killed."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._names = list(names)

    def add(self, names: Sequence[str]) -> None:
        """Register names. The tracker removes a file of such a name, or does nothing if there is none."""
        for name in names:
            if name not in self._names:
                self._names.append(name)
                resource_tracker.register(f"/{name}", "shared_memory")

    def forget(self) -> None:
        """Unregister all names: their files are gone, or stay on purpose."""
        while self._names:
            resource_tracker.unregister(f"/{self._names.pop()}", "shared_memory")


@contextlib.contextmanager
def temporary_object(name: str) -> Iterator[str]:
    """Make an empty file in shared memory; its name is removed after the block, which may link it to another name."""
    tracked = TrackedNames()
    try:
        tracked.add([name])
        os.close(os.open(SHM_DIR / name, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        yield name
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(SHM_DIR / name)
        tracked.forget()
