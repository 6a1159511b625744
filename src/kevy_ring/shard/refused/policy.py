"""The policy for what a sink cannot take: stop, skip, or keep it in a file."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class ErrorAction(Enum):
    """What happens to an event that a sink cannot take."""

    STOP = "stop"
    SKIP = "skip"
    DEAD_LETTER = "dead-letter"


@dataclass(frozen=True, slots=True)
class ErrorPolicy:
    """One policy for refused commands, for events at which a callable raises, and for keys that cannot be read.

    ``action``: what happens to the event. ``path``: the file of dead letters; empty for the other actions.

        >>> str(ErrorPolicy.parse("dead-letter:refused.jsonl"))
        'dead-letter:refused.jsonl'
    """

    action: ErrorAction
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> ErrorPolicy:
        """The policy of ``text``: ``stop``, ``skip`` or ``dead-letter:FILE``. Raises ValueError for anything else."""
        word, _, path = text.partition(":")
        if word == ErrorAction.DEAD_LETTER.value and path:
            return cls(ErrorAction.DEAD_LETTER, path)
        if text in (ErrorAction.STOP.value, ErrorAction.SKIP.value):
            return cls(ErrorAction(text))
        raise ValueError(f"{text!r} is none of: stop, skip, dead-letter:FILE")

    @property
    def stops(self) -> bool:
        """Whether the run ends at the first such event."""
        return self.action is ErrorAction.STOP

    def __str__(self) -> str:
        return f"{self.action.value}:{self.path}" if self.path else self.action.value
