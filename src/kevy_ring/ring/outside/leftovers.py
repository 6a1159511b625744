"""Segments that no process uses any more: rings, kept rings, and segments that are not whole rings of this version."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from kevy_ring._core import lib
from kevy_ring.ring.segment_names import SHM_DIR, SUFFIXES, Files, remove_names
from kevy_ring.ring.stats import (
    FIXED_HEADER,
    MAGIC,
    VERSION,
    RingStats,
    RoleState,
    files_in_shared_memory,
    inspect_ring,
)

_PROC = Path("/proc")
# A new segment is empty for some microseconds, until its maker has sized it.
_EMPTY_S = 1.0
# Commands such as ls and top map every segment for a moment. A process that uses a segment has it mapped for longer.
LOOK_S = 2.0
_LOOK_AGAIN_S = 0.02
# The names that kevy-ring chooses: for a ring without a name of the user's, and for a segment that is being made.
_OWN_NAME = re.compile(r"kevy-[0-9a-f]{20}")
_MAKING = re.compile(rf"{_OWN_NAME.pattern}\.new")


def is_unused(stats: RingStats) -> bool:
    """Whether no live process made or adopted this ring, or has a role in it. A stopped process is not dead.

    The kernel marks a role when its holder dies. The creator is looked up by pid and start time, so a creator in
    another pid namespace looks dead.
    """
    roles = (stats.producer, stats.consumer)
    return not stats.creator_alive and all(role.state is not RoleState.ALIVE for role in roles)


def is_abandoned(stats: RingStats) -> bool:
    """Whether no process uses this ring, and it was not kept on purpose."""
    return is_unused(stats) and not stats.is_kept


def remove_abandoned(name: str, *, kept: bool = False) -> RingStats | None:
    """Remove an abandoned ring and its doorbells, and return its last stats. None: it is not abandoned, and stays.

    ``kept``: also remove a kept ring that no process uses. Attached processes keep the memory, but no other process
    can attach. Raises :class:`SegmentError`.
    """
    files = _files_named(name)
    stats = inspect_ring(name)
    if not is_unused(stats) or (stats.is_kept and not kept):
        return None
    remove_names(name, files)
    return stats


class Oddity(Enum):
    """Why a segment is not a whole ring of this version. The value says it in words."""

    OTHER_VERSION = "has another layout version"
    HALF_MADE = "is half made: the process that made it was killed before it ended"
    NO_DOORBELL = "lacks a doorbell: its file beside the segment was removed"


@dataclass(frozen=True, slots=True)
class OddSegment:
    """A segment of this user that is not a whole ring of this version, found by fields that all versions share.

    ``creator_pid``: 0 if the creator is not known. ``mapped_by``: the processes that have it mapped; None if this is
    not known, because the memory maps of some processes cannot be read.
    """

    name: str
    oddity: Oddity
    version: int
    size_bytes: int
    is_kept: bool
    creator_pid: int
    creator_alive: bool
    mapped_by: tuple[int, ...] | None
    files: Files

    @property
    def users(self) -> tuple[int, ...]:
        """The live processes that are known to use it, the creator first."""
        creator = (self.creator_pid,) if self.creator_alive else ()
        return tuple(dict.fromkeys(creator + (self.mapped_by or ())))

    @property
    def is_abandoned(self) -> bool:
        """Whether it is certain that no process uses it, and it was not kept on purpose."""
        return not self.users and self.mapped_by is not None and not self.is_kept

    def remove(self) -> None:
        """Remove it and its doorbells. Raises :class:`SegmentError`."""
        remove_names(self.name, self.files)


def odd_segments(names: tuple[str, ...] = ()) -> list[OddSegment]:
    """All odd segments of this user, sorted by name. ``names``: only these; empty: all."""
    found = []
    for name, info, first in files_in_shared_memory():
        if names and name not in names:
            continue
        oddity = _oddity(name, info, first)
        if oddity is not None:
            found.append((name, oddity, info, first))
    # One pass over all processes for all segments: it costs more than the rest.
    users = _users_of([info for _, _, info, _ in found])
    made = [_odd_segment(name, oddity, info, first, users) for name, oddity, info, first in found]
    return sorted(made, key=lambda odd: odd.name)


def odd_segment(name: str) -> OddSegment | None:
    """The odd segment of this name. None: there is none, it is a whole ring, or it belongs to another user."""
    return next(iter(odd_segments((name,))), None)


def settled_odd_segment(name: str) -> OddSegment | None:
    """As :func:`odd_segment`, for a caller that wants to remove it.

    A process such as ``kevy-ring ls`` maps it only for a moment. So if its creator is dead and processes have it
    mapped, this waits up to ``LOOK_S`` seconds for them to unmap it. The processes that remain use it.
    """
    deadline = time.monotonic() + LOOK_S
    while True:
        odd = odd_segment(name)
        if odd is None or odd.creator_alive or not odd.users or time.monotonic() >= deadline:
            return odd
        time.sleep(_LOOK_AGAIN_S)


def _oddity(name: str, info: os.stat_result, first: bytes) -> Oddity | None:
    if info.st_uid != os.geteuid() or info.st_mode & 0o077:
        return None
    header = first.ljust(FIXED_HEADER.size, b"\0")
    magic, version, header_bytes, capacity, _, creator_pid, _, _ = FIXED_HEADER.unpack(header)
    if magic == MAGIC:
        if version != VERSION:
            return Oddity.OTHER_VERSION
        is_whole = info.st_size == header_bytes + capacity
        return Oddity.NO_DOORBELL if is_whole and creator_pid and len(_doorbells(name)) < len(SUFFIXES) else None
    if any(magic):
        return None
    if not info.st_size and time.time() - info.st_mtime < _EMPTY_S:
        return None
    # A half-made segment with a temporary name may have any part of its header. With its own name it has everything but
    # the magic. Version 1 wrote nothing before the end: then the name, or a doorbell, shows that it is a ring.
    is_described = creator_pid and header_bytes and info.st_size == header_bytes + capacity
    is_of_version_1 = not any(first) and (_OWN_NAME.fullmatch(name) or _doorbells(name))
    return Oddity.HALF_MADE if _MAKING.fullmatch(name) or is_described or is_of_version_1 else None


def _odd_segment(name: str, oddity: Oddity, info: os.stat_result, first: bytes, users: _Users) -> OddSegment:
    _, version, _, _, _, pid, flags, start = FIXED_HEADER.unpack(first.ljust(FIXED_HEADER.size, b"\0"))
    return OddSegment(
        name=name,
        oddity=oddity,
        version=version,
        size_bytes=info.st_size,
        is_kept=bool(flags & lib.KR_SEGMENT_KEPT) and oddity is not Oddity.HALF_MADE,
        creator_pid=pid,
        creator_alive=bool(pid) and bool(lib.kr_process_alive(pid, start)),
        mapped_by=users.get((info.st_dev, info.st_ino)),
        files=_files_named(name),
    )


def _doorbells(name: str) -> list[str]:
    return [path for suffix in SUFFIXES if _is_fifo(path := f"{name}{suffix}")]


def _is_fifo(name: str) -> bool:
    try:
        info = os.lstat(SHM_DIR / name)
    except OSError:
        return False
    return stat.S_ISFIFO(info.st_mode) and info.st_uid == os.geteuid()


def _files_named(name: str) -> Files:
    """The segment and its doorbells as they are now. A file that has a doorbell's name but is not one is left out."""
    found = []
    for each in [name, *_doorbells(name)]:
        try:
            info = os.lstat(SHM_DIR / each)
        except OSError:
            continue
        found.append((each, info.st_dev, info.st_ino))
    return tuple(found)


