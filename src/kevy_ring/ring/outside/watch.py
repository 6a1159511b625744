"""All rings of this machine, looked at again and again: mapped once, read through their headers only."""

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

#: A new ring changes the time stamp of the directory; but that is coarse, so it is read this often all the same.
RESCAN_S = 5.0
#: And where others make and remove files all the time, no more often than this.
_RESCAN_MIN_S = 0.4
#: A creator's life is looked up in the process table, which costs more than all of the header.
CREATOR_EVERY_S = 5.0
_STAMP_NS = 50_000_000
_DIRECTORY = str(SHM_DIR)  # joining paths costs more than the look at a header


@dataclass(frozen=True, slots=True)
class RingLook:
    """One ring at one moment. ``stats`` is None where its header cannot be read; ``fault``: what is wrong, if it is.

    With a fault and stats the header contradicts itself, and its figures are not to be believed.
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

    A ring stays mapped from one look to the next, three descriptors each, until it is gone. The mapping of a ring that
    was removed and made anew under its name is made anew as well.
    """

    def __init__(
        self, wanted: Callable[[str], bool] = lambda name: True, *, rescan_min_s: float = _RESCAN_MIN_S
    ) -> None:
        self._wanted = wanted
        self._rescan_min_s = rescan_min_s
        self._mapped: dict[str, _Mapped] = {}
        self._faults: dict[str, str] = {}  # of what has a ring's magic and cannot be mapped
        self._directory_changed_ns = -1
        self._scanned_at = float("-inf")

    def look(self) -> list[RingLook]:
        """Every ring that is there now, by name. Raises SegmentError where there is no shared memory to look into."""
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
        """How long records lie in a ring that the last look found; None: it had none of this name."""
        mapped = self._mapped.get(name)
        return None if mapped is None else read_time_in_ring(mapped.segment)

    def close(self) -> None:
        """Let go of all mappings; the next look makes them anew."""
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
        # What happens within the same tick of the file system's clock does not change the stamp again.
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
        """Map what has a ring's magic. What has not, or is somebody else's, is not there."""
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
        if file_bytes < 0:  # removed; perhaps made anew
            del self._mapped[name]
            self._map(name)
            return self._look(name, now) if name in self._mapped else None
        if file_bytes != mapped.file_bytes:
            # A page that the file has no longer must not be touched.
            return RingLook(name, None, f"its file has {file_bytes} bytes, not {mapped.file_bytes}")
        if now - mapped.creator_asked_at >= CREATOR_EVERY_S:
            mapped.creator_alive, mapped.creator_asked_at = creator_is_alive(mapped.segment), now
        stats = read_stats(mapped.segment, creator_alive=mapped.creator_alive)
        if stats.version != mapped.version:
            return RingLook(name, stats, f"its header says version {stats.version}, and said {mapped.version}")
        return RingLook(name, stats, header_fault(stats))
