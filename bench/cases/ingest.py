"""From the wire to a shard: RESP frames in memory, scanned, sent, and digested in another process."""

from __future__ import annotations

from bench.contender import Contender
from bench.goal import Goal
from bench.measured import Metric
from bench.native_make import native_contender
from bench.python_round import python_contender
from bench.rivals import rust_mpsc

WHAT = (
    "kevy frames as bytes in memory (SET, 16-byte key, 64-byte value), taken in pieces of 256 KiB, to columns and "
    "a digest of every byte on the other side"
)
METRICS = (Metric("rate", "frames/s", "higher"), Metric("wire_bytes_per_s", "bytes/s", "higher"))
RING_BYTES = 8 << 20
PIECE_BYTES = 256 << 10
_VARIANT = "frames"
_C, _PYTHON = "kevy-ring (C drives)", "kevy-ring (Python drives)"
GOALS = (
    Goal(_VARIANT, _C, ratio=12.0, rivals=(rust_mpsc.NAME,), text=">= 12 x Rust"),
    Goal(_VARIANT, _PYTHON, ratio=12.0, rivals=(rust_mpsc.NAME,), text=">= 12 x Rust, driven from Python"),
)


def contenders(quick: bool) -> list[Contender]:
    """Ours driven from C and from Python, the Rust channel, and the parser of redis-py before a queue."""
    frames = 200_000 if quick else 8_000_000
    few = 20_000 if quick else 200_000
    module = "bench.ingest_round"
    return [
        native_contender(
            _C,
            _VARIANT,
            "ingest_kevy",
            (frames, RING_BYTES, PIECE_BYTES),
            (few, RING_BYTES, PIECE_BYTES, "check"),
            is_ours=True,
        ),
        python_contender(_PYTHON, _VARIANT, module, ("ours", frames), ("ours", few // 4, "check"), is_ours=True),
        rust_mpsc.rust_contender("ingest", _VARIANT, quick),
        python_contender(
            "hiredis + mp.Queue", _VARIANT, module, ("hiredis", few), ("hiredis", few // 4, "check"), needs=("hiredis",)
        ),
    ]
