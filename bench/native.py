"""Native contenders: a program that does one round and prints it as one line of JSON."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.measured import Measured, RoundFailed, WrongAnswer

_ROOT = Path(__file__).resolve().parent.parent
BUILD = _ROOT / "bench" / "build"
ROUND_DEADLINE_S = 120.0
WRONG_ANSWER_EXIT = 3  # a program that found its own answer wrong exits with it and says on stderr what was wrong


def run_native(command: Sequence[str | Path], deadline_s: float = ROUND_DEADLINE_S) -> Measured:
    """Run a program to its end and read ``{"seconds": s, "work": w, "figures": {...}}`` from its last line.

    The program has a process group of its own; all of it is ended at the deadline. Raises
    :class:`~bench.measured.RoundFailed` for a deadline, a bad exit or no such line, and
    :class:`~bench.measured.WrongAnswer` when the program exits with 3.
    """
    line = run_to_line([str(part) for part in command], deadline_s)
    try:
        said = json.loads(line)
        return Measured(float(said["seconds"]), float(said["work"]), dict(said.get("figures", {})))
    except (ValueError, KeyError) as error:
        raise RoundFailed(f"{command[0]} printed no result: {line[:200]!r}") from error


def run_to_line(command: list[str], deadline_s: float) -> str:
    """Run a program to its end and return the last line that it printed."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=_ROOT,
    )
    try:
        out, err = process.communicate(timeout=deadline_s)
    except subprocess.TimeoutExpired:
        raise RoundFailed(f"no end after {deadline_s:g} s") from None
    finally:
        end_group(process)
    if process.returncode == WRONG_ANSWER_EXIT:
        raise WrongAnswer(_last_line(err))
    if process.returncode:
        raise RoundFailed(f"exit {process.returncode}: {_last_line(err)}")
    return _last_line(out)


def end_group(process: subprocess.Popen[str]) -> None:
    """End a process that was started in a session of its own, with all its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.poll() is None:
        process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


def build(name: str, command: Sequence[str | Path], sources: Sequence[Path], deadline_s: float = 180.0) -> Path:
    """Build a native program into ``bench/build`` unless it is newer than its sources. Returns its path.

    ``command`` gets the path of the program as its last argument (so it ends with ``-o``). ``RoundFailed`` when the
    compiler is missing or fails: the case then reports the contender as absent.
    """
    program = BUILD / name
    if program.exists() and all(program.stat().st_mtime > source.stat().st_mtime for source in sources):
        return program
    if shutil.which(str(command[0])) is None:
        raise RoundFailed(f"{command[0]} is not installed")
    BUILD.mkdir(exist_ok=True)
    try:
        done = subprocess.run(
            [*map(str, command), str(program)], capture_output=True, text=True, timeout=deadline_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise RoundFailed(f"building {name} took more than {deadline_s:g} s") from None
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line] or [_last_line(done.stderr)]
        raise RoundFailed(f"{name} does not build: {errors[0][:200]}")
    return program
