"""A stop signal that also wakes threads that sleep in poll."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Iterable
from typing import Any


class StopSignal:
    """Once set, it stays set: ``is_set()`` for loops, ``fileno()`` for poll, ``wait()`` for sleeps.

    The descriptor (an eventfd, never read) stays readable after the first ``set()``, so a late look sees it too.
    ``set()`` takes no lock, so a signal handler and any thread may call it.

        stop = StopSignal()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
    """

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_set = False

    def set(self) -> None:
        """Request the stop. A second call, or one after ``close``, has no further effect."""
        if not self._is_set:
            self._is_set = True
            if self._fd >= 0:
                os.eventfd_write(self._fd, 1)

    def is_set(self) -> bool:
        """Whether ``set`` was called, also after ``close``."""
        return self._is_set

    def wait(self, timeout: float | None) -> bool:
        """Sleep until set, at most ``timeout`` seconds (None: without limit). True when set."""
        if self._is_set or self._fd < 0:
            return self._is_set
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.poll(None if timeout is None else max(0.0, timeout) * 1000)
        return self._is_set

    def fileno(self) -> int:
        """A descriptor that is readable after ``set``; valid until ``close``."""
        return self._fd

    def close(self) -> None:
        """Close the descriptor. No thread may poll it any more."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "set" if self._is_set else "not set"
        return f"<{type(self).__name__}: {state}{', closed' if self._fd < 0 else ''}>"

    def __enter__(self) -> StopSignal:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class StopSignals:
    """A context in which each signal of ``numbers`` sets ``stop``; ``count`` signals have come.

    Outside of the main thread it does nothing.
    """

    def __init__(self, stop: StopSignal, numbers: Iterable[signal.Signals]) -> None:
        self.count = 0
        self._stop = stop
        self._numbers = tuple(numbers)
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._come) for number in self._numbers}
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, answer in self._before.items():
            signal.signal(number, answer)
        self._before = {}

    def _come(self, number: int, frame: object) -> None:
        self.count += 1
        self._stop.set()
