"""Results: play the rounds of a case, judge its goals, and keep medians and spreads as compact JSON."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from bench.machine import ForeignLoad, Machine
from bench.measure import Contender, Goal, Measured, Metric, RoundFailed, WrongAnswer, quantile

SCHEMA = 2
MIN_ROUNDS = 9  # fewer rounds give no p10 and p90 worth printing
QUICK_ROUNDS = 3
_DIGITS = 6  # of a figure in the file: tables show three, and runs differ in the second

Watch = Callable[[str, str], None]  # what happens, who


class Spread(NamedTuple):
    """The middle and the edges of a metric over the rounds."""

    median: float
    p10: float
    p90: float


@dataclass
class ContenderResult:
    """What was measured of one contender. The rounds themselves are in memory only."""

    name: str
    variant: str
    is_ours: bool = False
    is_bound: bool = False
    version: str = ""
    note: str = ""
    missing: str = ""
    failure: str = ""
    figures: dict[str, Spread] = field(default_factory=dict)
    rounds: list[Measured] = field(default_factory=list, compare=False)

    def spread(self, metric: str) -> Spread | None:
        """Median, p10 and p90 of a metric; None when it was not measured."""
        return self.figures.get(metric)


@dataclass(frozen=True)
class Verdict:
    """How a goal came out. ``ratio``: how many times better than ``rival``; low and high: over paired rounds."""

    variant: str
    text: str = ""
    metric: str = "rate"
    ours: float | None = None
    rival: str = ""
    theirs: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    is_met: bool | None = None


@dataclass
class CaseResult:
    """All contenders of a case, and its goals that could be judged."""

    name: str
    metrics: tuple[Metric, ...]
    contenders: list[ContenderResult]
    verdicts: list[Verdict] = field(default_factory=list)

    @classmethod
    def judged(
        cls, name: str, metrics: tuple[Metric, ...], goals: Iterable[Goal], contenders: list[ContenderResult]
    ) -> CaseResult:
        """A case with the verdicts of the goals whose variant was run."""
        case = cls(name, metrics, contenders)
        case.verdicts = [case._judge(goal) for goal in goals if goal.variant in case.variants()]
        return case

    def variants(self) -> list[str]:
        """The variants in the order in which they were run."""
        return list(dict.fromkeys(c.variant for c in self.contenders))

    def metric(self, name: str) -> Metric:
        """The metric of that name."""
        return next(metric for metric in self.metrics if metric.name == name)

    def ordered(self, variant: str) -> list[ContenderResult]:
        """The contenders of a variant, the best first, those without a figure last."""
        main = self.metrics[0]
        sign = -1 if main.better == "higher" else 1

        def key(contender: ContenderResult) -> tuple[bool, float]:
            spread = contender.spread(main.name)
            return spread is None, sign * spread.median if spread else 0.0

        return sorted((c for c in self.contenders if c.variant == variant), key=key)

    def best_rival(self, variant: str, metric: Metric, among: tuple[str, ...] = ()) -> ContenderResult | None:
        """The rival with the best median of a variant, among those named (all when none is)."""
        found = [
            (spread.median, c)
            for c in self.contenders
            if c.variant == variant and not c.is_ours and (c.name in among if among else not c.is_bound)
            if (spread := c.spread(metric.name)) is not None
        ]
        pick = max if metric.better == "higher" else min
        return pick(found, key=lambda pair: pair[0])[1] if found else None

    def _judge(self, goal: Goal) -> Verdict:
        metric = self.metric(goal.metric)
        mine = next((c for c in self.contenders if c.variant == goal.variant and c.name == goal.ours), None)
        spread = mine.spread(metric.name) if mine else None
        rival = self.best_rival(goal.variant, metric, goal.rivals) if goal.ratio is not None else None
        verdict = Verdict(goal.variant, goal.text, goal.metric, spread.median if spread else None)
        if mine is None or spread is None or (goal.ratio is not None and rival is None):
            return verdict
        met = True
        if goal.limit is not None:
            met = spread.median >= goal.limit if metric.better == "higher" else spread.median <= goal.limit
        if rival is None or goal.ratio is None:
            return replace(verdict, is_met=met)
        theirs = rival.figures[metric.name].median
        ratio = metric.better_by(spread.median, theirs)
        pairs = zip(mine.rounds, rival.rounds, strict=False)
        paired = sorted(metric.better_by(a.value(metric.name), b.value(metric.name)) for a, b in pairs)
        low, high = quantile(paired, 0.1), quantile(paired, 0.9)
        met = met and ratio >= goal.ratio
        return replace(
            verdict, rival=rival.name, theirs=theirs, ratio=ratio, ratio_low=low, ratio_high=high, is_met=met
        )


def play(contenders: Sequence[Contender], rounds: int, watch: Watch) -> list[ContenderResult]:
    """Check every contender of one variant, then time ``rounds`` interleaved rounds of those that passed.

    The order turns by one from round to round, so that no contender always follows the same one. A contender that
    fails once is out, with the reason in its result.
    """
    results = [
        ContenderResult(c.name, c.variant, c.is_ours, c.is_bound, c.version, c.note, c.missing) for c in contenders
    ]
    for contender, result in zip(contenders, results, strict=True):
        if contender.check is not None and not contender.missing:
            watch("check", contender.name)
            _attempt(contender.check, result)
    for turn in range(rounds):
        shift = turn % len(contenders)
        for i in [*range(shift, len(contenders)), *range(shift)]:
            run, result = contenders[i].run, results[i]
            if run is None or result.missing or result.failure:
                continue
            watch(f"round {turn + 1}/{rounds}", result.name)
            measured = _attempt(run, result)
            if isinstance(measured, Measured):
                result.rounds.append(measured)
    for result in results:
        if not result.failure:
            result.figures = _spreads(result.rounds)
    return results


def _attempt(act: Callable[[], object], result: ContenderResult) -> object:
    try:
        return act()
    except WrongAnswer as error:
        result.failure = f"wrong answer: {error}"
    except (RoundFailed, OSError, ImportError) as error:
        result.failure = str(error) or type(error).__name__
    return None


def _spreads(rounds: list[Measured]) -> dict[str, Spread]:
    found = {}
    for name in dict.fromkeys(name for measured in rounds for name in ("rate", *measured.figures)):
        values = sorted(m.value(name) for m in rounds if name == "rate" or name in m.figures)
        found[name] = Spread(statistics.median(values), quantile(values, 0.1), quantile(values, 0.9))
    return found


@dataclass
class RunResult:
    """One run of the benchmarks."""

    machine: Machine
    command: str
    rounds: int
    is_quick: bool = False
    was_forced: str = ""  # why the machine was too busy to measure on
    busy_cores: float | None = None  # used by other processes over the run
    seconds: float = 0.0
    cases: list[CaseResult] = field(default_factory=list)

    def timed(self, began: float, load: ForeignLoad) -> None:
        """Note how long the run has taken, and what others used of the machine meanwhile."""
        self.seconds = round(time.monotonic() - began, 1)
        self.busy_cores = load.cores()


def save(runs: Sequence[RunResult], path: Path) -> None:
    """Write runs as JSON: a line for each contender and for each goal, figures with six digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_json(runs), encoding="utf-8")


