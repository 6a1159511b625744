"""At the end of a process: waits for the overflows of all its inboxes with one deadline, and warns once of a loss."""

from __future__ import annotations

import logging
import os
import time
import weakref
from contextlib import suppress
from multiprocessing.util import Finalize
from typing import Protocol

from kevy_ring._calls import is_main_interpreter
from kevy_ring._core import ffi, lib
from kevy_ring.errors import KevyRingError


class _SendingEnd(Protocol):
    """The part of a SendingEnd that is used here. That module imports this one."""

    def end_grant(self) -> None: ...


_log = logging.getLogger(__name__)
EXIT_FLUSH_S = 5.0  # a process that ends waits this long for all its shards together
_TICK_NS = 50_000_000
_NAMED = 8  # the warning names this many rings, and counts the others

_registered_by: set[int] = set()  # pids that registered _flush: a forked child has to register it again
_open: weakref.WeakSet[_SendingEnd] = weakref.WeakSet()


def flush_at_exit(end: _SendingEnd) -> None:
    """Register the flush of this process's inboxes at its end; this works in multiprocessing's children too.

    It runs before the owners of segments remove their names. Only the main interpreter registers it: when another
    interpreter ends, the process continues, and the core still moves the overflows.
    """
    if os.getpid() not in _registered_by and is_main_interpreter():
        Finalize(None, _flush, exitpriority=100)
        _registered_by.add(os.getpid())
    _open.add(end)


def _flush() -> None:
    deadline = time.monotonic() + EXIT_FLUSH_S
    try:
        for end in tuple(_open):
            with suppress(KevyRingError):  # without memory for another mapping, the grant stays open
                end.end_grant()
        while lib.kr_inboxes_flush(_TICK_NS) and time.monotonic() < deadline:
            pass
    finally:  # also when a second Ctrl-C ends the wait
        try:
            left = _left()
            if left:
                _log.warning("%s", _warning(left))
        finally:
            lib.kr_inboxes_close()


def _left() -> list[tuple[str, int]]:
    """The name of each ring with events left in its overflow, and how many; most first."""
    count = lib.kr_inboxes_left(ffi.NULL, 0)
    found = ffi.new("kr_left[]", max(1, count))
    count = min(count, lib.kr_inboxes_left(found, count))
    left = [(ffi.string(found[i].name).decode("utf-8", "replace"), int(found[i].events)) for i in range(count)]
    return sorted(left, key=lambda ring: (-ring[1], ring[0]))


def _warning(left: list[tuple[str, int]]) -> str:
    events = sum(count for _, count in left)
    rings = ", ".join(f"{name}: {count}" for name, count in left[:_NAMED])
    others = f", and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
    return (
        f"exit with {events} events in the overflow that the shard did not take in {EXIT_FLUSH_S:g} s; they are lost "
        f"({rings}{others}): call close() or flush() before the end to wait for longer"
    )
