"""The view on a terminal: a live table during the run, tables and sentences at its end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from kevy_ring.cli import figures
from kevy_ring.cli.ingest.outcome import Outcome
from kevy_ring.cli.ingest.progress import ShardProgress, trouble_text
from kevy_ring.cli.tables import print_line
from kevy_ring.cli.views.outcome_text import print_outcome
from kevy_ring.cli.views.progress_table import progress_table

REFRESH_S = 0.25


class TerminalView:
    """Draws at most four times a second."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._live: Live | None = None
        self._drawn_at = float("-inf")

    def title(self, text: str, detail: str = "", **facts: Any) -> None:
        print_line(self._console, Text(text, style="bold"))
        if detail:
            print_line(self._console, Text(detail), indent=2)

    def progress(self, stage: str, elapsed: float, shards: Sequence[ShardProgress]) -> None:
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stderr=True)
            self._live.start()
            self._drawn_at = float("-inf")
        if not 0 <= elapsed - self._drawn_at < REFRESH_S:
            self._drawn_at = elapsed
            status = Text.assemble(("  ● ", "green"), stage, (f"  {figures.seconds(elapsed)}", "dim"))
            if text := trouble_text(shards):
                status.append(f"  {text}", "red")
            self._live.update(Group(status, progress_table(shards, *self._console.size)), refresh=True)

    def note(self, text: str, *, is_bad: bool = False) -> None:
        print_line(self._console, Text(text, style="yellow" if is_bad else "dim"), indent=2)

    def outcome(self, outcome: Outcome) -> None:
        self._stop()
        print_outcome(self._console, outcome)
        self._console.print()

    def close(self, outcomes: Sequence[Outcome], remarks: Sequence[str], problem: str | None) -> None:
        self._stop()
        for number, line in enumerate(remarks):
            print_line(self._console, Text(line, style="bold green" if number == 0 else "dim"))
        if problem is not None:
            print_line(self._console, Text("failed, exit code 1", style="bold red"))
        sys.stdout.flush()

    def _stop(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()
