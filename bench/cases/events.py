"""Frames as objects on both sides: made by the sender, taken apart by the receiver."""

from __future__ import annotations

from bench.contender import Contender
from bench.goal import Goal
from bench.measured import Metric
from bench.pair import pair_contender
from bench.rivals.rust_mpsc import NAME as RUST
from bench.rivals.rust_mpsc import rust_contender

WHAT = "Frame(offset, [SET, 16-byte key, 64-byte value]): made, sent, taken and its arguments looked at"
METRICS = (Metric("rate", "frames/s", "higher"),)
VARIANT = "SET, 16 B key, 64 B value"
VALUE_BYTES = 64
_OWNED, _BATCH = "kevy-ring send_many, recv_many", "kevy-ring send_many, drain"
_SINGLE, _EACH = "kevy-ring send, recv_many", "kevy-ring send, recv"
_QUEUE = "multiprocessing.Queue"
GOALS = (
    Goal(VARIANT, _OWNED, ratio=0.8, rivals=(RUST,), text="send_many: >= 0.8 x Rust"),
    Goal(VARIANT, _BATCH, ratio=0.8, rivals=(RUST,), text="send_many, views into the ring: >= 0.8 x Rust"),
    Goal(VARIANT, _SINGLE, ratio=5.0, rivals=(_QUEUE,), text="one by one: >= 5 x multiprocessing.Queue"),
    Goal(VARIANT, _EACH, ratio=5.0, rivals=(_QUEUE,), text="one by one on both sides: >= 5 x multiprocessing.Queue"),
)


def contenders(quick: bool) -> list[Contender]:
    """Ours in four forms, the original's design, the standard way, and the fastest rival with the fastest codec."""
    rows = [
        ("events_ours", "owned", 1.5e6, _OWNED, "send_many / recv_many, frames that own their memory", True),
        ("events_ours", "batch", 8e5, _BATCH, "send_many / drain, frames that lie in the ring", True),
        ("events_ours", "single", 1e6, _SINGLE, "send / recv_many", True),
        ("events_ours", "each", 8e5, _EACH, "send / recv, frames that own their memory", True),
        ("events_cloudtoid", "batch", 6e5, "", "", False),
        ("events_queue", "single", 8e4, "", "", False),
    ]
    found = [
        pair_contender(rival, way, VARIANT, VALUE_BYTES, quick=quick, pace=pace, name=name, note=note, is_ours=ours)
        for rival, way, pace, name, note, ours in rows
    ]
    return [*found, rust_contender("events", VARIANT, quick)]
