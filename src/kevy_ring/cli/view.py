"""What a run shows of itself, however it is shown."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Protocol

from kevy_ring.cli.outcome import Outcome
from kevy_ring.cli.progress import ShardProgress


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

    def close(self, outcomes: Sequence[Outcome], words: Sequence[str], problem: str | None) -> None:
        """All is over. ``words``: the closing remarks; ``problem``: what makes the exit code 1, None for 0."""


def choose_view(*, as_json: bool) -> View:
    """Lines of JSON when asked for, a live table on a terminal, plain lines elsewhere."""
    if as_json:
        from kevy_ring.cli.json_view import JsonView

        return JsonView()
    if sys.stdout.isatty():
        from kevy_ring.cli.terminal_view import TerminalView

        return TerminalView()
    from kevy_ring.cli.plain_view import PlainView

    return PlainView()
