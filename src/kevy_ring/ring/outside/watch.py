"""Watches all rings of this machine: maps each one once, and reads its header at each look."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from kevy_ring._core import lib
from kevy_ring.errors import SegmentError
from kevy_ring.ring.segment import Segment
from kevy_ring.ring.segment_names import SHM_DIR
from kevy_ring.ring.stats import MAGIC, RingStats, creator_is_alive, header_fault, read_stats
from kevy_ring.ring.time_in_ring import TimeInRing, read_time_in_ring

#: A new ring changes the time stamp of the directory, and then the directory is read. The stamp is coarse, so the
#: directory is also read without a change, this often.
RESCAN_S = 5.0
#: If other processes make and remove files all the time, the directory is read no more often than this.
_RESCAN_MIN_S = 0.4
#: How often to check that a creator lives: the process table costs more than the whole header.
CREATOR_EVERY_S = 5.0
_STAMP_NS = 50_000_000
_DIRECTORY = str(SHM_DIR)  # joining paths would cost more than reading a header


@dataclass(frozen=True, slots=True)
class RingLook:
    """One ring at one moment. ``stats``: None if its header cannot be read. ``fault``: what is wrong, or None.

    If there are both a fault and stats, the header contradicts itself. Do not trust its figures.
    """

    name: str
    stats: RingStats | None
    fault: str | None = None


@dataclass(slots=True)
class _Mapped:
    segment: Segment
    inode: int
    file_bytes: int
    version: int
    creator_alive: bool = True
    creator_asked_at: float = float("-inf")


class RingWatch:
    """Looks at every ring for which ``wanted(name)`` is true; takes no role and writes nothing. Use it from one thread.

    Each ring stays mapped, with three descriptors, until it is gone. If a ring was removed and another one has its name
    now, the next look maps the new one.
    """

    def __init__(
        self, wanted: Callable[[str], bool] = lambda name: True, *, rescan_min_s: float = _RESCAN_MIN_S
    ) -> None:
        self._wanted = wanted
        self._rescan_min_s = rescan_min_s
        self._mapped: dict[str, _Mapped] = {}
        self._faults: dict[str, str] = {}  # of files that have a ring's magic but cannot be mapped
        self._directory_changed_ns = -1
        self._scanned_at = float("-inf")

    def look(self) -> list[RingLook]:
        """Every ring that exists now, sorted by name. Raises SegmentError if the shared memory cannot be read."""
        now = time.monotonic()
        self._scan(now)
        looks = [RingLook(name, None, fault) for name, fault in self._faults.items() if self._wanted(name)]
        for name in list(self._mapped):
            if self._wanted(name):
                look = self._look(name, now)
                if look is not None:
                    looks.append(look)
        looks.sort(key=lambda look: look.name)
        return looks

    def time_in_ring(self, name: str) -> TimeInRing | None:
        """How long records stay in a ring. None: the last look found no ring of this name."""
        mapped = self._mapped.get(name)
        return None if mapped is None else read_time_in_ring(mapped.segment)

    def close(self) -> None:
        """Drop all mappings. The next look maps the rings again."""
        self._mapped.clear()
        self._faults.clear()
        self._scanned_at = float("-inf")

    def _scan(self, now: float) -> None:
        try:
            changed_ns = os.stat(_DIRECTORY).st_mtime_ns
            since = now - self._scanned_at
            if since < (RESCAN_S if changed_ns == self._directory_changed_ns else self._rescan_min_s):
                return
            entries = list(os.scandir(_DIRECTORY))
        except OSError as exc:
            raise SegmentError(_DIRECTORY, reason="resources", detail=str(exc), errno=exc.errno or 0) from exc
        # A second change within one tick of the file system's clock does not change the stamp.
        is_settled = time.time_ns() - changed_ns > _STAMP_NS
        self._directory_changed_ns, self._scanned_at = changed_ns if is_settled else -1, now
        self._faults.clear()
        there = set()
        for entry in entries:
            if not entry.is_file(follow_symlinks=False) or not self._wanted(entry.name):
                continue
            there.add(entry.name)
            known = self._mapped.get(entry.name)
            if known is None or known.inode != entry.inode():
                self._mapped.pop(entry.name, None)
                self._map(entry.name)
        for name in self._mapped.keys() - there:
            del self._mapped[name]

    def _map(self, name: str) -> None:
        """Map a file that has a ring's magic. Ignore files without it, and files that this user may not read."""
        try:
            with open(f"{_DIRECTORY}/{name}", "rb") as file:
                if file.read(len(MAGIC)) != MAGIC:
                    return
                inode = os.fstat(file.fileno()).st_ino
        except OSError:
            return
        try:
            segment = Segment.attach(name)
        except SegmentError as error:
            if error.reason != "missing":
                self._faults[name] = str(error)
        except ValueError as error:  # a name that no ring can have
            self._faults[name] = str(error)
        else:
            file_bytes = segment.capacity + int(lib.kr_page_bytes())
            self._mapped[name] = _Mapped(segment, inode, file_bytes, read_stats(segment).version)

    def _look(self, name: str, now: float) -> RingLook | None:
        mapped = self._mapped[name]
        file_bytes = lib.kr_map_file_bytes(mapped.segment.map)
        if file_bytes < 0:  # removed, and perhaps there is another ring of this name
            del self._mapped[name]
            self._map(name)
            return self._look(name, now) if name in self._mapped else None
        if file_bytes != mapped.file_bytes:
            # Reading a page that the file has lost would kill this process.
            return RingLook(name, None, f"its file has {file_bytes} bytes, not {mapped.file_bytes}")
        if now - mapped.creator_asked_at >= CREATOR_EVERY_S:
            mapped.creator_alive, mapped.creator_asked_at = creator_is_alive(mapped.segment), now
        stats = read_stats(mapped.segment, creator_alive=mapped.creator_alive)
        if stats.version != mapped.version:
            return RingLook(name, stats, f"its header says version {stats.version}, and said {mapped.version}")
        return RingLook(name, stats, header_fault(stats))
