"""The benchmark command: which cases, how many rounds, where the JSON goes; and the report made from it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.status import Status

from bench.case import case_names, load_case
from bench.machine import look, why_busy
from bench.report import print_case, print_losses, print_machine
from bench.result import CaseResult, RunResult
from bench.rounds import MIN_ROUNDS, QUICK_ROUNDS, play

_WIDTH = 150  # of tables that go to a file or a pipe


def main(arguments: Sequence[str]) -> int:
    """Run the command; 0 done, 1 something is wrong, 2 bad usage."""
    signal.signal(signal.SIGTERM, _leave)  # so that the processes of the round that runs are ended too
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
        description="kevy-ring beside its rivals",
        epilog="python -m bench report FILE writes docs/benchmarks.md and its charts from the JSON of a run",
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"all when none is given: {', '.join(case_names())}")
    parser.add_argument("--quick", action="store_true", help="few small rounds: shows that it works, no speed")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", nargs="?", const=Path("-"), help="write the results there (default: print)"
    )
    parser.add_argument("--rounds", type=int, help=f"of each contender (default {MIN_ROUNDS}, quick {QUICK_ROUNDS})")
    parser.add_argument("--only", metavar="TEXT", help="only contenders whose name has this in it")
    parser.add_argument("--variant", metavar="TEXT", help="only variants that have this in their name")
    parser.add_argument("--behaviour", action="store_true", help="also what rivals do when full or killed (2 minutes)")
    parser.add_argument("--force", action="store_true", help="measure on a busy machine too; the result says so")
    return parser


def _report(arguments: Sequence[str]) -> int:
    from bench.document import DOCUMENT, write_document

    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m bench report FILE", file=sys.stderr)
        return 2
    try:
        run = RunResult.load(Path(arguments[0]))
    except (OSError, ValueError) as error:
        print(f"python -m bench report: {error}", file=sys.stderr)
        return 1
    write_document(run)
    print(f"wrote {DOCUMENT} and its charts")
    return 0


def _run_cases(options: argparse.Namespace) -> int:
    printed = options.json == Path("-")
    console = Console(stderr=printed)
    if not console.is_terminal:
        console = Console(stderr=printed, width=_WIDTH)
    names = options.cases or case_names()
    unknown = [name for name in names if name not in case_names()]
    if unknown:
        console.print(f"no such case: {', '.join(unknown)}; there are {', '.join(case_names())}")
        return 2
    machine = look()
    print_machine(console, machine)
    busy = why_busy(machine)
    if busy and not (options.force or options.quick):
        console.print(f"This machine is busy: {busy}. Figures would mean little. Wait, or --force.")
        return 1
    if busy:
        console.print(f"This machine is busy: {busy}. Take no figure below for a speed.", style="yellow")
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else MIN_ROUNDS)
    run = RunResult(machine, _command_line(names, options, rounds), options.quick, busy, rounds)
    began = time.monotonic()
    for name in names:
        run.cases.append(_run_case(console, name, rounds, options))
        run.seconds = round(time.monotonic() - began, 1)
        if options.json and not printed:
            run.save(options.json)
    if options.behaviour:
        run.behaviour = _behaviour(console)
        if options.json and not printed:
            run.save(options.json)
    if printed:
        print(json.dumps(dataclasses.asdict(run)))
    print_losses(console, run)
    return 1 if any(c.failure for case in run.cases for c in case.contenders if c.is_ours) else 0


def _command_line(names: Sequence[str], options: argparse.Namespace, rounds: int) -> str:
    """The command that would run the same again, without where its results go."""
    parts = [
        "python",
        "-m",
        "bench",
        *([] if names == case_names() else names),
        *(["--quick"] if options.quick else []),
    ]
    for name, value in (("--only", options.only), ("--variant", options.variant)):
        parts += [name, value] if value else []
    return shlex.join([*parts, "--rounds", str(rounds), *(["--behaviour"] if options.behaviour else [])])


def _run_case(console: Console, name: str, rounds: int, options: argparse.Namespace) -> CaseResult:
    case = load_case(name)
    result = CaseResult(name, case.what, case.metrics, case.goals)
    contenders = case.contenders(options.quick)
    for variant in dict.fromkeys(c.variant for c in contenders):
        if options.variant and options.variant not in variant:
            continue
        group = [c for c in contenders if c.variant == variant and (not options.only or options.only in c.name)]
        if not group:
            continue
        with console.status(f"{name} {variant}") as status:
            result.contenders += play(group, rounds, partial(_show, status, f"{name} {variant}"))
    print_case(console, result)
    return result


def _behaviour(console: Console) -> list[dict[str, str]]:
    from bench.behaviour import RIVALS, behaviour_of

    rows = []
    with console.status("behaviour") as status:
        for rival in RIVALS:
            status.update(f"behaviour: {rival}")
            rows.append(behaviour_of(rival))
    return rows


def _show(status: Status, title: str, what: str, who: str) -> None:
    status.update(f"{title}: {what}: {who}")
