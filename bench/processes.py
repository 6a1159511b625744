"""The one way to start, check and time processes: programs from outside, and the two sides of a round from inside.

Outside, :func:`timed_program` runs a program to its end, with a deadline, and reads the line of JSON that it prints.
Inside a fresh Python (``python -m bench.rounds KIND JSON TAG``), :func:`time_two` forks a sender and a receiver, starts
both at once, and gathers what they report.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NoReturn

from bench.measure import Measured, RoundFailed, WrongAnswer
from bench.transport import sweep

ROOT = Path(__file__).resolve().parent.parent
NATIVE = ROOT / "bench" / "native"
_BUILD_DEADLINE_S = 300.0
_WRONG_ANSWER_EXIT = 3  # a program that found its own answer wrong exits with it and says on stderr what was wrong

Report = dict[str, Any]
Role = Callable[[Connection], Report]

now_ns = time.monotonic_ns  # the clock of all rounds
_forked: dict[Connection, int] = {}


def timed_program(command: Sequence[object], deadline_s: float) -> Measured:
    """Run a program to its end and read ``{"seconds": s, "work": w, "figures": {...}}`` from its last line.

    The program gets its own process group, which is ended at the deadline. Raises :class:`RoundFailed` for a
    deadline, a bad exit or no such line, and :class:`WrongAnswer` when the program exits with 3.
    """
    words, pipe = [str(word) for word in command], subprocess.PIPE
    process = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, start_new_session=True, cwd=ROOT
    )
    try:
        out, err = process.communicate(timeout=deadline_s)
    except subprocess.TimeoutExpired:
        raise RoundFailed(f"no end after {deadline_s:g} s") from None
    finally:
        _end_group(process)
    if process.returncode == _WRONG_ANSWER_EXIT:
        raise WrongAnswer(_last_line(err))
    if process.returncode:
        raise RoundFailed(f"exit {process.returncode}: {_last_line(err)}")
    try:
        return Measured(**json.loads(_last_line(out)))
    except (ValueError, TypeError) as error:
        raise RoundFailed(f"{words[0]} printed no result: {_last_line(out)[:200]!r}") from error


def timed_round(kind: str, arguments: dict[str, Any], deadline_s: float) -> Measured:
    """Do a round of ``bench.rounds.KIND`` in a fresh Python, and remove what it leaves behind."""
    tag = f"kb{secrets.token_hex(5)}"
    try:
        command = (sys.executable, "-m", "bench.rounds", kind, json.dumps(arguments), tag)
        return timed_program(command, deadline_s)
    finally:
        sweep(tag)


def native_program(name: str) -> Path:
    """A program of ``bench/native``, built if needed. Raises :class:`RoundFailed` if it does not build."""
    program = NATIVE / "build" / name
    command = ["make", "-s", "-C", str(NATIVE), f"build/{name}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_DEADLINE_S, check=False)
    except FileNotFoundError:
        raise RoundFailed("make is not installed") from None
    except subprocess.TimeoutExpired:
        raise RoundFailed(f"building {name} took more than {_BUILD_DEADLINE_S:g} s") from None
    if done.returncode:
        # The Makefile itself says that a header is missing, and that is the reason.
        said = [line for line in done.stdout.splitlines() if name in line and "left out" in line]
        errors = said or [line for line in done.stderr.splitlines() if "error" in line.lower()] or ["it does not build"]
        raise RoundFailed(errors[0][:200])
    return program


def _end_group(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]


class ChildFailed(Exception):
    """A forked process ended without its report. ``is_wrong``: it found a wrong answer."""

    def __init__(self, what: str, *, is_wrong: bool = False) -> None:
        super().__init__(what)
        self.is_wrong = is_wrong


def fork_role(role: Role) -> Connection:
    """Run ``role`` in a fork; returns the connection to it."""
    ours, theirs = Pipe()
    pid = os.fork()
    if not pid:
        ours.close()
        _play(role, theirs)
    theirs.close()
    _forked[ours] = pid
    return ours


def _play(role: Role, connection: Connection) -> NoReturn:
    code = 1
    try:
        connection.send(("report", role(connection)))
        connection.recv()  # both sides stay until both have reported: some rivals lose what is unread when one leaves
        code = 0
    except EOFError:
        pass
    except BaseException as error:
        traceback.print_exc()
        connection.send(("wrong" if isinstance(error, WrongAnswer) else "failed", f"{type(error).__name__}: {error}"))
    finally:
        sys.stderr.flush()
        os._exit(code)


def gather(connections: list[Connection], wanted: str) -> list[Any]:
    """What each role sends next, in their order. Raises :class:`ChildFailed` when one fails or ends."""
    found: dict[int, Any] = {}
    while len(found) < len(connections):
        waiting = [c for i, c in enumerate(connections) if i not in found]
        for connection in wait(waiting):
            assert isinstance(connection, Connection)
            try:
                what, said = connection.recv()
            except EOFError:
                raise ChildFailed("a process ended without a report") from None
            if what != wanted:
                raise ChildFailed(said, is_wrong=what == "wrong")
            found[connections.index(connection)] = said
    return [found[i] for i in range(len(connections))]


def at_the_start(connection: Connection) -> None:
    """Say that this side is ready, and wait until both are."""
    gc.collect()
    gc.freeze()
    connection.send(("ready", None))
    connection.recv()


def time_sides(roles: Sequence[Role], before: Callable[[], object], at_go: Callable[[], object]) -> list[Report]:
    """Run each role in a fork, start all at once, and return their reports.

    ``before`` is called when all have been forked, ``at_go`` when all have been started.
    """
    sides = [fork_role(role) for role in roles]
    before()
    gather(sides, "ready")
    for side in sides:
        side.send("go")
    at_go()
    reports = gather(sides, "report")
    for side in sides:
        side.send("done")
    for side in sides:  # the CPU time of a child counts as ours only when it has been waited for
        os.waitpid(_forked.pop(side), 0)
    return reports


def time_two(receive: Role, send: Role, before: Callable[[], object] = lambda: None) -> tuple[float, Report, Report]:
    """Seconds from the sender's ``at`` to the receiver's ``at`` (of the monotonic clock), and both reports."""
    taken, sent = time_sides([receive, send], before, lambda: None)
    return (taken["at"] - sent["at"]) / 1e9, taken, sent


def answer(seconds: float, work: float, figures: dict[str, float] | None = None) -> Report:
    """What a round prints."""
    return {"seconds": seconds, "work": work, "figures": figures or {}}


def main(kind: str, arguments: str, tag: str) -> int:
    """Print the result of a round as one line, or say on stderr why there is none."""
    try:
        found = importlib.import_module(f"bench.rounds.{kind}").run(tag, **json.loads(arguments))
    except ChildFailed as error:
        print(error, file=sys.stderr)
        return _WRONG_ANSWER_EXIT if error.is_wrong else 1
    for pid in _forked.values():
        os.waitpid(pid, 0)
    print(json.dumps(found), flush=True)
    return 0
