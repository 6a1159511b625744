"""The commands that a store refused: how many, and the first one."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from kevy_ring.shard.sinks.skipped_keys import OnSkippedKey

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RefusedCommand:
    """One command that a store answered with an error. ``offset``: of its frame, None for one of a snapshot."""

    offset: int | None
    command: bytes
    reply: str


class Refusals:
    """Counts refused commands.

    They do not stop the stream, but each is a possible difference: they are counted and shown, and the run fails.
    """

    def __init__(self, sink: str) -> None:
        self.count = 0
        #: Of ``count``, those that needed a key that a snapshot skipped.
        self.on_skipped = 0
        self.first: RefusedCommand | None = None
        self._sink = sink

    def add(self, offset: int | None, command: bytes, reply: str) -> None:
        """Count one."""
        self.count += 1
        self.on_skipped += isinstance(reply, OnSkippedKey)
        if self.first is None or (isinstance(self.first.reply, OnSkippedKey) and not isinstance(reply, OnSkippedKey)):
            self.first = RefusedCommand(offset, command, reply)
            _log.warning("sink %s refused %r at offset %s: %s", self._sink, command, offset, reply)
