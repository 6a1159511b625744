"""The names of a segment: its file in shared memory and its two doorbells, and whether they are still its own."""

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
#: Of the doorbells, beside the segment.
SUFFIXES = (".data", ".space")

#: A name, the device and the inode of each file, as the process that mapped them saw them: another file that gets the
#: same name later has another inode.
Files = tuple[tuple[str, int, int], ...]


def file_names(name: str) -> list[str]:
    """Of the segment and its doorbells."""
    return [name, *(name + suffix for suffix in SUFFIXES)]


def files_of(name: str, mapped: CData) -> Files:
    """The files of a mapped segment as far as they exist: a segment that is being made has no doorbells yet."""
    identity = ffi.new("kr_identity *")
    code = lib.kr_map_identity(mapped, identity)
    if code:
        raise SegmentError(name, reason="resources", detail=os.strerror(code), errno=code)
    found = zip(file_names(name), identity.device, identity.inode, strict=True)
    return tuple((each, device, inode) for each, device, inode in found if inode)


def lost_names(files: Files) -> list[str]:
    """The names that are gone, or are those of other files now."""
    return [name for name, device, inode in files if _identity(name) != (device, inode)]


def _identity(name: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(SHM_DIR / name)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def remove_names(name: str, files: Files | None) -> None:
    """Remove a segment and its doorbells; what is gone already is fine. Raises :class:`SegmentError`.

    ``files``: only those that are still these files, and no segment that another process made by the same name.
    None: whatever has the name.
    """
    wanted = file_names(name)
    if files is not None and name in lost_names(files):
        lost = lost_names(files)
        wanted = [each for each, _, _ in files if each not in lost]
    # The segment last: a removal that is cut off leaves a segment, which is found and named, and no bare doorbell.
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
        """Tell the tracker; it removes a file of this name, or does nothing where there is none."""
        for name in names:
            if name not in self._names:
                self._names.append(name)
                resource_tracker.register(f"/{name}", "shared_memory")

    def forget(self) -> None:
        """The files are gone, or stay on purpose."""
        while self._names:
            resource_tracker.unregister(f"/{self._names.pop()}", "shared_memory")


@contextlib.contextmanager
def temporary_object(name: str) -> Iterator[str]:
    """An empty file in shared memory, for as long as the block runs, unless the block gives it another name too."""
    tracked = TrackedNames()
    try:
        tracked.add([name])
        os.close(os.open(SHM_DIR / name, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        yield name
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(SHM_DIR / name)
        tracked.forget()
