"""What every view of a run can show, and the choice of one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Protocol

from kevy_ring.cli.ingest.outcome import Outcome
from kevy_ring.cli.ingest.progress import ShardProgress


class View(Protocol):
    """Shows a run. The caller has removed all secrets from the texts."""

    def title(self, text: str, detail: str = "", **facts: Any) -> None:
        """Show what the run is about to do. ``facts``: the same for a program."""

    def progress(self, stage: str, elapsed: float, shards: Sequence[ShardProgress]) -> None:
        """Take the progress. The caller calls often; the view shows it at its own interval."""

    def note(self, text: str, *, is_bad: bool = False) -> None:
        """Show something that happened."""

    def outcome(self, outcome: Outcome) -> None:
        """Show the outcome of a run."""

    def close(self, outcomes: Sequence[Outcome], remarks: Sequence[str], problem: str | None) -> None:
        """End the view. ``remarks``: closing lines. ``problem``: the reason for exit code 1; None: exit code 0."""


def choose_view(*, as_json: bool, to_stderr: bool = False) -> View:
    """JSON lines if asked for, a live table on a terminal, plain lines elsewhere.

    ``to_stderr``: the stream itself uses standard output.
    """
    out = sys.stderr if to_stderr else sys.stdout
    if as_json:
        from kevy_ring.cli.views.json_view import JsonView

        return JsonView(out)
    # A live table would mix with the lines of the stream on the same terminal.
    if out.isatty() and not (to_stderr and sys.stdout.isatty()):
        from rich.console import Console

        from kevy_ring.cli.views.terminal_view import TerminalView

        return TerminalView(Console(highlight=False, stderr=to_stderr))
    from kevy_ring.cli.views.plain_view import PlainView

    return PlainView(out)
