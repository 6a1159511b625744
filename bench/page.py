"""docs/benchmarks.md and its charts, from the results of runs. The terminal shows the same tables."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.chart import chart_of
from bench.measure import in_unit
from bench.result import CaseResult, ContenderResult, RunResult, Verdict, save
from bench.table import CASES

_ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = Path("docs/benchmarks.md")
FOLDER = Path("docs/benchmarks")
_TEXT = Path(__file__).resolve().parent / "text"  # how to read the figures, why goals are missed, reasons to doubt


def write_page(runs: Sequence[RunResult]) -> None:
    """Write the page, its charts, and the results that they are made from."""
    runs = newest(runs)
    save(runs, _ROOT / FOLDER / "results.json")
    cases = [case for name in CASES for run in runs for case in run.cases if case.name == name]
    verdicts = [verdict for case in cases for verdict in case.verdicts]
    parts = [
        "# Benchmarks",
        f"kevy-ring meets {sum(bool(v.is_met) for v in verdicts)} of {len(verdicts)} goals: [the list]"
        "(#goals-met-and-missed) has the wins, the losses and the reasons. Each case then has a chart and its tables. "
        f"`python -m bench report` makes this page from [results.json]({FOLDER.name}/results.json): do not edit it.",
        (_TEXT / "reading.md").read_text(encoding="utf-8").strip(),
        "## The machine of these figures\n\n" + "\n\n".join("\n".join(_machine(run)) for run in runs),
        "## Goals, met and missed\n\n" + "\n".join(_goals(cases)),
        *(_section(case) for case in cases),
        (_TEXT / "doubts.md").read_text(encoding="utf-8").strip(),
    ]
    (_ROOT / DOCUMENT).write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def newest(runs: Sequence[RunResult]) -> list[RunResult]:
    """Each case from the last of the runs that has it, and no run without a case."""
    last = {case.name: run for run in runs for case in run.cases}
    for run in runs:
        run.cases = [case for case in run.cases if last[case.name] is run]
    return [run for run in runs if run.cases]


def _machine(run: RunResult) -> list[str]:
    m = run.machine
    when = time.strftime("%Y-%m-%d", time.gmtime(m.started_unix))
    cores = f"{m.cores} cores{', virtual' if m.hypervisor else ''}"
    seconds = f"{run.rounds} rounds of every contender in turn, {run.seconds:.0f} s"
    lines = [
        f"**{', '.join(case.name for case in run.cases)}**: `{run.command}`: {seconds}\n",
        f"* {m.cpu}, {cores}, {m.memory_gib:g} GiB; Linux {m.kernel}; {m.python}",
        f"* kevy-ring at commit `{m.commit}`{' with local changes' if m.is_dirty else ''}; {when}",
        f"* load average {m.load_1min:.2f}, other processes used {m.busy_cores:.2f} cores when it began",
        f"* {', '.join(f'{name} {version}' for name, version in m.versions.items())}",
    ]
    if run.is_quick:
        lines.append("* **This was a quick run: its rounds are too short for any conclusion.**")
    if run.was_forced:
        lines.append(
            f"* **The machine was busy ({run.was_forced}); over the run others used {run.busy_cores:.2f} cores: "
            "compare contenders of this run only, and mind the spreads.**"
        )
    return lines


def _goals(cases: Sequence[CaseResult]) -> Iterator[str]:
    verdicts = [(case, verdict) for case in cases for verdict in case.verdicts]
    yield "A ratio says how many times better kevy-ring is. The brackets hold p10 and p90 over paired rounds."
    yield ""
    yield from goal_table(verdicts)
    explained = [f"{case.name}, {v.variant}: {v.text}" for case, v in verdicts if not v.is_met]
    if explained:
        yield "\nWhy the other goals are missed, and what was tried:\n"
        reasons = _reasons()
        yield from (f"* **{what}.** {reasons.get(what, 'Not looked into yet.')}" for what in explained)


def goal_table(verdicts: Sequence[tuple[CaseResult, Verdict]]) -> Iterator[str]:
    """The lines of the table of goals."""
    yield "| case | what | goal | | ratio | kevy-ring | best rival of the goal |"
    yield "|---|---|---|---|---|---|---|"
    for case, v in verdicts:
        unit = case.metric(v.metric).unit
        ours = "-" if v.ours is None else in_unit(v.ours, unit)
        theirs = "-" if v.theirs is None else f"{v.rival}: {in_unit(v.theirs, unit)}"
        ratio = "-" if v.ratio is None else f"{v.ratio:.2f} ({v.ratio_low:.2f}\u00a0to\u00a0{v.ratio_high:.2f})"
        outcome = {True: "met", False: "**missed**", None: "no figure"}[v.is_met]
        yield f"| {case.name} | {v.variant} | {v.text} | {outcome} | {ratio} | {ours} | {theirs} |"


def _reasons() -> dict[str, str]:
    """What was written about missed goals: paragraphs under headings `## case, variant: goal`."""
    sections = (_TEXT / "reasons.md").read_text(encoding="utf-8").split("\n## ")[1:]
    return {title.strip(): " ".join(body.split()) for title, _, body in (s.partition("\n") for s in sections)}


def _section(case: CaseResult) -> str:
    about = CASES[case.name]
    parts = [f"## {case.name}", f"{about.what[0].upper()}{about.what[1:]}."]
    chart = chart_of(case, about.title)
    if chart:
        (_ROOT / FOLDER / f"{case.name}.svg").write_text(chart, encoding="utf-8")
        parts.append(f"![{case.name}: {about.title}]({FOLDER.name}/{case.name}.svg)")
    return "\n\n".join([*parts, *tables(case)])


def tables(case: CaseResult) -> Iterator[str]:
    """A table for each variant of a case, the best contender first."""
    main = case.metrics[0]
    for variant in case.variants():
        best = case.best_rival(variant, main)
        named = [m.name.replace("p99_9", "p99.9").replace("_per_", "/").replace("_", " ") for m in case.metrics]
        heads = (f"{named[0]}, median", "p10 to p90", *named[1:], "to the best rival", "how")
        lines = [f"| {' | '.join((variant, *heads))} |", "|---" * (len(heads) + 1) + "|"]
        lines += [_row(case, contender, best) for contender in case.ordered(variant)]
        yield "\n".join(lines)


def _row(case: CaseResult, contender: ContenderResult, best: ContenderResult | None) -> str:
    main, rest = case.metrics[0], case.metrics[1:]
    name = f"**{contender.name}**" if contender.is_ours else f"{contender.name} {contender.version}".strip()
    spread = contender.spread(main.name)
    if spread is None:
        why = f"not measured here: {contender.missing}" if contender.missing else f"failed: {contender.failure}"
        return f"| {name} | {why} |" + " |" * (3 + len(rest))
    others = [contender.spread(metric.name) for metric in rest]
    cells = ["-" if s is None else in_unit(s.median, m.unit) for s, m in zip(others, rest, strict=True)]
    theirs = best.spread(main.name) if best else None
    ratio = f"{main.better_by(spread.median, theirs.median):.2f} x" if theirs else "-"
    edges = f"{in_unit(spread.p10, main.unit)} to {in_unit(spread.p90, main.unit)}"
    return f"| {' | '.join((name, in_unit(spread.median, main.unit), edges, *cells, ratio, contender.note))} |"
