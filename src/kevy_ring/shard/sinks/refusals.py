"""The commands that a store refused: how many, and the first one."""

from __future__ import annotations

import logging
from dataclasses import dataclass

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One command that a store answered with an error. ``offset``: of its frame, None for one of a snapshot."""

    offset: int | None
    command: bytes
    reply: str


class Refusals:
    """Counts refused commands.

    They do not stop the stream: an upstream may itself replicate a command that failed there (inside a transaction),
    and then the same error is the same state. But each is a possible difference, so they are counted and shown.
    """

    def __init__(self, sink: str) -> None:
        self.count = 0
        self.first: Refusal | None = None
        self._sink = sink

    def add(self, offset: int | None, command: bytes, reply: str) -> None:
        """Count one."""
        self.count += 1
        if self.first is None:
            self.first = Refusal(offset, command, reply)
            _log.warning("sink %s refused %r at offset %s: %s", self._sink, command, offset, reply)
