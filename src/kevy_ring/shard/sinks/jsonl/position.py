"""The position of a jsonl generation: the offset and the database of its last line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from kevy_ring.errors import SinkError
from kevy_ring.shard.sinks.jsonl.line_file import drop_torn_line, last_line
from kevy_ring.shard.sinks.jsonl.rotation import CHANGES, SNAPSHOT, numbered
from kevy_ring.shard.snapshot import Snapshot


class JsonlPosition(NamedTuple):
    """A place in a stream: the last offset (None: nothing yet) and the selected database.

    ``in_transaction``: whether a transaction is open there. Known only for a sink with a filter.
    """

    offset: int | None = None
    db: int = 0
    in_transaction: bool = False


def position_in(generation: Path) -> JsonlPosition:
    """The position at the end of a generation, after cutting off a torn last line.

    Raises OSError, and SinkError for a last line that this sink has not written.
    """
    changes = list(numbered(generation, CHANGES).values())
    if changes:
        # Earlier files are whole: after a crash they were cut before the next file was begun.
        drop_torn_line(changes[-1])
    for path in reversed(changes):
        line = last_line(path)
        if line is not None:
            content = _content(path, line)
            is_open = content.get("in_transaction") is True
            return JsonlPosition(_integer(path, content, "offset"), _integer(path, content, "db"), is_open)
    snapshot = list(numbered(generation, SNAPSHOT).values())
    if not snapshot:
        return JsonlPosition()
    end = _content(snapshot[-1], last_line(snapshot[-1]) or b"")
    ack_offset = _integer(snapshot[-1], end, "ack_offset")
    form = end.get("format")
    if form not in ("rdb", "kevysnap"):
        raise _foreign(snapshot[-1])
    # The snapshot of a fold ends in any database, one of an upstream in database 0.
    db = _integer(snapshot[-1], end, "db") if "db" in end else 0
    return JsonlPosition(Snapshot(form, ack_offset, 0, 0).applied_offset, db)


def folded_from(generation: Path) -> int | None:
    """The number of the generation that this one was folded from; None: its snapshot came from the upstream."""
    snapshot = list(numbered(generation, SNAPSHOT).values())
    if not snapshot:
        return None
    end = _content(snapshot[-1], last_line(snapshot[-1]) or b"")
    return _integer(snapshot[-1], end, "folded_from") if "folded_from" in end else None


def _content(path: Path, line: bytes) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise _foreign(path)
    return content


def _integer(path: Path, content: dict[str, Any], name: str) -> int:
    value = content.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**64:
        raise _foreign(path)
    return value


def _foreign(path: Path) -> SinkError:
    detail = (
        "this sink has not written its last line, so the offset of the stream is unknown. Move the directory away, or "
        "name another one. A full sync fills it again"
    )
    return SinkError(f"jsonl:{path}", reason="refused", detail=detail)
