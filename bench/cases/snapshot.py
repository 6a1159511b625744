"""Chunks of a snapshot into a shard's buffer."""

from __future__ import annotations

from bench.contender import Contender
from bench.goal import Goal
from bench.measured import Metric
from bench.native_make import native_contender
from bench.python_round import python_contender
from bench.rivals import rust_mpsc

WHAT = (
    "chunks of 64 KiB into the buffer of a shard, which holds 64 MiB, was touched before, and is filled anew when "
    "it is full; beside them memcpy into such a buffer, from a megabyte that lies in the cache"
)
METRICS = (Metric("rate", "bytes/s", "higher"),)
RING_BYTES = 1 << 20  # driven from C: chunks are read before they leave the cache
_VARIANT = "64 KiB"
_C, _PYTHON, _COPY = "kevy-ring (C drives)", "kevy-ring (Python drives)", "memcpy"
GOALS = (
    Goal(_VARIANT, _C, ratio=2.0, rivals=(rust_mpsc.NAME,), text=">= 2 x Rust"),
    Goal(_VARIANT, _PYTHON, ratio=2.0, rivals=(rust_mpsc.NAME,), text=">= 2 x Rust, driven from Python"),
)


def contenders(quick: bool) -> list[Contender]:
    """Ours driven from C and from Python, the copy alone, and the Rust channel, which clones each chunk."""
    chunks, few = (1024 if quick else 16384), 512
    return [
        native_contender(_C, _VARIANT, "snapshot_kevy", (chunks, RING_BYTES), (few, RING_BYTES, "check"), is_ours=True),
        native_contender(_COPY, _VARIANT, "snapshot_memcpy", (chunks,), is_bound=True, note="one thread, no ring"),
        python_contender(_PYTHON, _VARIANT, "bench.snapshot_round", (chunks,), (few, "check"), is_ours=True),
        rust_mpsc.rust_contender("snapshot", _VARIANT, quick, chunks * (20 if quick else 1)),
    ]
