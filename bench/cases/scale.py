"""Many rings between one pair of processes."""

from __future__ import annotations

from bench.contender import Contender
from bench.goal import Goal
from bench.measured import Metric
from bench.native_make import native_contender

WHAT = "1 to 256 rings of 256 KiB in one pair of processes, 88-byte records to each in turn: all rings together"
METRICS = (
    Metric("rate", "records/s", "higher"),
    Metric("beyond_capacity_bytes_per_ring", "bytes", "lower"),
    Metric("wakes_per_million", "wakes", "lower"),
    Metric("idle_cpu_percent", "%", "lower"),
    Metric("create_us", "us", "lower"),
    Metric("attach_us", "us", "lower"),
)
RING_BYTES = 256 << 10
RINGS = (1, 2, 8, 64, 256)
_VARIANT = "all"


def _name(rings: int) -> str:
    return f"{rings} ring{'s' if rings > 1 else ''}"


GOALS = (
    Goal(_VARIANT, _name(64), ratio=0.85, rivals=(_name(2),), text="64 rings within 15 % of 2"),
    Goal(_VARIANT, _name(8), ratio=0.85, rivals=(_name(2),), text="8 rings within 15 % of 2"),
    Goal(_VARIANT, _name(256), metric="idle_cpu_percent", limit=0.5, text="idle cost flat: under 0.5 % with 256 rings"),
)


def contenders(quick: bool) -> list[Contender]:
    """The same records through 1 to 256 rings; it is its own rival."""
    records = 400_000 if quick else 6_000_000
    return [
        native_contender(_name(rings), _VARIANT, "scale_kevy", (rings, records, RING_BYTES), is_ours=rings > 2)
        for rings in RINGS
    ]
