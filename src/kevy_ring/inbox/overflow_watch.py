"""The thread that calls the callback of ``watch_overflow``. Between calls it sleeps in the core."""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from kevy_ring._core import lib
from kevy_ring.inbox.overflow import Overflow, read_overflow

if TYPE_CHECKING:
    from kevy_ring._core import CData

_log = logging.getLogger(__name__)
_SLICE_NS = 500_000_000  # the thread notices within this time that its watch was dropped


class OverflowWatch:
    """The watch of one sender's overflow. It belongs to the sending end, and ends with it."""

    def __init__(self, sender: CData, name: str) -> None:
        self._sender = sender
        self._name = name
        #: The number of the watch and its callback. One step replaces both.
        self._present: tuple[int, Callable[[Overflow], None] | None] = (0, None)

    def start(self, high: int, low: int, callback: Callable[[Overflow], None] | None) -> int:
        """Start a thread that calls ``callback`` at each crossing of a mark; None ends it. Below 0: an error code.

        The thread of an earlier watch ends by itself. Raises RuntimeError if no thread can be started: then nothing is
        watched.
        """
        number: int = lib.kr_overflow_marks(self._sender, high if callback is not None else 0, low)
        if number >= 0 and callback is not None:
            self._present = (number, callback)
            name = f"kevy-ring-watch-{self._name}"
            try:
                threading.Thread(
                    target=_run, args=(self._sender, number, weakref.ref(self)), name=name, daemon=True
                ).start()
            except RuntimeError:
                self.start(0, 0, None)
                raise
        return number

    def call(self, number: int, *, above_high: bool) -> None:
        """Call the callback of watch ``number``, if that is still the present watch.

        Every exception of the callback is logged, also SystemExit. An exception of a log handler is ignored.
        """
        present, callback = self._present
        if callback is None or present != number:
            return
        try:
            callback(read_overflow(self._sender, above_high=above_high))
        except BaseException:
            with contextlib.suppress(BaseException):
                _log.exception("the overflow callback of ring %s failed", self._name)


def _run(sender: CData, number: int, watched: weakref.ref[OverflowWatch]) -> None:
    """Run until another watch begins, or the sending end is closed or dropped. The sleep keeps no reference to it."""
    while True:
        mark = lib.kr_overflow_next_mark(sender, number, _SLICE_NS)
        watch = watched()
        if watch is None or mark < 0 or mark == lib.KR_MARK_END:
            return
        if mark != lib.KR_MARK_NONE:
            watch.call(number, above_high=mark == lib.KR_MARK_HIGH)
        del watch