def as_json(runs: Sequence[RunResult]) -> str:
    """The text of a results file."""
    return _lines({"schema": SCHEMA, "runs": [_compact(asdict(run)) for run in runs]}, 0) + "\n"


def load(path: Path) -> list[RunResult]:
    """Read runs back. ``ValueError`` for another schema."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        raise ValueError(f"{path}: this program reads results of schema {SCHEMA} only; measure again")
    runs = []
    for run in raw["runs"]:
        cases = [_case(case) for case in run.pop("cases", [])]
        runs.append(RunResult(Machine(**run.pop("machine")), cases=cases, **run))
    return runs


def _case(raw: dict[str, Any]) -> CaseResult:
    contenders = [
        ContenderResult(**{**entry, "figures": {name: Spread(*s) for name, s in entry.get("figures", {}).items()}})
        for entry in raw["contenders"]
    ]
    verdicts = [Verdict(**verdict) for verdict in raw.get("verdicts", [])]
    return CaseResult(raw["name"], tuple(Metric(**metric) for metric in raw["metrics"]), contenders, verdicts)


def _compact(value: Any) -> Any:
    """Without raw rounds and empty fields, which come back as their defaults. Figures have six digits."""
    if isinstance(value, dict):
        kept = {key: _compact(item) for key, item in value.items() if key != "rounds" or not isinstance(item, list)}
        return {key: item for key, item in kept.items() if not _is_default(key, item)}
    if isinstance(value, (list, tuple)):
        return [_compact(item) for item in value]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def _is_default(key: str, item: Any) -> bool:
    return item is None or (item is False and key != "is_met") or (isinstance(item, (str, list, dict)) and not item)


def _lines(value: Any, depth: int) -> str:
    """JSON with containers broken into lines down to one line for each contender, verdict and metric."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if depth > 5 or not any(isinstance(item, (dict, list)) for item in inner):
        return json.dumps(value)
    pad = "\n" + " " * (depth + 1)
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {_lines(item, depth + 1)}" for key, item in value.items()]
        return "{" + pad + f",{pad}".join(parts) + f"\n{' ' * depth}}}"
    return "[" + pad + f",{pad}".join(_lines(item, depth + 1) for item in value) + f"\n{' ' * depth}]"
