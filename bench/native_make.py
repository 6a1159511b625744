"""The native programs of ``bench/native``, built by its Makefile."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from bench.contender import Contender
from bench.measured import Measured, RoundFailed
from bench.native import run_native

FOLDER = Path(__file__).resolve().parent / "native"
_DEADLINE_S = 300.0


def native_program(name: str) -> Path:
    """The program, built when it has to be. ``RoundFailed`` tells why it is not there."""
    for tool in ("make", "cc"):
        if shutil.which(tool) is None:
            raise RoundFailed(f"{tool} is not installed")
    try:
        done = subprocess.run(
            ["make", "-s", "-C", str(FOLDER), f"build/{name}"],
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RoundFailed(f"building {name} took more than {_DEADLINE_S:g} s") from None
    if done.returncode:
        # A missing header is said by the Makefile itself, and is the reason where there is one.
        said = [line for line in done.stdout.splitlines() if name in line and "left out" in line]
        errors = said or [line for line in done.stderr.splitlines() if "error" in line.lower()] or ["it does not build"]
        raise RoundFailed(errors[0][:200])
    return FOLDER / "build" / name


def native_contender(
    name: str,
    variant: str,
    program: str,
    timed: tuple[object, ...],
    checked: tuple[object, ...] | None = None,
    *,
    is_ours: bool = False,
    is_bound: bool = False,
    note: str = "",
) -> Contender:
    """A contender that is a native program: ``timed`` are the arguments of a round, ``checked`` those of the check."""
    try:
        path = native_program(program)
    except RoundFailed as failed:
        return Contender.absent(name, variant, str(failed))

    def run() -> Measured:
        return run_native([str(path), *map(str, timed)])

    def check() -> None:
        run_native([str(path), *map(str, checked or timed)])

    return Contender(name, variant, run, check, is_ours=is_ours, is_bound=is_bound, note=note)
