"""What is compared: metrics, goals and contenders, and what one timed round gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_SHORT = {"records/s": "/s", "bytes/s": "B/s", "frames/s": "/s", "objects/s": "/s"}


class WrongAnswer(AssertionError):
    """A contender lost, doubled, tore or reordered something: its time would mean nothing."""


class RoundFailed(RuntimeError):
    """A round did not end in time, or one of its processes failed."""


@dataclass(frozen=True)
class Measured:
    """One round. ``work`` is in the unit of its case (records, bytes, round trips)."""

    seconds: float
    work: float
    figures: dict[str, float] = field(default_factory=dict)

    def value(self, metric: str) -> float:
        """The value of a metric: ``rate`` is work per second, any other name is one of the figures."""
        return self.work / self.seconds if metric == "rate" else self.figures[metric]


@dataclass(frozen=True)
class Metric:
    """A column of a case's table. ``unit`` as it is printed: ``records/s`` and ``bytes/s`` get a prefix."""

    name: str
    unit: str
    better: Literal["higher", "lower"] = "higher"

    def better_by(self, ours: float, theirs: float) -> float:
        """How many times better ours is than theirs."""
        over, under = (ours, theirs) if self.better == "higher" else (theirs, ours)
        return over / under if under else float("inf")


@dataclass(frozen=True)
class Goal:
    """``ours`` is at least ``ratio`` times as good as the best of ``rivals`` (empty: all) in ``metric``.

    The ratio says how many times better: ours over theirs where higher is better, theirs over ours where lower is.
    ``limit``: a value that the metric must reach by itself, in its own unit.
    """

    variant: str
    ours: str
    ratio: float | None = None
    rivals: tuple[str, ...] = ()
    metric: str = "rate"
    limit: float | None = None
    text: str = ""


@dataclass(frozen=True)
class Contender:
    """One way to do the work of a case, compared with the others of the same ``variant``.

    ``run`` does one timed round in fresh processes and raises :class:`WrongAnswer` when the count is wrong. ``check``
    does the same work once with every record looked at (count, order, every byte by digest), before anything is timed.
    ``missing`` says why it cannot take part: it is reported, never dropped. ``is_bound``: it shows what the machine
    allows and is no rival, so a goal is compared with it only if the goal names it.
    """

    name: str
    variant: str
    run: Callable[[], Measured] | None = None
    check: Callable[[], object] | None = None
    is_ours: bool = False
    is_bound: bool = False
    version: str = ""
    missing: str = ""
    note: str = ""


Found = Iterator[Contender]


@dataclass(frozen=True)
class Case:
    """One case: ``contenders(quick)`` yields its contenders, variant by variant."""

    name: str
    title: str
    what: str
    metrics: tuple[Metric, ...]
    goals: tuple[Goal, ...]
    contenders: Callable[[bool], Found]


def quantile(ordered: Sequence[float], q: float) -> float:
    """The quantile of an ordered list, between neighbours in a straight line."""
    at = q * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def in_unit(value: float, unit: str) -> str:
    """Three significant digits, with a prefix for rates, plain for everything else.

    An empty ``unit`` gives the figure alone, with its prefix.
    """
    short = _SHORT.get(unit, unit)
    if not unit or unit.endswith("/s"):
        for size, prefix in _PREFIXES:
            if abs(value) >= size:
                return f"{value / size:.3g} {prefix}{short}".rstrip()
    plain = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{plain} {short}".rstrip()