# The processes that have a file mapped, by its device and inode; None as in OddSegment.mapped_by.
_Users = dict[tuple[int, int], "tuple[int, ...] | None"]


def mapped_by(info: os.stat_result, proc: Path | None = None) -> tuple[int, ...] | None:
    """The processes that have a file mapped. None: none was found, but some processes could not be read."""
    return _users_of([info], proc)[info.st_dev, info.st_ino]


def _users_of(files: list[os.stat_result], proc: Path | None = None) -> _Users:
    """Source: proc_pid_maps(5). A line has the device as hexadecimal major:minor, and the inode."""
    proc = proc or _PROC
    wanted = {
        (f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}", str(info.st_ino)): (info.st_dev, info.st_ino)
        for info in files
    }
    found: dict[tuple[int, int], set[int]] = {file: set() for file in wanted.values()}
    is_complete = _sees_all(proc)
    for directory in _processes(proc) if files else ():
        try:
            with open(directory / "maps", encoding="utf-8", errors="replace") as maps:
                for line in maps:
                    fields = line.split(None, 5)
                    file = wanted.get((fields[3], fields[4])) if len(fields) > 4 else None
                    if file is not None:
                        found[file].add(int(directory.name))
        except (FileNotFoundError, ProcessLookupError):
            continue  # the process has ended
        except OSError:
            is_complete = False
    return {file: tuple(sorted(pids)) if pids or is_complete else None for file, pids in found.items()}


def _processes(proc: Path) -> Iterator[Path]:
    try:
        yield from (each for each in proc.iterdir() if each.name.isdecimal())
    except OSError:
        return


def _sees_all(proc: Path) -> bool:
    """Whether /proc lists all processes. With the mount option hidepid it does not list process 1 of another user."""
    return (proc / "1").exists()
