"""The figures of an overflow: how much waits in the sender's process, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kevy_ring._core import ffi, lib

if TYPE_CHECKING:
    from kevy_ring._core import CData


@dataclass(frozen=True)
class Overflow:
    """The overflow at one moment.

    ``events``: how many wait. ``bytes``: of their records. ``peak_bytes``: the most that it ever held.
    ``oldest_age_s``: how long the oldest event has waited at most (there is one time for each block of 1 MiB); 0.0 if
    the overflow is empty. ``above_high``: for the callback of ``watch_overflow``, whether the high mark was crossed.
    """

    events: int
    bytes: int
    peak_bytes: int
    oldest_age_s: float
    above_high: bool = False


def read_overflow(sender: CData, *, above_high: bool = False) -> Overflow:
    """Read the figures of a sender of this process."""
    info = ffi.new("kr_overflow_info *")
    lib.kr_overflow_read(sender, info)
    age_ns = max(0, info.now_ns - info.oldest_ns) if info.oldest_ns else 0
    return Overflow(info.events, info.bytes, info.peak_bytes, age_ns / 1e9, above_high)
