"""The ring alone, C on both sides, beside C and C++ rings and memcpy."""

from __future__ import annotations

from bench.contender import Contender
from bench.goal import Goal
from bench.measured import Metric
from bench.native_make import native_contender

WHAT = (
    "records from one process to another, C on both sides: each rival holds byte arrays of that size; "
    "the consumer adds up every 8-byte word, or (touched) the first and the last of each record"
)
METRICS = (Metric("rate", "records/s", "higher"), Metric("payload_bytes_per_s", "bytes/s", "higher"))
RING_BYTES = 1 << 20
_OURS = "kevy-ring"
# Bytes of a record: records of a call, of a timed round and of a round of --quick, of the check.
_SIZES = {
    16: (256, 20_000_000, 1_000_000, 200_000),
    88: (256, 10_000_000, 500_000, 100_000),
    1024: (64, 2_000_000, 100_000, 20_000),
    65536: (1, 40_000, 2_000, 500),
}
# Program of bench/native: name, and what may not be overlooked.
_RIVALS = {
    "core_ck": ("ck_ring", "by value, one call a record: it has no batches"),
    "core_boost": ("boost spsc_queue", "arrays pushed, consumed in place"),
    "core_rwq": ("readerwriterqueue", "two threads of one process: it cannot cross processes"),
}
_NAMES = tuple(name for name, _ in _RIVALS.values())


def _variant(size: int, look: str) -> str:
    shown = f"{size} B" if size < 65536 else "64 KiB"
    return shown if look == "read" else f"{shown}, touched"


_RINGS = [
    Goal(_variant(size, look), _OURS, ratio=1.0, rivals=_NAMES, text=">= 1.0 x the best ring")
    for look in ("read", "touch")
    for size in _SIZES
]
_COPY = Goal(_variant(65536, "touch"), _OURS, ratio=0.7, rivals=("memcpy",), text=">= 0.7 x memcpy of the same bytes")
GOALS = (*_RINGS, _COPY)


def contenders(quick: bool) -> list[Contender]:
    """Every ring at each size, with both ways to look at a record; memcpy beside them."""
    found = []
    for look in ("read", "touch"):
        for size, (batch, full, few, checked) in _SIZES.items():
            count, variant = few if quick else full, _variant(size, look)
            timed = (size, count, RING_BYTES, batch, look)
            verified = (size, checked, RING_BYTES, batch, "verify")
            note = "records of any length: 16 bytes of header with each"
            found.append(native_contender(_OURS, variant, "core_kevy", timed, verified, is_ours=True, note=note))
            for program, (name, rival_note) in _RIVALS.items():
                found.append(native_contender(name, variant, program, timed, verified, note=rival_note))
            copied = (size, count, RING_BYTES)
            found.append(
                native_contender(
                    "memcpy", variant, "core_memcpy", copied, note="one thread, nobody reads it", is_bound=True
                )
            )
    return found
