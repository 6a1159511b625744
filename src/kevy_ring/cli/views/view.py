"""What every view of a run can show, and the choice of one."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Protocol, TextIO

from kevy_ring.cli.ingest.outcome import Outcome
from kevy_ring.cli.ingest.progress import ShardProgress
from kevy_ring.cli.log.note import Note
from kevy_ring.cli.log.run_log import RunLog


class View(Protocol):
    """Shows a run. The caller has removed all secrets from the texts."""

    def title(self, text: str, detail: str = "", **facts: Any) -> None:
        """Show what the run is about to do. ``facts``: the same for a program."""

    def progress(self, stage: str, elapsed: float, shards: Sequence[ShardProgress]) -> None:
        """Take the progress. The caller calls often; the view shows it at its own interval."""

    def note(self, text: str, *, is_bad: bool = False) -> None:
        """Log something that happened, at the level INFO, or WARNING if it is bad."""

    def tell(self, note: Note) -> None:
        """Log something that happened, with its facts."""

    def outcome(self, outcome: Outcome) -> None:
        """Show the outcome of a run."""

    def close(self, outcomes: Sequence[Outcome], remarks: Sequence[str], problem: str | None) -> None:
        """End the view. ``remarks``: closing lines. ``problem``: the reason for exit code 1; None: exit code 0."""


class _Both:
    """A view of standard output, and the log beside it."""

    def __init__(self, view: View, logged: View) -> None:
        self._views = (view, logged)

    def title(self, text: str, detail: str = "", **facts: Any) -> None:
        for view in self._views:
            view.title(text, detail, **facts)

    def progress(self, stage: str, elapsed: float, shards: Sequence[ShardProgress]) -> None:
        for view in self._views:
            view.progress(stage, elapsed, shards)

    def note(self, text: str, *, is_bad: bool = False) -> None:
        self._views[1].note(text, is_bad=is_bad)

    def tell(self, note: Note) -> None:
        self._views[1].tell(note)

    def outcome(self, outcome: Outcome) -> None:
        for view in self._views:
            view.outcome(outcome)

    def close(self, outcomes: Sequence[Outcome], remarks: Sequence[str], problem: str | None) -> None:
        for view in self._views:
            view.close(outcomes, remarks, problem)


def choose_view(log: RunLog, *, as_json: bool, to_stderr: bool = False) -> View:
    """JSON objects if asked for, a live table on a terminal, and only the log and the last tables elsewhere.

    ``to_stderr``: the stream itself uses standard output. ``log`` goes to standard error beside all of them.
    """
    from kevy_ring.cli.views.log_view import LogView

    out: TextIO | None = sys.stderr if to_stderr else sys.stdout
    if out is None:  # it was closed before the start
        return LogView(log)
    if as_json:
        from kevy_ring.cli.views.json_view import JsonView

        shown: View = JsonView(log, out)
        return _Both(shown, LogView(log)) if log.is_on else shown
    # A dumb terminal cannot move its cursor, so a table cannot be drawn again.
    is_terminal = out.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    is_with_log = is_terminal and log.is_with(out)
    # A live table would mix with the lines of the stream, or with JSON, on the same terminal.
    if is_terminal and not (to_stderr and sys.stdout.isatty()) and not (log.is_json and is_with_log):
        from rich.console import Console

        from kevy_ring.cli.views.terminal_view import TerminalView

        shown = TerminalView(log, Console(highlight=False, stderr=to_stderr), has_log=is_with_log)
        return shown if is_with_log else _Both(shown, LogView(log))
    return LogView(log, None if log.is_json else out)
