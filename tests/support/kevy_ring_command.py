"""The kevy-ring command in its own process, as a shell starts it. Its rings must not stay behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

_POLITE_S = 30
DEADLINE_S = 120.0

# The command, whose --duration ends at SIGUSR1. A number of seconds would be too short on a busy machine, and a wait
# on an idle one.
_UNTIL_TOLD = """
import signal
from kevy_ring.cli import main
from kevy_ring.cli.ingest.goal import ForDuration

signals = []
signal.signal(signal.SIGUSR1, lambda number, frame: signals.append(number))
ForDuration.reached = lambda goal, shards, now: bool(signals)
main()
"""


class Finished:
    """The exit code of a process that has ended, and what it wrote."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Standard output as one JSON object per line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def summary(self) -> dict[str, Any]:
        last = self.objects[-1]
        assert last["type"] == "summary"
        return last


class RunningCommand:
    """``kevy-ring ARGUMENTS``. At the end of the ``with`` block the command and its children have ended.

    ``until_told``: run until ``end_duration`` is called. ``program``: Python that changes the command and calls it.
    """

    def __init__(
        self,
        *arguments: str,
        path: Sequence[Path] = (),
        until_told: bool = False,
        program: str | None = None,
        **environment: str,
    ) -> None:
        where = os.pathsep.join([*map(str, path), *filter(None, sys.path)])
        command = ["-c", _UNTIL_TOLD, *arguments, "--duration", "1"] if until_told else ["-m", "kevy_ring", *arguments]
        command = ["-c", program, *arguments] if program is not None else command
        self._process = subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": where} | environment,
        )
        self.pid = self._process.pid

    def finish(self) -> Finished:
        """Wait for its end."""
        out, err = self._process.communicate(timeout=DEADLINE_S)
        return Finished(self._process.returncode, out, err)

    def end_duration(self) -> None:
        """End a run that was started with ``until_told``, as if the seconds of its --duration were over."""
        self.signal(signal.SIGUSR1)

    def read_object(self) -> dict[str, Any]:
        """The next line of its output, as JSON."""
        found: dict[str, Any] = json.loads(self._read_line(self._process.stdout))
        return found

    def read_log_until(self, words: str) -> str:
        """Read lines of its log (standard error) until one has these words, and return it."""
        while words not in (line := self._read_line(self._process.stderr)):
            pass
        return line

    def _read_line(self, stream: IO[str] | None) -> str:
        """The next line. A command that writes none within the deadline is killed, so that nothing waits for it."""
        assert stream is not None
        killer = threading.Timer(DEADLINE_S, self._kill)
        killer.start()
        try:
            line = stream.readline()
        finally:
            killer.cancel()
        assert line, f"it ended: {self._process.communicate(timeout=DEADLINE_S)}"
        return line

    def read_until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Read objects until ``holds`` is true of one, and return it."""
        while not holds(found := self.read_object()):
            pass
        return found

    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait(self, seconds: float) -> None:
        """Wait for its end, but no longer than ``seconds``."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def children(self) -> list[int]:
        """The pids of its living children."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def _kill(self) -> None:
        # The command has its own session, so the group holds only the command and its children.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def __enter__(self) -> RunningCommand:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._process.poll() is None:
            # End it as a user does, so that none of its rings stays behind.
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                self._process.terminate()
                self._process.communicate(timeout=_POLITE_S)
        if self._process.poll() is None:
            self._kill()
        with contextlib.suppress(ValueError):
            self._process.communicate(timeout=DEADLINE_S)


def run_command(*arguments: str, path: Sequence[Path] = ()) -> Finished:
    """Run it to its end."""
    with RunningCommand(*arguments, path=path) as running:
        return running.finish()


def is_gone(pid: int) -> bool:
    """True when the process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(condition: Callable[[], bool], why: Callable[[], str] = lambda: "not in time") -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, why()
        time.sleep(0.05)
