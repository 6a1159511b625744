"""What a run shows of itself, however it is shown."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Protocol

from kevy_ring.cli.ingest.outcome import Outcome
from kevy_ring.cli.ingest.progress import ShardProgress


class View(Protocol):
    """Everything that a run says. All texts are free of secrets when they come here."""

    def title(self, text: str, detail: str = "", **facts: Any) -> None:
        """What is about to be done. ``facts``: the same for a program."""

    def progress(self, stage: str, elapsed: float, shards: Sequence[ShardProgress]) -> None:
        """How far it is; called often, shown when it is time."""

    def note(self, text: str, *, is_bad: bool = False) -> None:
        """Something that happened."""

    def outcome(self, outcome: Outcome) -> None:
        """One run is over."""

    def close(self, outcomes: Sequence[Outcome], remarks: Sequence[str], problem: str | None) -> None:
        """All is over. ``remarks``: what to say at the end; ``problem``: what makes the exit code 1, None for 0."""


def choose_view(*, as_json: bool, to_stderr: bool = False) -> View:
    """Lines of JSON when asked for, a live table on a terminal, plain lines elsewhere.

    ``to_stderr``: standard output belongs to the stream.
    """
    out = sys.stderr if to_stderr else sys.stdout
    if as_json:
        from kevy_ring.cli.views.json_view import JsonView

        return JsonView(out)
    # A table that is drawn again and again would mix with the lines of the stream on the same terminal.
    if out.isatty() and not (to_stderr and sys.stdout.isatty()):
        from rich.console import Console

        from kevy_ring.cli.views.terminal_view import TerminalView

        return TerminalView(Console(highlight=False, stderr=to_stderr))
    from kevy_ring.cli.views.plain_view import PlainView

    return PlainView(out)
