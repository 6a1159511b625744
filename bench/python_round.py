"""A contender that is a module of the benchmarks, run in a fresh Python for each round."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

from bench.contender import Contender
from bench.measured import Measured
from bench.native import run_native


def python_contender(
    name: str,
    variant: str,
    module: str,
    timed: Sequence[object],
    checked: Sequence[object] = (),
    *,
    needs: Sequence[str] = (),
    is_ours: bool = False,
    is_bound: bool = False,
    note: str = "",
) -> Contender:
    """A contender that is ``python -m MODULE``, with the arguments of a timed round and those of the check."""
    for package in needs:
        if importlib.util.find_spec(package) is None:
            return Contender.absent(name, variant, f"{package} is not installed")

    def run() -> Measured:
        return run_native([sys.executable, "-m", module, *map(str, timed)])

    def check() -> None:
        run_native([sys.executable, "-m", module, *map(str, checked)])

    return Contender(name, variant, run, check if checked else None, is_ours=is_ours, is_bound=is_bound, note=note)
