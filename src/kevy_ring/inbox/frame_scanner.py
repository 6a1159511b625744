"""From the wire to the ring: one call of the core scans a run of plain RESP frames and sends it.

The scanner knows only plain frames in canonical form. It stops at anything else: the protocol module handles control
lines, state changes and errors.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from kevy_ring._core import ffi, lib
from kevy_ring.events import BytesLike

if TYPE_CHECKING:
    from kevy_ring._core import CData


class ScanEnd(IntEnum):
    """Why a scan stopped: the bytes ended, no plain frame follows, or a kevy frame has an unexpected offset."""

    NEED = lib.KR_SCAN_NEED
    OTHER = lib.KR_SCAN_OTHER
    GAP = lib.KR_SCAN_GAP


class FrameRun(NamedTuple):
    """The result of one scan: it sent ``frames`` whole frames, which are the first ``consumed`` bytes.

    ``last_offset``: of the last frame, 0 if there is none. ``end``: a :class:`ScanEnd`. ``stopped_at``: the index of
    the byte at which the scan stopped.
    """

    consumed: int
    frames: int
    last_offset: int
    end: int
    stopped_at: int


class FrameScanner:
    """Keeps the state of an unfinished frame, so that each byte is scanned once even if it arrives in many pieces.

    ``dialect``: ``"kevy"`` (frames carry their offset) or ``"redis"`` (offsets count bytes); else ``ValueError``. After
    ``ScanEnd.NEED`` the next scan must begin with the same unfinished frame, unless :meth:`reset` is called first.
    """

    def __init__(self, dialect: str) -> None:
        if dialect not in ("kevy", "redis"):
            raise ValueError(f"dialect is 'kevy' or 'redis', not {dialect!r}")
        scanner = lib.kr_scanner_new()
        if scanner == ffi.NULL:
            raise MemoryError("no memory for a frame scanner")
        self._scanner = ffi.gc(scanner, lib.kr_scanner_free)
        self._scan = lib.kr_scan_kevy if dialect == "kevy" else lib.kr_scan_redis
        self._out = ffi.new("kr_scan *")

    def scan(self, sender: CData, received: BytesLike, offset: int) -> int:
        """Scan, and return the code of the core. For :meth:`ReplicaInboxSender.scan_frames`."""
        source = ffi.from_buffer(received)
        code: int = self._scan(sender, self._scanner, source, len(source), offset, self._out)
        return code

    def run(self) -> FrameRun:
        """The result of the last scan."""
        out = self._out
        return FrameRun(out.consumed, out.frames, out.last_offset, out.why, out.stopped_at)

    def reset(self) -> None:
        """Forget the unfinished frame: other code reads it."""
        lib.kr_scanner_reset(self._scanner)
