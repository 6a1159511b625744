"""A case: a module of ``bench.cases`` with its contenders and its goals."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from bench import cases
from bench.contender import Contender
from bench.goal import Goal
from bench.measured import Metric

# As in the tables of the documentation: from the core outwards.
_ORDER = (
    "core", "bytes-single", "bytes-batch", "chunks", "events", "ingest", "snapshot", "tcp", "latency", "stall", "scale",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """What a module of ``bench.cases`` offers."""

    name: str
    what: str
    metrics: tuple[Metric, ...]
    goals: tuple[Goal, ...]
    contenders: Callable[[bool], list[Contender]]


def case_names() -> list[str]:
    """The names of all cases, in the order of the documentation."""
    names = {module.name.replace("_", "-") for module in pkgutil.iter_modules(cases.__path__)}
    return [name for name in _ORDER if name in names] + sorted(names - set(_ORDER))


def load_case(name: str) -> Case:
    """The case of that name. ``KeyError`` when there is none."""
    if name not in case_names():
        raise KeyError(name)
    module = importlib.import_module(f"bench.cases.{name.replace('-', '_')}")
    return Case(name, module.WHAT, tuple(module.METRICS), tuple(module.GOALS), module.contenders)
