"""``import-mode`` of Valkey 8.1 and newer: the server leaves it to the source of the data to expire keys."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from kevy_ring.errors import SinkError
from kevy_ring.shard.sinks.redis.target_mark import MARK, parse_mark

if TYPE_CHECKING:
    from kevy_ring.shard.sinks.redis.target import Target
    from kevy_ring.shard.sinks.redis.target_guard import TargetGuard

_NAME = b"import-mode"
_log = logging.getLogger(__name__)


def become_import_source(target: Target) -> None:
    """Where import-mode is on: from now on expired keys are alive for the commands of this connection."""
    if _is_on(target):
        target.ask(b"CLIENT", b"IMPORT-SOURCE", b"ON")


class ImportModeSwitch:
    """Switches import-mode on where that ``is_wanted``, and back if it was this switch or a killed one.

    It is a setting of the whole server. ``restores``: this switch has to put it back.
    """

    def __init__(self, sink: str, *, is_wanted: bool) -> None:
        self.restores = False
        self._sink = sink
        self._is_wanted = is_wanted

    def switch_on(self, target: Target, guard: TargetGuard, *, renew: bool) -> None:
        """After the guard's look at the keys. ``renew``: a new run begins. Another database may be selected afterwards.

        Raises SinkError where it is wanted and cannot be had.
        """
        mark = guard.mark
        assert mark is not None
        is_left_on = renew and mark.restores_import_mode  # by an earlier run that was killed
        if not self._is_wanted and not is_left_on:
            return
        is_on = _is_on(target)
        if is_on is None and self._is_wanted:
            detail = "it has no import-mode (Valkey 8.1 and newer have), or CONFIG GET import-mode is not allowed"
            raise SinkError(self._sink, reason="refused", detail=detail)
        if is_on and not is_left_on:
            return  # another program's choice
        self.restores = True
        # Written first: a run that comes after a kill between the two switches off what is off already.
        guard.mark = replace(mark, restores_import_mode=True)
        target.ask_all([b"SELECT", b"%d" % guard.home], guard.update_command())
        if self._is_wanted:
            target.ask(b"CONFIG", b"SET", _NAME, b"yes")
            become_import_source(target)

    def switch_back(self, connect: Callable[[], Target], home: int) -> None:
        """At the end, on another connection: the sink's own may have been idle for long. Raises nothing."""
        if not self.restores:
            return
        self.restores = False
        try:
            target = connect()
            target.ask(b"CONFIG", b"SET", _NAME, b"no")
            target.ask(b"SELECT", b"%d" % home)
            mark = parse_mark(target.ask(b"GET", MARK))
            if mark is not None:
                target.ask(*replace(mark, restores_import_mode=False).update_command())
            target.close()
        except SinkError as error:
            _log.warning("%s: its import-mode stays on: %s", self._sink, error.detail)


def _is_on(target: Target) -> bool | None:
    """None where the server does not have it, or does not let this user read its configuration."""
    try:
        reply = target.ask(b"CONFIG", b"GET", _NAME)
    except SinkError as error:
        if error.reason != "refused":
            raise
        return None
    return bool(reply[1] == b"yes") if reply else None
