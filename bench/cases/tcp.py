"""The whole path: upstream, loopback, runner, ring, shard."""

from __future__ import annotations

from bench.contender import Contender
from bench.goal import Goal
from bench.measured import Metric
from bench.python_round import python_contender

WHAT = (
    "live kevy frames over loopback to a null sink that takes a CRC-32 over every byte (three processes), "
    "beside one process that only receives; the upstream sends prepared bytes, or is the embedded primary, which is "
    "slower than either"
)
METRICS = (Metric("rate", "bytes/s", "higher"), Metric("frames_per_s", "frames/s", "higher"))
_OURS, _BARE, _TOUCHING = "kevy-ring", "recv_into, thrown away", "recv_into, one byte of 4 KiB"
_SOURCES = {"prepared": "prepared bytes", "embedded": "embedded primary"}
GOALS = tuple(
    Goal(variant, _OURS, ratio=0.8, rivals=(_BARE,), text=">= 0.8 x the bare loop") for variant in _SOURCES.values()
)
_WAYS = (("ours", _OURS), ("bare", _BARE), ("touching", _TOUCHING))


def contenders(quick: bool) -> list[Contender]:
    """The runner and a shard beside two bare loops, with both upstreams."""
    found = []
    for source, variant in _SOURCES.items():
        frames = 20_000 if quick else {"prepared": 500_000, "embedded": 200_000}[source]
        for way, name in _WAYS:
            timed, checked = (way, source, frames), (way, source, 20_000, "check")
            found.append(
                python_contender(
                    name,
                    variant,
                    "bench.tcp_round",
                    timed,
                    checked,
                    needs=("redis",),
                    is_ours=way == "ours",
                    is_bound=way != "ours",
                )
            )
    return found
