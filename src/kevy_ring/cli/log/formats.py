"""A log record as one line of text, or as one JSON object. No line holds a secret."""

from __future__ import annotations

import json
import logging
import os
import time
from datetime import UTC, datetime
from typing import Any

from kevy_ring.cli import figures
from kevy_ring.cli.log.note import Note
from kevy_ring.cli.redaction import without_secrets

TEXT, JSON = "text", "json"
#: So begin the messages of the modules that know the number of the shard.
_ABOUT_SHARD = "shard %d: "
#: ``warning`` has the most letters of the levels that are used.
_LEVEL_CELLS = 7


def note_of(record: logging.LogRecord) -> Note:
    """The note that a record carries. A record of another module, or of another process, becomes one."""
    note = getattr(record, "note", None)
    if isinstance(note, Note):
        return note
    shard, role, text = (getattr(record, name, None) for name in ("shard", "role", "said"))
    text = str(text or record.getMessage())
    if record.exc_info:
        text += "\n" + logging.Formatter().formatException(record.exc_info)
    if role is None:
        arguments = record.args if isinstance(record.args, tuple) else ()
        if str(record.msg).startswith(_ABOUT_SHARD) and arguments and isinstance(arguments[0], int):
            shard, text = arguments[0], text.removeprefix(f"shard {arguments[0]}: ")
        return Note(text, record.levelno, event="log", shard=shard)
    return Note(text, record.levelno, event="log", shard=shard, process=role, pid=record.process)


class TextFormat(logging.Formatter):
    """``TIME LEVEL PROCESS[PID] TEXT``. A text of several lines has its other lines indented.

    ``is_short``: for a terminal, the local time of the day, and no pid.
    """

    def __init__(self, *, is_short: bool = False) -> None:
        super().__init__()
        self._is_short = is_short

    def format(self, record: logging.LogRecord) -> str:
        note = note_of(record)
        who = note.process if note.pid is None or note.shard is None else f"{note.process}-{note.shard}"
        about = f"shard {note.shard}: " if note.shard is not None and note.pid is None else ""
        # A control character from outside could forge a line, or move the cursor of a terminal.
        lines = [figures.name(line) for line in without_secrets(about + note.text).splitlines()] or [""]
        start = f"{_time(record)} {record.levelname:<{_LEVEL_CELLS}} {who}[{note.pid or os.getpid()}]"
        if self._is_short:
            at = time.strftime("%H:%M:%S", time.localtime(record.created))
            start = f"{at} {record.levelname:<{_LEVEL_CELLS}} {who}:"
        return f"{start} " + "\n    ".join(lines)


class JsonFormat(logging.Formatter):
    """One JSON object: ``time``, ``level``, ``logger``, ``process``, ``pid``, ``shard``, ``event``, ``message``.

    The facts of the event follow.
    """

    def format(self, record: logging.LogRecord) -> str:
        note = note_of(record)
        found: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": note.process,
            "pid": note.pid or os.getpid(),
        }
        if note.shard is not None:
            found["shard"] = note.shard
        found |= {"event": note.event, "message": note.text}
        found |= {name: fact for name, fact in note.facts.items() if name not in found}
        return json.dumps(_clean(found))


def _time(record: logging.LogRecord) -> str:
    """RFC 3339, in UTC, with milliseconds."""
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _clean(value: Any) -> Any:
    """``value`` without secrets, in plain types."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, dict):
        return {str(key): _clean(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(each) for each in value]
    return value if value is None or isinstance(value, (bool, int, float)) else without_secrets(str(value))
