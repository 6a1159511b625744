"""The end of a process that still holds events in overflows: one deadline for all of its inboxes, and one warning."""

from __future__ import annotations

import logging
import os
import time
from multiprocessing.util import Finalize

from kevy_ring._calls import is_main_interpreter
from kevy_ring._core import ffi, lib

_log = logging.getLogger(__name__)
EXIT_FLUSH_S = 5.0  # a process that ends waits this long for its shards, however many they are
_TICK_NS = 50_000_000
_NAMED = 8  # rings in the warning; the others are counted

_registered_by: set[int] = set()  # processes for which the end is registered: a child by fork has its own end


def flush_at_exit() -> None:
    """Have this process flush its inboxes when it ends, multiprocessing's children too.

    Before the owners of segments remove their names. The end of a second interpreter is not the end of the process: the
    core continues to move the overflows of its inboxes.
    """
    if os.getpid() not in _registered_by and is_main_interpreter():
        Finalize(None, _flush, exitpriority=100)
        _registered_by.add(os.getpid())


def _flush() -> None:
    deadline = time.monotonic() + EXIT_FLUSH_S
    try:
        while lib.kr_inboxes_flush(_TICK_NS) and time.monotonic() < deadline:
            pass
    finally:  # a second Ctrl-C ends the wait
        try:
            left = _left()
            if left:
                _log.warning("%s", _told(left))
        finally:
            lib.kr_inboxes_close()


def _left() -> list[tuple[str, int]]:
    """The name of each ring behind which events are left, and how many; most first."""
    count = lib.kr_inboxes_left(ffi.NULL, 0)
    found = ffi.new("kr_left[]", max(1, count))
    count = min(count, lib.kr_inboxes_left(found, count))
    left = [(ffi.string(found[i].name).decode("utf-8", "replace"), int(found[i].events)) for i in range(count)]
    return sorted(left, key=lambda ring: (-ring[1], ring[0]))


def _told(left: list[tuple[str, int]]) -> str:
    events = sum(count for _, count in left)
    rings = ", ".join(f"{name}: {count}" for name, count in left[:_NAMED])
    others = f", and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
    return (
        f"exit with {events} events in the overflow that the shard did not take in time; they are lost "
        f"({rings}{others})"
    )
