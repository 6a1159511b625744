"""The SinkError for an error of a SQLite file."""

from __future__ import annotations

import errno
import os
import sqlite3

from kevy_ring.errors import SinkError

#: By the beginning of SQLite's own name for a failure.
_REASONS = (
    ("SQLITE_FULL", "space"),
    ("SQLITE_BUSY", "timeout"),
    ("SQLITE_LOCKED", "timeout"),
    ("SQLITE_NOTADB", "refused"),
    ("SQLITE_CORRUPT", "refused"),
    ("SQLITE_READONLY", "refused"),
    ("SQLITE_CONSTRAINT", "refused"),
    ("SQLITE_TOOBIG", "refused"),
)

REMEDY = ". Move the file away, or name another one. A full sync fills it again"


def sqlite_error(path: str | os.PathLike[str], error: sqlite3.Error) -> SinkError:
    """The SinkError for ``error``: reason ``"space"``, ``"timeout"`` (another holds it), ``"refused"``, ``"io"``.

    SQLite keeps the number of a failed system call to itself, so ``errno`` is set for a full disk only.
    """
    name, text = getattr(error, "sqlite_errorname", ""), str(error)
    reason = next((why for code, why in _REASONS if name.startswith(code)), "io")
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        text += REMEDY
    return SinkError(
        f"sqlite:{os.fspath(path)}",
        reason=reason,
        detail=f"{text} ({name})" if name else text,
        errno=errno.ENOSPC if reason == "space" else 0,
    )
