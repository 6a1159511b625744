"""The pumps of this process: threads of the core that Python does not know."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

THREAD_NAME = "kevy-ring-pump"


def running_pumps() -> int:
    """The number of pump threads in this process."""
    count = 0
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it has just ended
            count += (task / "comm").read_text(encoding="ascii").strip() == THREAD_NAME
    return count


def wait_for_pumps(count: int, timeout_s: float = 60.0) -> None:
    """Return when ``count`` pumps run. Fail if the number is another one for ``timeout_s``."""
    until = time.monotonic() + timeout_s
    while (running := running_pumps()) != count:
        assert time.monotonic() < until, f"{running} pumps run, not {count}"
        time.sleep(0.002)
