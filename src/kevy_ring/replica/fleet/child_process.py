"""A process of a fleet, from its parent's side."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from kevy_ring.replica.fleet.child import ENDING_SIGNALS
from kevy_ring.replica.fleet.child_log import wanted_level
from kevy_ring.replica.fleet.event import Role


class ChildProcess:
    """A running child and the only line to it: a pipe. The child takes the pipe's end for the parent's death.

    It is started by 'spawn' and inherits only the pipe. ``target`` gets the pipe's end, the least level of log records
    that this process wants, and ``arguments``. They come through a pipe too, so a command line never contains a secret.
    """

    def __init__(self, role: Role, name: str, target: Callable[..., None], *arguments: Any) -> None:
        context = get_context("spawn")
        self.role = role
        self.started_at = time.monotonic()
        self.stopping = False
        self.failure = ""  # the reason that the child itself gave
        self._control, theirs = context.Pipe()
        self._process = context.Process(
            target=target, args=(theirs, wanted_level(), *arguments), name=name, daemon=True
        )
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
        """For multiprocessing.connection.wait: one is ready when the child has sent something or died."""
        return [self._process.sentinel] if self._control.closed else [self._control, self._process.sentinel]

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    @property
    def exit_code(self) -> int | None:
        """The exit code, or the negative number of the signal that ended it; None while it lives."""
        return self._process.exitcode

    def said(self) -> Iterator[tuple[Any, ...]]:
        """The facts that the child has sent since the last call. Call it once more when the child is dead."""
        try:
            while not self._control.closed and self._control.poll():
                yield self._control.recv()
        except (EOFError, OSError):
            self._control.close()

    def ask(self, number: int, question: str, arguments: tuple[Any, ...]) -> None:
        """Send the child a question. It replies with ``("answer", number, ...)`` later."""
        with contextlib.suppress(OSError):  # its sentinel shows its death
            self._control.send((number, question, arguments))

    def stop(self) -> None:
        """Ask the child to end. Does not wait for it."""
        if not self.stopping:
            self.stopping = True
            with contextlib.suppress(OSError):
                self._control.send(None)

    def kill(self) -> None:
        """End the child by SIGKILL, and wait until it is gone."""
        self._process.kill()
        self._process.join()

    def forget(self) -> None:
        """Free the resources of a dead child."""
        self._process.join()
        self._control.close()
        self._process.close()


@contextlib.contextmanager
def _ending_signals_blocked() -> Iterator[None]:
    """A child inherits the mask, so a Ctrl-C during its start waits until the child has its handlers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
