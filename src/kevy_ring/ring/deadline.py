"""Timeouts as callers give them: seconds, or None for no limit."""

from __future__ import annotations

import time


def checked_timeout(timeout: float | None) -> float | None:
    """The timeout. Raises ``ValueError`` for NaN, which would never be over."""
    if timeout is not None and timeout != timeout:  # noqa: PLR0124 # only not-a-number differs from itself
        raise ValueError(f"a timeout is a number of seconds, or None to wait without end: {timeout}")
    return timeout


def deadline_after(timeout: float | None) -> float | None:
    """The monotonic time at which ``timeout`` is over; None: never. Raises as :func:`checked_timeout`."""
    return None if checked_timeout(timeout) is None else time.monotonic() + timeout  # type: ignore[operator]


def seconds_left(deadline: float | None) -> float | None:
    """Seconds until a deadline, 0 if it is past; None without a deadline."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def nanoseconds_left(deadline: float | None) -> int:
    """Nanoseconds until a deadline for the core: 0 if it is past, -1 without a deadline (or beyond 285 years)."""
    left = seconds_left(deadline)
    return -1 if left is None or left > 9e9 else int(left * 1e9)
