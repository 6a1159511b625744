"""The pumps of this process: threads of the core, which Python does not know."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

THREAD_NAME = "kevy-ring-pump"


def running_pumps() -> int:
    """How many threads of this process are pumps now."""
    count = 0
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it has just ended
            count += (task / "comm").read_text(encoding="ascii").strip() == THREAD_NAME
    return count


def wait_for_pumps(count: int, timeout_s: float = 60.0) -> None:
    """Return when ``count`` pumps run; fail when there are more or fewer for ``timeout_s``."""
    until = time.monotonic() + timeout_s
    while (running := running_pumps()) != count:
        assert time.monotonic() < until, f"{running} pumps run, not {count}"
        time.sleep(0.002)
