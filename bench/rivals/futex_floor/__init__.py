"""What the kernel takes to wake a sleeper, and what a cache line takes to cross: no rival, the bound of all."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bench.contender import Contender
from bench.latency import QUICK_ROUND_TRIPS_S, ROUND_TRIPS_S
from bench.measured import RoundFailed
from bench.native import build, run_native

_SOURCE = Path(__file__).resolve().parent / "floor.c"


def futex_floor(variant: str, *, quick: bool, spins: bool) -> Contender:
    """The C program as a contender that bounds the others."""
    name = "C, spinning (bound)" if spins else "C, futex (bound)"
    try:
        program = build("futex_floor", ["cc", "-O2", "-std=gnu11", _SOURCE, "-o"], [_SOURCE])
    except RoundFailed as failed:
        return Contender.absent(name, variant, str(failed))
    seconds = QUICK_ROUND_TRIPS_S if quick else ROUND_TRIPS_S
    run = partial(run_native, [program, str(seconds), str(int(spins))])
    return Contender(name, variant, run, note="no record at all, one word", is_bound=True)
