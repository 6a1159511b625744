"""Tables of a run for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from bench.figure import in_unit
from bench.machine import Machine
from bench.measured import Metric
from bench.result import CaseResult, ContenderResult, RunResult, better_by


def print_machine(console: Console, machine: Machine) -> None:
    """One paragraph: where the figures come from."""
    m = machine
    dirty = " with local changes" if m.is_dirty else ""
    cores = f"{m.cores} cores{' (virtual)' if m.hypervisor else ''}"
    console.print(
        f"{m.cpu}, {cores}, {m.memory_gib:g} GiB; Linux {m.kernel}; {m.python}; "
        f"commit {m.commit or 'unknown'}{dirty}; load {m.load_1min:.2f}, others use {m.busy_cores:.2f} cores"
    )
    console.print(", ".join(f"{name} {version}" for name, version in m.versions.items()), style="dim")


def print_case(console: Console, case: CaseResult) -> None:
    """The tables of a case: one per variant, then its goals."""
    for variant in case.variants():
        console.print(_variant_table(case, variant))
    verdicts = case.verdicts()
    if verdicts:
        console.print(_goal_table(case))


def _variant_table(case: CaseResult, variant: str) -> Table:
    title = f"{case.name}: {variant}" if variant else case.name
    table = Table(title=title, title_justify="left", caption=case.what, caption_justify="left")
    table.add_column("contender")
    main = case.metrics[0]
    for metric in case.metrics:
        table.add_column(f"{metric.name} (p10 to p90)" if metric is main else metric.name, justify="right")
    table.add_column("to best rival", justify="right")
    best = case.best_rival(variant, main)
    for contender in case.ordered(variant):
        name = f"[bold]{contender.name}[/]" if contender.is_ours else contender.name
        if contender.missing or contender.failure:
            why = f"not here: {contender.missing}" if contender.missing else f"[red]{contender.failure}[/]"
            table.add_row(name, why, *[""] * len(case.metrics))
            continue
        table.add_row(name, *(_cell(contender, m, m is main) for m in case.metrics), _ratio(contender, best, main))
    return table


def _cell(contender: ContenderResult, metric: Metric, with_spread: bool) -> str:
    spread = contender.spread(metric.name)
    if spread is None:
        return "-"
    if not with_spread:
        return in_unit(spread.median, metric.unit)
    return f"{in_unit(spread.median, metric.unit)} ({in_unit(spread.p10, '')} to {in_unit(spread.p90, '')})"


def _ratio(contender: ContenderResult, best: ContenderResult | None, metric: Metric) -> str:
    mine, theirs = contender.spread(metric.name), best.spread(metric.name) if best else None
    if mine is None or theirs is None:
        return "-"
    return f"{better_by(mine.median, theirs.median, metric):.2f} x"


def _goal_table(case: CaseResult) -> Table:
    table = Table(title=f"{case.name}: goals", title_justify="left")
    for heading in ("variant", "goal", "ours", "best rival", "ratio (p10 to p90)", ""):
        table.add_column(heading)
    for verdict in case.verdicts():
        goal, unit = verdict.goal, case.metric(verdict.goal.metric).unit
        ours = "-" if verdict.ours is None else f"{goal.ours}: {in_unit(verdict.ours, unit)}"
        theirs = "-" if verdict.theirs is None else f"{verdict.best_rival}: {in_unit(verdict.theirs, unit)}"
        ratio = "-"
        if verdict.ratio is not None:
            ratio = f"{verdict.ratio:.2f} ({verdict.ratio_low:.2f} to {verdict.ratio_high:.2f})"
        outcome = {True: "[green]met[/]", False: "[red]missed[/]", None: "[yellow]no figure[/]"}[verdict.is_met]
        table.add_row(goal.variant, goal.text or f">= {goal.ratio} x", ours, theirs, ratio, outcome)
    return table


def print_losses(console: Console, run: RunResult) -> None:
    """Who lost: the goals that were missed, and the contenders that failed or could not take part."""
    missed = [(c.name, v) for c in run.cases for v in c.verdicts() if not v.is_met]
    for name, verdict in missed:
        ratio = "no figure" if verdict.ratio is None else f"{verdict.ratio:.2f} x {verdict.best_rival}"
        if verdict.ratio is None and verdict.ours is not None:
            ratio = f"{verdict.ours:.4g}"
        console.print(
            f"missed: {name} {verdict.goal.variant}: {verdict.goal.ours}: {ratio}; wanted {verdict.goal.text}"
        )
    for case in run.cases:
        for contender in case.contenders:
            if contender.failure:
                console.print(f"failed: {case.name} {contender.variant}: {contender.name}: {contender.failure}")
    absent = {(c.name, c.missing) for case in run.cases for c in case.contenders if c.missing}
    for name, why in sorted(absent):
        console.print(f"not here: {name}: {why}")
    total = sum(len(c.verdicts()) for c in run.cases)
    console.print(f"{total - len(missed)} of {total} goals met")
