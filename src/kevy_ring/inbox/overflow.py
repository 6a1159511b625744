"""The overflow as its users see it: how much waits in the sender's process, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kevy_ring._core import ffi, lib

if TYPE_CHECKING:
    from kevy_ring._core import CData


@dataclass(frozen=True)
class Overflow:
    """A moment of the overflow. ``bytes``: encoded records. ``oldest_age_s``: an upper bound of how long the
    oldest event has waited (times are kept per block of 1 MiB); 0.0 when the overflow is empty. ``above_high``:
    the high mark of ``watch_overflow`` was crossed and the low one not yet.
    """

    events: int
    bytes: int
    peak_bytes: int
    oldest_age_s: float
    above_high: bool = False


def read_overflow(sender: CData, *, above_high: bool = False) -> Overflow:
    """The overflow of a sender of this process."""
    info = ffi.new("kr_overflow_info *")
    lib.kr_overflow_read(sender, info)
    age_ns = max(0, info.now_ns - info.oldest_ns) if info.oldest_ns else 0
    return Overflow(info.events, info.bytes, info.peak_bytes, age_ns / 1e9, above_high)
