"""A process of a fleet, seen from its parent."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from kevy_ring.replica.fleet.child import ENDING_SIGNALS
from kevy_ring.replica.fleet.event import Role


class ChildProcess:
    """A running child, and the only line to it, a pipe whose end it takes for our death.

    Started by 'spawn': nothing is inherited but the pipe, and what the child is told comes through a pipe too, so no
    secret stands in a command line.
    """

    def __init__(self, role: Role, name: str, target: Callable[..., None], *arguments: Any) -> None:
        context = get_context("spawn")
        self.role = role
        self.started_at = time.monotonic()
        self.stopping = False
        self.failure = ""  # why it ends, as it said itself
        self._control, theirs = context.Pipe()
        self._process = context.Process(target=target, args=(theirs, *arguments), name=name, daemon=True)
        try:
            with _ending_signals_blocked():
                self._process.start()
        except BaseException:
            self._control.close()
            raise
        finally:
            theirs.close()
        self.pid: int = self._process.pid or 0

    @property
    def waitables(self) -> list[Connection | int]:
        """What multiprocessing.connection.wait takes: ready when the child says something or has died."""
        return [self._process.sentinel] if self._control.closed else [self._control, self._process.sentinel]

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    @property
    def exit_code(self) -> int | None:
        """As multiprocessing has it: negative for a signal; None while it lives."""
        return self._process.exitcode

    def said(self) -> Iterator[tuple[Any, ...]]:
        """What the child has said since the last call. Call it once more when the child is dead."""
        try:
            while not self._control.closed and self._control.poll():
                yield self._control.recv()
        except (EOFError, OSError):
            self._control.close()

    def ask(self, number: int, question: str, arguments: tuple[Any, ...]) -> None:
        """Ask the child something. It says ``("answer", number, ...)`` when it has the time."""
        with contextlib.suppress(OSError):  # its death is seen by its sentinel
            self._control.send((number, question, arguments))

    def stop(self) -> None:
        """Ask it to end; it does so in its own time."""
        if not self.stopping:
            self.stopping = True
            with contextlib.suppress(OSError):
                self._control.send(None)

    def kill(self) -> None:
        """End it now, by SIGKILL, and wait until it is gone."""
        self._process.kill()
        self._process.join()

    def forget(self) -> None:
        """Give back what a dead child holds here."""
        self._process.join()
        self._control.close()
        self._process.close()


@contextlib.contextmanager
def _ending_signals_blocked() -> Iterator[None]:
    """A child inherits the mask, so that a Ctrl-C during its first moments waits until it can answer in order."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
