"""Contenders from a row of the table: a pair over a transport, a latency pair, a native program, a Python round."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from bench.measure import Contender, RoundFailed
from bench.processes import native_program, timed_program, timed_round
from bench.rivals import transport_class

NATIVE_DEADLINE_S = PYTHON_DEADLINE_S = 120.0
PAIR_DEADLINE_S = 30.0  # a rival that hangs must not take the time of the others
LATENCY_DEADLINE_S = 60.0
MIB = 1 << 20
POOL_RECORDS = 4096  # distinct records that a timed round sends again and again
ROUND_S, QUICK_ROUND_S = 0.4, 0.03  # what a round of a rival at its pace should take


@dataclass(frozen=True)
class Pair:
    """A transport of ``bench.rivals`` in one of its ways. ``pace``: records per second that it does about."""

    rival: str
    way: str
    pace: float
    name: str = ""
    note: str = ""
    capacity_bytes: int = MIB  # the same for every rival: ring and records stay in the second-level cache

    def contender(
        self,
        quick: bool,
        variant: str,
        size: int,
        *,
        pool: int = POOL_RECORDS,
        unit: int = 1,
        is_whole: bool = False,
        is_sized: bool = False,
    ) -> Contender:
        """A contender that sends records of one size. ``unit``: what the work counts for each of them.

        ``is_sized``: the bytes per second are a figure too.
        """
        count = self.pace * (QUICK_ROUND_S if quick else ROUND_S)
        pool = max(1, min(pool, int(count)))
        checked = (3_000 if quick else 20_000) // (10 if size > 4096 else 1)
        same = {"rival": self.rival, "way": self.way, "record_bytes": size, "capacity_bytes": self.capacity_bytes}
        same |= {"unit": unit, "whole_bytes": size if is_whole else 0, "is_sized": is_sized}
        timed = {**same, "records": pool, "repeats": max(1, round(count / pool)), "is_checked": False}
        checked_job = {**same, "records": checked, "repeats": 1, "is_checked": True}
        return _rival(self, variant, "pair", timed=timed, checked=checked_job, deadline_s=PAIR_DEADLINE_S)


@dataclass(frozen=True)
class Latency:
    """A transport whose records go there and back. ``spins``: it polls instead of waiting as the rival waits."""

    rival: str
    spins: bool = False
    name: str = ""
    note: str = ""

    def contender(self, quick: bool, variant: str, hogs: int) -> Contender:
        """A contender; that many other processes compute at the same time."""
        job: dict[str, Any] = {"rival": self.rival, "spins": self.spins, "hogs": hogs}
        job |= {
            "round_trips_s": 0.03 if quick else 0.3,
            "window_s": 0.05 if quick else 0.5,
            "wakes": 5 if quick else 60,
        }
        if self.spins or hogs:
            job |= {"window_s": 0.0, "wakes": 0}
        return _rival(self, variant, "latency", timed=job, checked=None, deadline_s=LATENCY_DEADLINE_S)


def _rival(
    row: Pair | Latency, variant: str, kind: str, *, timed: dict[str, Any], checked: Any, deadline_s: float
) -> Contender:
    transport = transport_class(row.rival)
    return Contender(
        row.name or transport.name,
        variant,
        partial(timed_round, kind, timed, deadline_s),
        partial(timed_round, kind, checked, deadline_s) if checked else None,
        is_ours=transport.distribution == "kevy-ring",
        version=transport.version(),
        missing=transport.why_missing(),
        note=row.note or transport.note,
    )


def native(
    name: str, variant: str, program: str, timed: tuple[Any, ...], checked: Any = None, **rest: Any
) -> Contender:
    """A contender that is a native program: the arguments of a round, and those of the check (default: the same)."""
    try:
        path = native_program(program)
    except RoundFailed as failed:
        return Contender(name, variant, missing=str(failed), **rest)
    run = partial(timed_program, (path, *timed), NATIVE_DEADLINE_S)
    return Contender(name, variant, run, partial(timed_program, (path, *(checked or timed)), NATIVE_DEADLINE_S), **rest)


def python(
    name: str, variant: str, kind: str, timed: dict[str, Any], checked: dict[str, Any], *, needs: str = "", **rest: Any
) -> Contender:
    """A contender that is a module of ``bench.rounds``: the arguments of a round, and what the check has instead."""
    if needs and importlib.util.find_spec(needs) is None:
        return Contender(name, variant, missing=f"{needs} is not installed", **rest)
    run = partial(timed_round, kind, timed, PYTHON_DEADLINE_S)
    return Contender(name, variant, run, partial(timed_round, kind, {**timed, **checked}, PYTHON_DEADLINE_S), **rest)


RUST = "Rust mpsc"
_RUST_COUNT = {"events": 1_000_000, "ingest": 1_000_000, "snapshot": 16384, "stall": 5_000_000}


def rust(case: str, variant: str, quick: bool) -> Contender:
    """The original's design as a rival: ``std::sync::mpsc`` between two threads of one Rust program."""
    count = max(1000, _RUST_COUNT[case] // 20) if quick else _RUST_COUNT[case]
    checked = (case, min(count, 200_000), "check")
    note = "two threads, owned Vec<Vec<u8>>"
    return native(RUST, variant, "rust_mpsc", (case, count), checked, note=note, version=_rust_version())


@cache
def _rust_version() -> str:
    if shutil.which("rustc") is None:
        return ""
    said = subprocess.run(["rustc", "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
    return " ".join(said.split()[:2])
