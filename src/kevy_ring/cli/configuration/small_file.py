"""Reads a small file that the user names. Never waits without end, and never reads more than its limit."""

from __future__ import annotations

import os
import select
import time

#: A pipe (``<(pass show redis)``) may wait for its user's PIN.
_PATIENCE_S = 60.0


def read_small(path: str, most_bytes: int) -> bytes:
    """The content of the file or pipe at ``path``.

    Raises OSError if it cannot be read, and ValueError if it has more than ``most_bytes`` bytes.
    """
    # Without O_NONBLOCK, opening a FIFO that no process writes to would wait without end.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        deadline, content = time.monotonic() + _PATIENCE_S, b""
        waiting = select.poll()
        waiting.register(fd, select.POLLIN)
        while len(content) <= most_bytes:
            if not waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError(f"nothing came out of it for {_PATIENCE_S:g} s")
            piece = os.read(fd, most_bytes + 1 - len(content))
            if not piece:
                return content
            content += piece
    finally:
        os.close(fd)
    raise ValueError(f"it has more than {most_bytes} bytes")
