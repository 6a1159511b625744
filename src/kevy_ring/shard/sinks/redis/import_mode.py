"""``import-mode`` of Valkey 8.1 and newer: the server does not expire keys itself, the source of the data does."""

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
    """If import-mode is on, make expired keys visible to the commands of this connection."""
    if _is_on(target):
        target.ask(b"CLIENT", b"IMPORT-SOURCE", b"ON")


class ImportModeSwitch:
    """Switches import-mode on if ``is_wanted``, and off again at the end, also for an earlier run that was killed.

    It is a setting of the whole server. ``restores``: this object must switch it off at the end.
    """

    def __init__(self, sink: str, *, is_wanted: bool) -> None:
        self.restores = False
        self._sink = sink
        self._is_wanted = is_wanted

    def switch_on(self, target: Target, guard: TargetGuard, *, renew: bool) -> None:
        """Call this after ``guard.check_keys``. ``renew``: a new run begins. It may select another database.

        Raises SinkError if import-mode is wanted and the server does not offer it.
        """
        mark = guard.mark
        assert mark is not None
        is_left_on = renew and mark.restores_import_mode  # by an earlier run that was killed
        if not self._is_wanted and not is_left_on:
            return
        is_on = _is_on(target)
        if is_on is None and self._is_wanted:
            detail = (
                "it has no import-mode, or does not allow CONFIG GET import-mode. Use Valkey 8.1 or newer, allow "
                "CONFIG, or leave out --target-import-mode"
            )
            raise SinkError(self._sink, reason="refused", detail=detail)
        if is_on and not is_left_on:
            return  # another program has switched it on, so leave it on
        self.restores = True
        # Write the mark first. After a kill between the two steps, the next run only switches off what is off.
        guard.mark = replace(mark, restores_import_mode=True)
        target.ask_all([b"SELECT", b"%d" % guard.home], guard.update_command())
        if self._is_wanted:
            target.ask(b"CONFIG", b"SET", _NAME, b"yes")
            become_import_source(target)

    def switch_back(self, connect: Callable[[], Target], home: int) -> None:
        """Switch it off at the end, on a new connection, because the sink's own may have timed out. Never raises."""
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
            _log.warning(
                "%s: its import-mode stays on: %s. Switch it off with CONFIG SET import-mode no",
                self._sink,
                error.detail,
            )


def _is_on(target: Target) -> bool | None:
    """None if the server does not have it, or does not let this user read its configuration."""
    try:
        reply = target.ask(b"CONFIG", b"GET", _NAME)
    except SinkError as error:
        if error.reason != "refused":
            raise
        return None
    return bool(reply[1] == b"yes") if reply else None
