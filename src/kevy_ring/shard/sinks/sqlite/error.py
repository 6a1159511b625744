"""Failures of a SQLite file, as errors that tell a full disk and a file in use from the rest."""

from __future__ import annotations

import errno
import os
import sqlite3

from kevy_ring.errors import SinkError

#: By the beginning of SQLite's own name for a failure, or by a part of its words where Python gives no name (3.10).
_REASONS = (
    ("SQLITE_FULL", "is full", "space"),
    ("SQLITE_BUSY", "is locked", "timeout"),
    ("SQLITE_LOCKED", "is locked", "timeout"),
    ("SQLITE_NOTADB", "not a database", "refused"),
    ("SQLITE_CORRUPT", "malformed", "refused"),
    ("SQLITE_READONLY", "readonly", "refused"),
    ("SQLITE_CONSTRAINT", "constraint", "refused"),
    ("SQLITE_TOOBIG", "too big", "refused"),
)

REMEDY = "; move the file away, or choose another: a full sync fills it anew"


def sqlite_error(path: str | os.PathLike[str], error: sqlite3.Error) -> SinkError:
    """The SinkError for ``error``: reason ``"space"``, ``"timeout"`` (somebody else holds it), ``"refused"``, ``"io"``.

    SQLite keeps the number of a failed system call to itself, so ``errno`` is set for a full disk only.
    """
    name, text = getattr(error, "sqlite_errorname", ""), str(error)
    reason = next((why for code, words, why in _REASONS if name.startswith(code) or (not name and words in text)), "io")
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")) or "not a database" in text or "malformed" in text:
        text += REMEDY
    return SinkError(
        f"sqlite:{os.fspath(path)}",
        reason=reason,
        detail=f"{text} ({name})" if name else text,
        errno=errno.ENOSPC if reason == "space" else 0,
    )
