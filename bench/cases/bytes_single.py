"""One bytes object per call, from one process to another."""

from __future__ import annotations

from bench.contender import Contender
from bench.goal import Goal
from bench.measured import Metric
from bench.pair import pair_contender

WHAT = "one bytes object for each call of the sender, as many as there are for each call of the receiver where it can"
METRICS = (Metric("rate", "records/s", "higher"),)
SIZES = (16, 88, 1024)
_OURS = "kevy-ring try_write"
GOALS = tuple(Goal(f"{size} B", _OURS, ratio=1.0, text=">= 1.0 x the best") for size in SIZES)

# Module of bench.rivals: records per second that it does about, which sets how long a round is.
_PACE = {
    "cloudtoid": 3e6,
    "membridge": 2.5e6,
    "kickmsg": 2.5e6,
    "zeroq": 2e6,
    "subetha_frames": 2e6,
    "tachyon": 1e6,
    "zmq": 5e5,
    "socket_pair": 4e5,
    "iceoryx2": 5e5,
    "standard_pipe": 3e5,
    "fifo": 2e5,
    "standard_queue": 1.4e5,
}


def contenders(quick: bool) -> list[Contender]:
    """All rivals at each size; subetha's bare ring where a record fits one of its places."""
    found = []
    for size in SIZES:
        variant = f"{size} B"
        found.append(pair_contender("ours", "single", variant, size, quick=quick, pace=3e6, name=_OURS, is_ours=True))
        found += [pair_contender(rival, "single", variant, size, quick=quick, pace=p) for rival, p in _PACE.items()]
        if size <= 64:
            found.append(pair_contender("subetha", "single", variant, size, quick=quick, pace=3e6))
    return found
