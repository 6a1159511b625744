"""How long a record takes, and what waiting for it costs."""

from __future__ import annotations

from bench.contender import Contender
from bench.goal import Goal
from bench.latency import latency_contender
from bench.measured import Metric
from bench.rivals.futex_floor import futex_floor

WHAT = "half a round trip of 88 bytes, each side on its own core; wake: one way to a receiver that sleeps"
METRICS = (
    Metric("p50", "us", "lower"),
    Metric("p99", "us", "lower"),
    Metric("p99.9", "us", "lower"),
    Metric("wake", "us", "lower"),
    Metric("idle CPU", "%", "lower"),
    Metric("trickle CPU", "%", "lower"),
)
_SPIN, _SHORT, _SLEEP = "pure spin", "short spin, then sleep", "sleep"
_BUSY = "every core busy with other work: "
_OURS = "kevy-ring"
GOALS = (
    Goal(_SPIN, _OURS, metric="p50", limit=0.6, text="p50 <= 0.6 us"),
    Goal(_SPIN, _OURS, metric="p99.9", ratio=1.0, text="p99.9 <= the best rival's"),
    Goal(_SHORT, _OURS, metric="p50", ratio=1.0, rivals=("tachyon-ipc",), text="p50 <= 1.0 x tachyon's"),
    Goal(_SHORT, _OURS, metric="p99.9", ratio=1.0, text="p99.9 <= the best rival's"),
    Goal(_SHORT, _OURS, metric="idle CPU", limit=0.5, text="idle CPU <= 0.5 %"),
    Goal(_SHORT, _OURS, metric="trickle CPU", limit=0.5, text="CPU with an event every 4 ms <= 0.5 %"),
    Goal(_SLEEP, _OURS, metric="p50", ratio=1 / 1.05, rivals=("os.pipe",), text="p50 <= 1.05 x os.pipe's"),
    Goal(_SLEEP, _OURS, metric="p99.9", ratio=1.0, text="p99.9 <= the best rival's"),
)

_SPINNING = ("ours", "cloudtoid", "kickmsg", "membridge", "zeroq", "subetha_frames", "iceoryx2")
_SHORTLY_SPINNING = ("ours", "tachyon")
_SLEEPING = (
    "ours_asleep", "os_pipe", "socket_pair", "standard_pipe", "cloudtoid", "kickmsg", "iceoryx2_events", "zeroq",
    "fifo", "zmq", "standard_queue",
)  # fmt: skip


def contenders(quick: bool) -> list[Contender]:
    """Three classes by how the receiver waits, each alone on the machine and with every core busy."""
    found = []
    for hogs, before in ((0, ""), (2, _BUSY)):
        for waiting, rivals in ((_SPIN, _SPINNING), (_SHORT, _SHORTLY_SPINNING), (_SLEEP, _SLEEPING)):
            if hogs and waiting == _SPIN:
                continue  # a spinning pair that shares its cores measures the scheduler's time slice and nothing else
            for rival in rivals:
                found.append(latency_contender(rival, before + waiting, quick=quick, spins=waiting == _SPIN, hogs=hogs))
            if not hogs and waiting != _SHORT:
                found.append(futex_floor(waiting, quick=quick, spins=waiting == _SPIN))
    return found
