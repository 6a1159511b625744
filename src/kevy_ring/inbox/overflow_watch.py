"""The thread that calls the callback of ``watch_overflow``. It sleeps in the core."""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from typing import TYPE_CHECKING

from kevy_ring._core import lib
from kevy_ring.inbox.overflow import read_overflow

if TYPE_CHECKING:
    from kevy_ring._core import CData
    from kevy_ring.inbox.sending_end import SendingEnd

_log = logging.getLogger(__name__)
_SLICE_NS = 500_000_000  # a sending end that was dropped is noticed so late


def start_watch(end: SendingEnd, number: int) -> None:
    """Start the thread of watch ``number``; that of the watch before ends by itself. RuntimeError: there is none."""
    name = f"kevy-ring-watch-{end.segment.name}"
    threading.Thread(target=_run, args=(end.sender, number, weakref.ref(end)), name=name, daemon=True).start()


def _run(sender: CData, number: int, watched: weakref.ref[SendingEnd]) -> None:
    """Until another watch begins, or the sending end is closed or dropped: no reference to it is kept in a sleep."""
    while True:
        mark = lib.kr_overflow_next_mark(sender, number, _SLICE_NS)
        end = watched()
        if end is None or mark < 0 or mark == lib.KR_MARK_END:
            return
        if mark != lib.KR_MARK_NONE:
            _call(end, number, above_high=mark == lib.KR_MARK_HIGH)
        del end


def _call(end: SendingEnd, number: int, *, above_high: bool) -> None:
    """Whatever the callback raises, SystemExit too, is logged; whatever a handler of the log raises is left."""
    present, callback = end.watched
    if callback is None or present != number:
        return
    try:
        callback(read_overflow(end.sender, above_high=above_high))
    except BaseException:
        with contextlib.suppress(BaseException):
            _log.exception("the overflow callback of ring %s failed", end.segment.name)
