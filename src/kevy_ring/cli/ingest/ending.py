"""How a run ends: in order when a signal comes, and with an exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from kevy_ring.cli.ingest.outcome import Outcome
from kevy_ring.cli.redaction import without_secrets
from kevy_ring.cli.views.view import View


def end(view: View, outcomes: list[Outcome], words: list[str]) -> int:
    """Close the view; returns the exit code."""
    problems = [problem for outcome in outcomes for problem in outcome.problems]
    problem = without_secrets(" ".join(problems[0].split())) if problems else None
    if problem and len(problems) > 1:
        problem += f" (and {len(problems) - 1} more)"
    view.close(outcomes, words if problem is None else [], problem)
    return 1 if problem is not None else 0


@contextmanager
def ended_in_order() -> Iterator[None]:
    """SIGTERM unwinds the stack as Ctrl-C does, at any moment. (A fleet takes both signals while it runs.)

    A terminal that goes away is handled as a SIGTERM, so that no ring stays behind.
    """
    # Ask now: a terminal that is gone no longer says that it was one.
    terminals = [end.fileno() for end in (sys.__stdout__, sys.__stderr__) if end is not None and end.isatty()]

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    def hang_up(number: int, frame: object) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for terminal in terminals:
            os.dup2(nowhere, terminal)
        os.close(nowhere)
        signal.raise_signal(signal.SIGTERM)

    before = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, interrupt),
        signal.SIGHUP: signal.signal(signal.SIGHUP, hang_up),
    }
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)
