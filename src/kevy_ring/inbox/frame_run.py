"""From the wire to the ring: a run of plain RESP frames, scanned and written by one call of the core.

The scanner knows plain frames in canonical form and nothing else. Where it stops at anything else, the protocol module
reads on: control lines, state changes and errors are its business.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from kevy_ring._core import ffi, lib
from kevy_ring.events import BytesLike

if TYPE_CHECKING:
    from kevy_ring._core import CData


class ScanEnd(IntEnum):
    """Why a scan stopped: the bytes ended, no plain frame follows, or a kevy frame has not the next offset."""

    NEED = lib.KR_SCAN_NEED
    OTHER = lib.KR_SCAN_OTHER
    GAP = lib.KR_SCAN_GAP


class FrameRun(NamedTuple):
    """What one scan took: ``consumed`` bytes of ``frames`` whole frames, the last with ``last_offset`` (0 if none).

    ``end``: a :class:`ScanEnd`. ``stopped_at``: the byte at which the scan stopped.
    """

    consumed: int
    frames: int
    last_offset: int
    end: int
    stopped_at: int


class FrameScanner:
    """Remembers where an unfinished frame stands, so that its bytes are read once however they arrive.

    ``dialect``: ``"kevy"`` (frames carry their offset) or ``"redis"`` (offsets count bytes). After ``ScanEnd.NEED`` the
    next scan must begin with the same unfinished frame, or :meth:`reset` be called before.
    """

    def __init__(self, dialect: str) -> None:
        if dialect not in ("kevy", "redis"):
            raise ValueError(f"dialect is kevy or redis: {dialect!r}")
        scanner = lib.kr_scanner_new()
        if scanner == ffi.NULL:
            raise MemoryError("no memory for a frame scanner")
        self._scanner = ffi.gc(scanner, lib.kr_scanner_free)
        self._scan = lib.kr_scan_kevy if dialect == "kevy" else lib.kr_scan_redis
        self._out = ffi.new("kr_scan *")

    def scan(self, sender: CData, received: BytesLike, offset: int) -> int:
        """One call of the core; returns its code. Used through :meth:`ReplicaInboxSender.scan_frames`."""
        source = ffi.from_buffer(received)
        code: int = self._scan(sender, self._scanner, source, len(source), offset, self._out)
        return code

    def run(self) -> FrameRun:
        """What the last scan took."""
        out = self._out
        return FrameRun(out.consumed, out.frames, out.last_offset, out.why, out.stopped_at)

    def reset(self) -> None:
        """Forget the unfinished frame: somebody else reads it."""
        lib.kr_scanner_reset(self._scanner)
