"""The rows of the sqlite sink: a key is one row, a change is one row.

A string's value is a BLOB of its bytes. The value of every other type is a TEXT: the JSON that the jsonl sink writes
for it (see ``jsonl/line.py``), and so are the arguments of a change.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from kevy_ring.events import BytesLike
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard.json_bytes import argv_of
from kevy_ring.shard.sinks.jsonl.line import argv_json, entry_from, value_json

KeyRow = tuple[int, bytes, str, bytes | str, int | None]
ChangeRow = tuple[int, int, str]


def key_row(entry: Entry) -> KeyRow:
    """(db, key, type, value, expires_at_ms). Raises ``ValueError`` for a type that has no form in a row."""
    value = entry.value if entry.type == "string" else value_json(entry)
    return entry.db, entry.key, entry.type, value, entry.expires_at_ms


def entry_of_row(row: Any) -> Entry:
    """The key that a row of ``key_row`` describes. Raises ``ValueError`` for a row that it has not made."""
    db, key, kind, value, expires_at_ms = row
    if kind == "string":
        if not isinstance(value, bytes):
            raise ValueError(f"the value of {key!r} is no string")
        entry = entry_from(db, key, kind, "", expires_at_ms)
        entry.value = value
        return entry
    return entry_from(db, key, kind, _loaded(value), expires_at_ms)


def change_row(offset: int, db: int, argv: Sequence[BytesLike]) -> ChangeRow:
    """(offset, db, argv)."""
    return offset, db, argv_json(argv)


def argv_of_row(text: str) -> list[bytes]:
    """The arguments that ``change_row`` wrote. Raises ``ValueError`` for any others."""
    return argv_of(_loaded(text))


def _loaded(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"no JSON: {error}") from error
