"""The benchmark command: which cases, how many rounds, where the JSON goes; and the report made from it."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.machine import ForeignLoad, look, why_busy
from bench.page import DOCUMENT, goal_table, tables, write_page
from bench.result import MIN_ROUNDS, QUICK_ROUNDS, CaseResult, RunResult, as_json, load, play, save
from bench.table import CASES


def main(arguments: Sequence[str]) -> int:
    """Run the command; 0 done, 1 something is wrong, 2 bad usage."""
    signal.signal(signal.SIGTERM, _leave)  # so that the processes of the present round are ended too
    try:
        if arguments and arguments[0] == "report":
            return _report(arguments[1:])
        return _run_cases(_parser().parse_args(list(arguments)))
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    except KeyboardInterrupt:
        return 130


def _leave(number: int, frame: object) -> None:
    sys.exit(128 + number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="kevy-ring and its rivals. For what they do when full or killed: python -m bench.behaviour",
        epilog="python -m bench report FILE ... writes docs/benchmarks.md and its charts from results; of a case that "
        "is in several files the last one counts",
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"all when none is given: {', '.join(CASES)}")
    parser.add_argument("--quick", action="store_true", help="few small rounds: shows that it works, no speed")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", nargs="?", const=Path("-"), help="write the results there (default: print)"
    )
    parser.add_argument("--rounds", type=int, help=f"of each contender (default {MIN_ROUNDS}, quick {QUICK_ROUNDS})")
    parser.add_argument("--only", metavar="TEXT", default="", help="only contenders whose name has this in it")
    parser.add_argument("--variant", metavar="TEXT", default="", help="only variants that have this in their name")
    parser.add_argument("--force", action="store_true", help="measure on a busy machine too; the result says so")
    return parser


def _report(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0].startswith("-"):
        print("usage: python -m bench report FILE ...", file=sys.stderr)
        return 2
    try:
        runs = [run for name in arguments for run in load(Path(name))]
    except (OSError, ValueError) as error:
        print(f"python -m bench report: {error}", file=sys.stderr)
        return 1
    write_page(runs)
    print(f"wrote {DOCUMENT} and its charts")
    return 0


def _run_cases(options: argparse.Namespace) -> int:
    is_printed = options.json == Path("-")
    out = sys.stderr if is_printed else sys.stdout
    names = options.cases or list(CASES)
    unknown = [name for name in names if name not in CASES]
    if unknown:
        print(f"no such case: {', '.join(unknown)}; there are {', '.join(CASES)}", file=sys.stderr)
        return 2
    machine, foreign, began = look(), ForeignLoad(), time.monotonic()
    m = machine
    print(f"{m.cpu}, {m.cores} cores, {m.memory_gib:g} GiB; Linux {m.kernel}; {m.python}; commit {m.commit}", file=out)
    busy = why_busy(machine)
    if busy and not (options.force or options.quick):
        print(f"This machine is busy: {busy}. Figures would mean little. Wait, or --force.", file=out)
        return 1
    if busy:
        print(f"This machine is busy: {busy}. Take no figure below for a speed.", file=out)
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else MIN_ROUNDS)
    run = RunResult(machine, _command_line(names, options, rounds), rounds, options.quick, busy)
    for name in names:
        case = _run_case(name, rounds, options)
        run.cases.append(case)
        run.timed(began, foreign)
        print(f"\n{name}: {CASES[name].title}\n", *tables(case), sep="\n\n", file=out)
        print("", *goal_table([(case, verdict) for verdict in case.verdicts]), sep="\n", file=out, flush=True)
        if options.json and not is_printed:
            save([run], options.json)
    if is_printed:
        print(as_json([run]), end="")
    _print_losses(run, out)
    return 1 if any(c.failure for case in run.cases for c in case.contenders if c.is_ours) else 0


def _command_line(names: Sequence[str], options: argparse.Namespace, rounds: int) -> str:
    """The command that would run the same again, without where its results go."""
    parts = ["python", "-m", "bench", *([] if names == list(CASES) else names), *(["--quick"] if options.quick else [])]
    for name, value in (("--only", options.only), ("--variant", options.variant)):
        parts += [name, value] if value else []
    return shlex.join([*parts, "--rounds", str(rounds)])


def _run_case(name: str, rounds: int, options: argparse.Namespace) -> CaseResult:
    case, results = CASES[name], []
    contenders = list(case.contenders(options.quick))
    for variant in dict.fromkeys(c.variant for c in contenders):
        group = [
            c for c in contenders if c.variant == variant and options.only in c.name and options.variant in variant
        ]
        if group:
            results += play(group, rounds, lambda what, who, v=variant: _show(f"{name} {v}: {what}: {who}"))  # type: ignore[misc]
    _show("")
    return CaseResult.judged(name, case.metrics, case.goals, results)


def _show(what: str) -> None:
    """What happens now, on one line of a terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what[:110]}", end="", file=sys.stderr, flush=True)


def _print_losses(run: RunResult, out: object) -> None:
    """The goals that were missed, and the contenders that failed or could not take part."""
    verdicts = [(case.name, verdict) for case in run.cases for verdict in case.verdicts]
    lines = [""]
    for name, v in verdicts:
        if not v.is_met:
            got = (
                "no figure" if v.ours is None else f"{v.ours:.4g}" if v.ratio is None else f"{v.ratio:.2f} x {v.rival}"
            )
            lines.append(f"missed: {name} {v.variant}: {got}; wanted {v.text}")
    contenders = [(case.name, c) for case in run.cases for c in case.contenders]
    lines += [f"failed: {name} {c.variant}: {c.name}: {c.failure}" for name, c in contenders if c.failure]
    lines += sorted({f"not here: {c.name}: {c.missing}" for _, c in contenders if c.missing})
    lines.append(f"{sum(bool(v.is_met) for _, v in verdicts)} of {len(verdicts)} goals met")
    print("\n".join(lines), file=out)  # type: ignore[call-overload]
