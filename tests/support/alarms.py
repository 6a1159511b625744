"""Signals at random moments whose handler raises, as with Ctrl-C and the timeout of a test."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from types import FrameType


class Alarm(Exception):
    """The exception of the signal handler."""


class Alarms:
    """Sets alarms at random times whose handler raises. An alarm during ``quiet`` code is delayed until its end."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._is_quiet = self._is_still = False

    def __enter__(self) -> Alarms:
        self._before = signal.signal(signal.SIGALRM, self._ring)
        return self

    def __exit__(self, *exc: object) -> None:
        self._is_quiet = True
        self.off()
        signal.signal(signal.SIGALRM, self._before)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if not self._is_quiet:
            raise Alarm
        if not self._is_still:
            self.set()

    def set(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, self._chance.uniform(1e-6, 300e-6))

    def off(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)

    def quiet(self, action: Callable[[], None]) -> None:
        """Run a helper call, such as a send or a check, within the tested code. An alarm waits until its end."""
        self._is_quiet = True
        action()
        self._is_quiet = False

    def still(self, action: Callable[[], None]) -> None:
        """Run a helper call outside the tested code. No alarm comes after it until the next ``set``."""
        self._is_quiet = self._is_still = True
        action()
        self.off()
        for _ in range(2):  # an earlier signal is handled here
            pass
        self._is_quiet = self._is_still = False
