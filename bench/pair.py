"""Two fresh processes, one sending and one receiving, over one transport: a round of the throughput cases."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from functools import partial

from bench.contender import Contender
from bench.measured import Measured, RoundFailed
from bench.native import run_to_line
from bench.transport import new_tag, sweep, transport_class, version_of, why_missing

CAPACITY_BYTES = 1 << 20  # the same for every rival: 1 MiB keeps ring and records in the second-level cache
POOL_RECORDS = 4096  # distinct records that a timed round sends again and again
CHECKED_RECORDS = 20_000
QUICK_CHECKED_RECORDS = 3_000
ROUND_S = 0.4  # what a round of a rival at its pace should take
QUICK_ROUND_S = 0.03
PAIR_DEADLINE_S = 30.0  # a rival that hangs must not take the time of the others


@dataclass(frozen=True)
class Job:
    """What a pair of processes does."""

    rival: str  # module of bench.rivals
    way: str
    record_bytes: int
    capacity_bytes: int
    records: int  # distinct ones
    repeats: int
    is_checked: bool
    reads_whole: bool = False  # of a chunk: every byte, instead of one in each page


def pair_contender(
    rival: str,
    way: str,
    variant: str,
    record_bytes: int,
    *,
    quick: bool,
    pace: float,
    name: str = "",
    note: str = "",
    is_ours: bool = False,
    capacity_bytes: int = CAPACITY_BYTES,
    pool: int = POOL_RECORDS,
    unit_bytes: int = 0,
    reads_whole: bool = False,
) -> Contender:
    """A contender that sends records of one size from process to process.

    ``pace``: records per second that it does about, which sets the length of a round. ``unit_bytes``: count the work
    in bytes, that many for each record, instead of records.
    """
    kind = transport_class(rival)
    name = name or kind.name
    missing = why_missing(kind)
    if missing:
        return Contender.absent(name, variant, missing)
    pool = max(1, min(pool, int(pace * (QUICK_ROUND_S if quick else ROUND_S))))
    repeats = max(1, round(pace * (QUICK_ROUND_S if quick else ROUND_S) / pool))
    timed = Job(rival, way, record_bytes, capacity_bytes, pool, repeats, False, reads_whole)
    count = QUICK_CHECKED_RECORDS if quick else CHECKED_RECORDS
    if record_bytes > 4096:
        count //= 10
    check = Job(rival, way, record_bytes, capacity_bytes, count, 1, True)
    return Contender(
        name,
        variant,
        run=partial(run_pair, timed, unit_bytes or 1),
        check=partial(_check, check),
        is_ours=is_ours,
        version=version_of(kind),
        note=note or kind.note,
    )


def run_pair(job: Job, unit: int = 1, deadline_s: float = PAIR_DEADLINE_S) -> Measured:
    """Run one pair and return what it measured. Raises as :func:`bench.native.run_native`."""
    return _measured(run_process("bench.pair_process", asdict(job), deadline_s), unit)


def run_process(module: str, job: dict[str, object], deadline_s: float) -> str:
    """Run a job in a fresh Python of its own; returns its last line. What it leaves behind is removed."""
    tag = new_tag()
    try:
        return run_to_line([sys.executable, "-m", module, json.dumps(job), tag], deadline_s)
    finally:
        sweep(tag)


def _check(job: Job) -> None:
    run_pair(job)


def _measured(line: str, unit: int) -> Measured:
    try:
        said = json.loads(line)
        return Measured(said["seconds"], said["work"] * unit, said["figures"])
    except (ValueError, KeyError, TypeError) as error:
        raise RoundFailed(f"no result: {line[:200]!r}") from error
