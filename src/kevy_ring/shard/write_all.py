"""Writes all bytes to a file, or raises."""

from __future__ import annotations

import os


def write_all(fd: int, content: bytes) -> None:
    """Write all of ``content``.

    On a disk that becomes full, ``os.write`` writes a part and reports no error. The write of the rest then fails.
    Raises OSError: a part of the content may be in the file.
    """
    done = 0
    with memoryview(content) as left:
        while done < len(left):
            done += os.write(fd, left[done:])
