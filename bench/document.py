"""docs/benchmarks.md and its charts, from the JSON of a run."""

from __future__ import annotations

import time
from pathlib import Path

from bench.chart import write_charts
from bench.figure import in_unit
from bench.result import CaseResult, ContenderResult, RunResult, Verdict, better_by

_ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = Path("docs/benchmarks.md")
CHARTS = Path("docs/benchmarks")
_TEXT = Path(__file__).resolve().parent / "text"  # what people wrote: how to read the figures, why goals are missed


def write_document(run: RunResult) -> None:
    """Write the page, its charts, and the very results that they were made from."""
    folder = _ROOT / CHARTS
    folder.mkdir(parents=True, exist_ok=True)
    run.save(folder / "results.json")
    charts = write_charts(run, folder)
    parts = [
        "# Benchmarks",
        "",
        f"Made by `python -m bench report` from [results.json]({CHARTS.name}/results.json). Do not edit.",
        "",
        (_TEXT / "reading.md").read_text().strip(),
        "",
        "## The machine of these figures",
        "",
        *_machine(run),
        "",
        "## Goals, met and missed",
        "",
        *_goals(run),
    ]
    for case in run.cases:
        parts += ["", *_case(case, charts)]
    if run.behaviour:
        parts += ["", *_behaviour(run)]
    parts += ["", (_TEXT / "doubts.md").read_text().strip(), ""]
    (_ROOT / DOCUMENT).write_text("\n".join(parts))


def _machine(run: RunResult) -> list[str]:
    m = run.machine
    when = time.strftime("%Y-%m-%d", time.gmtime(m.started_unix))
    cores = f"{m.cores} cores{', virtual' if m.hypervisor else ''}"
    lines = [
        f"* {m.cpu}, {cores}, {m.memory_gib:g} GiB; Linux {m.kernel}; {m.python}",
        f"* kevy-ring at commit `{m.commit}`{' with local changes' if m.is_dirty else ''}; {when}",
        f"* load average {m.load_1min:.2f}, other processes used {m.busy_cores:.2f} cores when it began",
        f"* `{run.command}`: {run.rounds} rounds of every contender in turn, {run.seconds:.0f} s",
        f"* {', '.join(f'{name} {version}' for name, version in m.versions.items())}",
    ]
    if run.is_quick:
        lines.append("* **This was a quick run: its rounds are too short for any conclusion.**")
    if run.was_forced:
        lines.append(f"* **The machine was busy ({run.was_forced}): the figures are worth little.**")
    return lines


def _goals(run: RunResult) -> list[str]:
    verdicts = [(case, verdict) for case in run.cases for verdict in case.verdicts()]
    met = sum(bool(verdict.is_met) for _, verdict in verdicts)
    lines = [
        f"{met} of {len(verdicts)} goals are met. A ratio says how many times better kevy-ring is; in brackets its p10",
        "to p90 within the same round.",
        "",
        "| case | what | goal | kevy-ring | best rival of the goal | ratio | |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_goal(case, verdict) for case, verdict in verdicts]
    reasons = _reasons()
    explained = [f"{case.name}, {v.goal.variant}: {v.goal.text}" for case, v in verdicts if not v.is_met]
    if explained:
        lines += ["", "Why the others are missed, and what was tried:", ""]
        lines += [f"* **{what}.** {reasons.get(what, 'Not looked into yet.')}" for what in explained]
    return lines


def _goal(case: CaseResult, verdict: Verdict) -> str:
    goal, unit = verdict.goal, case.metric(verdict.goal.metric).unit
    ours = "-" if verdict.ours is None else in_unit(verdict.ours, unit)
    theirs = "-" if verdict.theirs is None else f"{verdict.best_rival}: {in_unit(verdict.theirs, unit)}"
    ratio = "-"
    if verdict.ratio is not None:
        ratio = f"{verdict.ratio:.2f} ({verdict.ratio_low:.2f} to {verdict.ratio_high:.2f})"
    outcome = {True: "met", False: "**missed**", None: "no figure"}[verdict.is_met]
    return f"| {case.name} | {goal.variant} | {goal.text} | {ours} | {theirs} | {ratio} | {outcome} |"


def _reasons() -> dict[str, str]:
    """What was written about missed goals: paragraphs under headings `## case, variant: goal`."""
    path = _TEXT / "reasons.md"
    sections = path.read_text().split("\n## ")[1:] if path.exists() else []
    return {title.strip(): " ".join(body.split()) for title, _, body in (s.partition("\n") for s in sections)}


def _case(case: CaseResult, charts: dict[str, str]) -> list[str]:
    lines = [f"## {case.name}", "", f"{case.what[0].upper()}{case.what[1:]}.", ""]
    if case.name in charts:
        base = f"{CHARTS.name}/{charts[case.name]}"
        lines += [
            "<picture>",
            f'  <source media="(prefers-color-scheme: dark)" srcset="{base}-dark.svg">',
            f'  <img alt="{case.name}: every contender, median with p10 and p90" src="{base}-light.svg">',
            "</picture>",
            "",
        ]
    for variant in case.variants():
        lines += _variant(case, variant)
    return lines[:-1]


def _variant(case: CaseResult, variant: str) -> list[str]:
    main = case.metrics[0]
    best = case.best_rival(variant, main)
    rest = case.metrics[1:]
    lines = [
        "| "
        + " | ".join(
            [
                variant or case.name,
                f"{main.name}, median",
                "p10 to p90",
                *(m.name for m in rest),
                "to the best rival",
                "how",
            ]
        )
        + " |",
        "|---" * (5 + len(rest)) + "|",
    ]
    for contender in case.ordered(variant):
        lines.append(_row(case, contender, best))
    return [*lines, ""]


def _row(case: CaseResult, contender: ContenderResult, best: ContenderResult | None) -> str:
    main, rest = case.metrics[0], case.metrics[1:]
    name = f"{contender.name} {contender.version}".strip()
    if contender.is_ours:
        name = f"**{contender.name}**"
    spread = contender.spread(main.name)
    if spread is None:
        why = f"not measured here: {contender.missing}" if contender.missing else f"failed: {contender.failure}"
        return f"| {name} | {why} |" + " |" * (3 + len(rest))
    others = [contender.spread(metric.name) for metric in rest]
    cells = ["-" if s is None else in_unit(s.median, m.unit) for s, m in zip(others, rest, strict=True)]
    theirs = best.spread(main.name) if best else None
    ratio = f"{better_by(spread.median, theirs.median, main):.2f} x" if theirs else "-"
    edges = f"{in_unit(spread.p10, main.unit)} to {in_unit(spread.p90, main.unit)}"
    return "| " + " | ".join([name, in_unit(spread.median, main.unit), edges, *cells, ratio, contender.note]) + " |"


def _behaviour(run: RunResult) -> list[str]:
    from bench.behaviour import as_markdown

    return [
        "## When it is full, and when the other side is killed",
        "",
        "Real processes and SIGKILL; a side that has said nothing at the deadline counts as blocked.",
        "",
        as_markdown(run.behaviour),
    ]
