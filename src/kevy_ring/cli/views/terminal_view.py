"""The view on a terminal: a live table below the lines of the log, tables and sentences at its end."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from kevy_ring.cli import figures
from kevy_ring.cli.ingest.outcome import Outcome
from kevy_ring.cli.ingest.progress import ShardProgress, trouble_text
from kevy_ring.cli.log.formats import TextFormat
from kevy_ring.cli.log.note import Note
from kevy_ring.cli.log.run_log import RunLog
from kevy_ring.cli.tables import print_line
from kevy_ring.cli.views.live_part import LivePart
from kevy_ring.cli.views.outcome_text import print_outcome
from kevy_ring.cli.views.progress_table import progress_table, row_in_words

REFRESH_S = 0.25
_SHORT = TextFormat(is_short=True)
#: Rows of the terminal that are not rows of a flat table: the stage, the heading with its lines, and what follows.
OTHER_ROWS = 7
#: A terminal with fewer rows has no room for the heading of a table.
LOW_ROWS = 10
#: A higher terminal would show no older lines after a change of its size. They are in its history.
_LINES_KEPT = 200


class TerminalView:
    """Draws at most four times a second. ``has_log``: the log goes to the same terminal, so its lines do too."""

    def __init__(self, log: RunLog, console: Console, *, has_log: bool) -> None:
        self._log = log
        self._console = console
        self._has_log = has_log
        self._lines: deque[tuple[Text, int]] = deque(maxlen=_LINES_KEPT)
        self._part = LivePart(console, self._print_again, has_stderr=has_log)
        self._drawn_at = float("-inf")
        if has_log:
            log.show = self._show

    def title(self, text: str, detail: str = "", **facts: Any) -> None:
        self._print(Text(text, style="bold"))
        if detail:
            self._print(Text(detail), 2)

    def progress(self, stage: str, elapsed: float, shards: Sequence[ShardProgress]) -> None:
        if not 0 <= elapsed - self._drawn_at < REFRESH_S or self._part.was_resized:
            self._drawn_at = elapsed
            self._part.draw(lambda width, height: _progress(stage, elapsed, shards, width, height))

    def note(self, text: str, *, is_bad: bool = False) -> None:
        self.tell(Note(text, logging.WARNING if is_bad else logging.INFO, report=text))

    def tell(self, note: Note) -> None:
        self._log.tell(note)

    def outcome(self, outcome: Outcome) -> None:
        self._part.end()
        print_outcome(self._console, outcome, outcome.problems)
        self._console.print()
        self._lines.clear()  # a later change of the size would print them a second time, below the outcome
        self._drawn_at = float("-inf")

    def close(self, outcomes: Sequence[Outcome], remarks: Sequence[str], problem: str | None) -> None:
        self._part.end()
        self._log.show = None
        for number, line in enumerate(remarks):
            print_line(self._console, Text(line, style="bold green" if number == 0 else "dim"))
        if problem is not None:
            print_line(self._console, Text("failed, exit code 1", style="bold red"))
        self._console.file.flush()

    def _show(self, record: logging.LogRecord) -> None:
        self._print(Text(_SHORT.format(record), style="yellow" if record.levelno >= logging.WARNING else "dim"))

    def _print(self, text: Text, indent: int = 0) -> None:
        self._lines.append((text, indent))
        print_line(self._console, text, indent=indent)

    def _print_again(self, width: int, rows: int) -> None:
        """Print the last lines that fit ``rows`` rows, oldest first."""
        shown: list[tuple[Text, int]] = []
        for text, indent in reversed(self._lines):
            rows -= len(text.wrap(self._console, max(1, width - indent)))
            if rows < 0:
                break
            shown.append((text, indent))
        for text, indent in reversed(shown):
            print_line(self._console, text, indent=indent)


def _progress(
    stage: str, elapsed: float, shards: Sequence[ShardProgress], width: int, height: int
) -> tuple[RenderableType, ...]:
    status = Text.assemble(("  ● ", "green"), stage, (f"  {figures.seconds(elapsed)}", "dim"))
    if text := trouble_text(shards):
        status.append(f"  {text}", "red")
    status.no_wrap, status.overflow = True, "ellipsis"
    if height < LOW_ROWS:
        shown = shards[: max(1, height - 1)]
        return status, *(Text(row_in_words(shard), no_wrap=True, overflow="ellipsis") for shard in shown)
    room = max(1, height - OTHER_ROWS)
    if len(shards) <= room:
        return status, progress_table(shards, width, height)
    more = Text(f"  and {figures.plural(len(shards) - room, 'more shard')}", style="dim", no_wrap=True)
    return status, progress_table(shards[:room], width, height), more
