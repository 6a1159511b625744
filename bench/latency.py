"""How long a record takes: round trips of one pair of processes, wake-ups, and what waiting costs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial

from bench.contender import Contender
from bench.measured import Measured, RoundFailed
from bench.pair import run_process
from bench.transport import transport_class, version_of, why_missing

RECORD_BYTES = 88
ROUND_TRIPS_S = 0.3
QUICK_ROUND_TRIPS_S = 0.03
WINDOW_S = 0.5  # how long CPU time of a waiting receiver is watched
QUICK_WINDOW_S = 0.05
WAKES = 60
QUICK_WAKES = 5
_DEADLINE_S = 60.0


@dataclass(frozen=True)
class LatencyJob:
    """What a pair of processes does."""

    rival: str
    spins: bool  # poll without end, instead of waiting as the rival waits
    hogs: int  # processes that compute all the time, to take the cores away
    round_trips_s: float
    window_s: float
    wakes: int


def latency_contender(
    rival: str, variant: str, *, quick: bool, spins: bool = False, hogs: int = 0, name: str = "", note: str = ""
) -> Contender:
    """A contender that sends 88 bytes there and back. ``hogs``: with that many other processes computing."""
    kind = transport_class(rival)
    missing = why_missing(kind)
    if missing:
        return Contender.absent(name or kind.name, variant, missing)
    waits = not spins and not hogs
    window = (QUICK_WINDOW_S if quick else WINDOW_S) if waits else 0.0
    wakes = (QUICK_WAKES if quick else WAKES) if waits else 0
    job = LatencyJob(rival, spins, hogs, QUICK_ROUND_TRIPS_S if quick else ROUND_TRIPS_S, window, wakes)
    return Contender(
        name or kind.name,
        variant,
        run=partial(run_latency, job),
        is_ours=kind.distribution == "kevy-ring",
        version=version_of(kind),
        note=note or kind.note,
    )


def run_latency(job: LatencyJob) -> Measured:
    """One round; every reply is compared with what was sent. Raises as :func:`bench.native.run_native`."""
    line = run_process("bench.latency_process", asdict(job), _DEADLINE_S)
    try:
        return Measured(**json.loads(line))
    except (ValueError, TypeError) as error:
        raise RoundFailed(f"no result: {line[:200]!r}") from error
