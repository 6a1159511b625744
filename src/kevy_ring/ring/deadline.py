"""Timeouts as callers give them: seconds, or None for no end."""

from __future__ import annotations

import time


def checked_timeout(timeout: float | None) -> float | None:
    """The timeout, if it is one. ``ValueError`` for what is no number, which is neither over nor not over."""
    if timeout is not None and timeout != timeout:  # noqa: PLR0124 # only not-a-number differs from itself
        raise ValueError(f"a timeout is a number of seconds, or None to wait without end: {timeout}")
    return timeout


def deadline_after(timeout: float | None) -> float | None:
    """When ``timeout`` seconds from now are over, by the monotonic clock; None: never. Raises as checked_timeout."""
    return None if checked_timeout(timeout) is None else time.monotonic() + timeout  # type: ignore[operator]


def seconds_left(deadline: float | None) -> float | None:
    """Seconds until a deadline, 0 when it is past; None without one."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def nanoseconds_left(deadline: float | None) -> int:
    """Nanoseconds until a deadline as the core counts them: -1 without one (or with one in 292 years), 0 when past."""
    left = seconds_left(deadline)
    return -1 if left is None or left > 9e9 else int(left * 1e9)
