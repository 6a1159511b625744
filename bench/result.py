"""Results of a run: what was measured, who won, and the JSON that tables, charts and documentation are made from."""

from __future__ import annotations

import dataclasses
import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.contender import Contender
from bench.goal import Goal
from bench.machine import Machine
from bench.measured import Measured, Metric

SCHEMA = 1


@dataclass(frozen=True)
class Spread:
    """The middle and the edges of a metric over the rounds."""

    median: float
    p10: float
    p90: float


@dataclass
class ContenderResult:
    """All rounds of one contender."""

    name: str
    variant: str
    is_ours: bool
    version: str
    note: str
    missing: str
    is_bound: bool = False
    failure: str = ""
    is_checked: bool = False
    wall_s: float = 0.0
    rounds: list[Measured] = field(default_factory=list)
    foreign_cpu: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, contender: Contender) -> ContenderResult:
        """An empty result for a contender."""
        c = contender
        return cls(c.name, c.variant, c.is_ours, c.version, c.note, c.missing, c.is_bound)

    def spread(self, metric: str) -> Spread | None:
        """Median, p10 and p90 of a metric; None when there was no good round or it does not measure that."""
        if self.missing or self.failure:
            return None
        values = sorted(m.value(metric) for m in self.rounds if metric == "rate" or metric in m.figures)
        if not values:
            return None
        return Spread(statistics.median(values), quantile(values, 0.1), quantile(values, 0.9))


@dataclass(frozen=True)
class Verdict:
    """How a goal came out. ``ratio``: how many times better than ``best_rival``; low and high: over paired rounds."""

    goal: Goal
    ours: float | None
    best_rival: str
    theirs: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    is_met: bool | None


@dataclass
class CaseResult:
    """All contenders of a case, variant by variant."""

    name: str
    what: str
    metrics: tuple[Metric, ...]
    goals: tuple[Goal, ...]
    contenders: list[ContenderResult] = field(default_factory=list)

    def variants(self) -> list[str]:
        """The variants in the order in which they were run."""
        return list(dict.fromkeys(c.variant for c in self.contenders))

    def metric(self, name: str) -> Metric:
        """The metric of that name."""
        return next((m for m in self.metrics if m.name == name), Metric(name, "", "lower"))

    def ordered(self, variant: str) -> list[ContenderResult]:
        """The contenders of a variant, the best first, those without a figure last."""
        main = self.metrics[0]

        def key(contender: ContenderResult) -> tuple[bool, float]:
            spread = contender.spread(main.name)
            if spread is None:
                return True, 0.0
            return False, -spread.median if main.better == "higher" else spread.median

        return sorted((c for c in self.contenders if c.variant == variant), key=key)

    def verdicts(self) -> list[Verdict]:
        """Every goal of the case whose variant was run."""
        ran = set(self.variants())
        return [self._judge(goal) for goal in self.goals if goal.variant in ran]

    def best_rival(self, variant: str, metric: Metric, among: tuple[str, ...] = ()) -> ContenderResult | None:
        """The rival with the best median of a variant, among those named (all when none is)."""
        found = [
            (spread.median, c)
            for c in self.contenders
            if c.variant == variant and not c.is_ours and (c.name in among if among else not c.is_bound)
            if (spread := c.spread(metric.name)) is not None
        ]
        if not found:
            return None
        pick = max if metric.better == "higher" else min
        return pick(found, key=lambda pair: pair[0])[1]

    def _judge(self, goal: Goal) -> Verdict:
        metric = self.metric(goal.metric)
        mine = next((c for c in self.contenders if c.variant == goal.variant and c.name == goal.ours), None)
        spread = mine.spread(metric.name) if mine else None
        rival = self.best_rival(goal.variant, metric, goal.rivals) if goal.ratio is not None else None
        if mine is None or spread is None or (goal.ratio is not None and rival is None):
            return Verdict(goal, spread.median if spread else None, "", None, None, None, None, None)
        met = True
        if goal.limit is not None:
            met = spread.median >= goal.limit if metric.better == "higher" else spread.median <= goal.limit
        if rival is None or goal.ratio is None:
            return Verdict(goal, spread.median, "", None, None, None, None, met)
        theirs = rival.spread(metric.name)
        assert theirs is not None
        ratio = better_by(spread.median, theirs.median, metric)
        paired = sorted(
            better_by(a.value(metric.name), b.value(metric.name), metric)
            for a, b in zip(mine.rounds, rival.rounds, strict=False)
        )
        low, high = quantile(paired, 0.1), quantile(paired, 0.9)
        return Verdict(goal, spread.median, rival.name, theirs.median, ratio, low, high, met and ratio >= goal.ratio)


@dataclass
class RunResult:
    """One run of the benchmarks."""

    machine: Machine
    command: str
    is_quick: bool
    was_forced: str
    rounds: int
    seconds: float = 0.0
    cases: list[CaseResult] = field(default_factory=list)
    behaviour: list[dict[str, Any]] = field(default_factory=list)
    schema: int = SCHEMA

    def save(self, path: Path) -> None:
        """Write the run as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> RunResult:
        """Read a run back. ``ValueError`` for another schema."""
        raw = json.loads(path.read_text())
        if raw.get("schema") != SCHEMA:
            raise ValueError(f"{path}: schema {raw.get('schema')}, this program reads {SCHEMA}")
        raw["machine"] = Machine(**raw["machine"])
        raw["cases"] = [_case(case) for case in raw["cases"]]
        return cls(**raw)


def _case(raw: dict[str, Any]) -> CaseResult:
    contenders = []
    for entry in raw["contenders"]:
        entry["rounds"] = [Measured(**measured) for measured in entry["rounds"]]
        contenders.append(ContenderResult(**entry))
    metrics = tuple(Metric(**metric) for metric in raw["metrics"])
    goals = tuple(Goal(**{**goal, "rivals": tuple(goal["rivals"])}) for goal in raw["goals"])
    return CaseResult(raw["name"], raw["what"], metrics, goals, contenders)


def better_by(ours: float, theirs: float, metric: Metric) -> float:
    """How many times better ours is than theirs."""
    over, under = (ours, theirs) if metric.better == "higher" else (theirs, ours)
    return over / under if under else float("inf")


def quantile(ordered: list[float], q: float) -> float:
    """The quantile of an ordered list, between neighbours in a straight line."""
    if not ordered:
        return float("nan")
    at = q * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)
