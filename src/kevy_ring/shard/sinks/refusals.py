"""Counts the commands that a store refused, and keeps the first one."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from kevy_ring.shard.sinks.skipped_keys import OnSkippedKey

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RefusedCommand:
    """One command that a store answered with an error. ``offset``: of its frame; None: it came from a snapshot."""

    offset: int | None
    command: bytes
    reply: str


class Refusals:
    """Counts refused commands.

    They do not stop the stream. But each may be a difference between replica and upstream, so the run fails at its end.
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
