"""A receiver that stands still while everything is sent, and then takes it all."""

from __future__ import annotations

from bench.contender import Contender
from bench.goal import Goal
from bench.measured import Metric
from bench.native_make import native_contender
from bench.python_round import python_contender
from bench.rivals import rust_mpsc

WHAT = "the receiver stands still while all frames are sent, each send timed by itself; then it takes them all"
METRICS = (
    Metric("p50_us", "us", "lower"),
    Metric("p99_9_us", "us", "lower"),
    Metric("max_us", "us", "lower"),
    Metric("bytes_per_event", "bytes", "lower"),
    Metric("drained_per_s", "frames/s", "higher"),
    Metric("rate", "frames/s", "higher"),
)
RING_BYTES = 8 << 20
_C, _PYTHON = "kevy-ring (C drives)", "kevy-ring (Python drives)"
_NATIVE, _OBJECTS = "5 million, native", "Python objects"
_ENCODED_BYTES = 120  # a record of this frame: header, ends of the arguments, arguments, padding
GOALS = (
    Goal(_NATIVE, _C, metric="p50_us", limit=2.0, text="send p50 <= 2 us"),
    Goal(_NATIVE, _C, metric="p99_9_us", limit=200.0, text="send p99.9 <= 200 us"),
    Goal(_NATIVE, _C, metric="bytes_per_event", limit=1.3 * _ENCODED_BYTES, text="memory <= 1.3 x the encoded records"),
    Goal(_OBJECTS, _PYTHON, metric="p50_us", limit=2.0, text="send p50 <= 2 us, from Python"),
    Goal(_OBJECTS, _PYTHON, metric="p99_9_us", limit=200.0, text="send p99.9 <= 200 us, from Python"),
    Goal(
        _OBJECTS,
        _PYTHON,
        metric="bytes_per_event",
        limit=1.3 * _ENCODED_BYTES,
        text="memory <= 1.3 x the encoded records",
    ),
)


def contenders(quick: bool) -> list[Contender]:
    """Ours and the Rust channel with five million frames; from Python a tenth of them, beside a queue with fewer."""
    events = 100_000 if quick else 5_000_000
    objects, queued = events // 10, min(events // 10, 100_000)
    module = "bench.stall_round"
    return [
        native_contender(_C, _NATIVE, "stall_kevy", (events, RING_BYTES), is_ours=True),
        rust_mpsc.rust_contender("stall", _NATIVE, quick, 5_000_000),
        python_contender(_PYTHON, _OBJECTS, module, ("ours", objects), ("ours", 20_000), is_ours=True),
        python_contender("mp.Queue", _OBJECTS, module, ("queue", queued), ("queue", 10_000), note="fewer frames"),
    ]
