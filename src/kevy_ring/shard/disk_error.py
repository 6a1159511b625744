"""The SinkError for an OSError of a file."""

from __future__ import annotations

import errno

from kevy_ring.errors import SinkError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def disk_error(sink: str, error: OSError, detail: str = "") -> SinkError:
    """The SinkError for ``error``: reason ``"space"`` for a full disk, a quota or a size limit, else ``"io"``."""
    text = error.strerror or str(error)
    return SinkError(
        sink,
        reason="space" if error.errno in _FULL else "io",
        detail=f"{text}; {detail}" if detail else text,
        errno=error.errno or 0,
    )
