"""Writes and reads the lines of the jsonl sink, one JSON object each.

Bytes that are UTF-8 are a JSON string, all other bytes an object ``{"base64": "..."}``.

* a change: ``{"offset": 7, "db": 0, "argv": ["SET", "k", {"base64": "AP8="}]}``; one whose expiry counts from now
  (``EXPIRE k 5``) has ``"applied_at_ms"`` too, in Unix milliseconds; with a filter, one inside a transaction has
  ``"in_transaction": true``
* a key of a snapshot: ``{"db": 0, "key": "k", "type": "hash", "expires_at_ms": null, "value": [["field", "value"]]}``;
  ``value`` is a string's bytes, a list of elements (``list``, ``set``), a list of ``[field, value]`` (``hash``; a field
  with an expiry is ``[field, value, expires_at_ms]``) or of ``[member, score]`` (``zset``; ``"inf"`` and ``"-inf"`` are
  strings), or an object (``stream``)
* a thing that the decoder cannot read: ``{"snapshot": "skipped", "db": 0, "key": "k", "type": "stream"}``,
  ``{"snapshot": "skipped function", "name": "lib"}``
* the last line of a whole snapshot:
  ``{"snapshot": "end", "format": "kevysnap", "ack_offset": 9, "entries": 2, "skipped": 0}``; that of a fold has also
  ``"db"``, which was selected then, and ``"folded_from"``, the number of the generation that it replaces
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from math import isinf
from typing import Any

from kevy_ring.events import BytesLike
from kevy_ring.replica.snapshots.entry import Entry, Stream, StreamGroup
from kevy_ring.shard.json_bytes import argv_of, bytes_of, text_or_base64
from kevy_ring.shard.sinks.jsonl.relative_expiry import is_relative, made_absolute
from kevy_ring.shard.snapshot import LeftOut, SkippedKey, Snapshot

_TYPES = frozenset(("string", "hash", "list", "set", "zset", "stream"))
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def change_line(
    offset: int, db: int, argv: Sequence[BytesLike], *, shard: int | None = None, in_transaction: bool = False
) -> bytes:
    """The line of one replicated command. ``shard``: its number for the line; None: leave it out."""
    line: dict[str, Any] = {"offset": offset, "db": db, "argv": [text_or_base64(item) for item in argv]}
    if in_transaction:
        line["in_transaction"] = True
    if is_relative(argv):
        line["applied_at_ms"] = time.time_ns() // 1_000_000
    return _line(line, shard)


def selected_by(argv: Sequence[BytesLike], db: int) -> int:
    """The database that is selected after a command on database ``db``."""
    if len(argv) == 2 and len(argv[0]) == 6 and bytes(argv[0]).upper() == b"SELECT" and bytes(argv[1]).isdigit():
        return int(bytes(argv[1]))
    return db


def is_open_after(argv: Sequence[BytesLike], is_open: bool) -> bool:
    """Whether a transaction is open after a command. ``is_open``: before it."""
    if len(argv) == 1 and len(argv[0]) in (4, 5, 7):
        name = bytes(argv[0]).upper()
        return name == b"MULTI" or (is_open and name not in (b"EXEC", b"DISCARD"))
    return is_open


def argv_json(argv: Sequence[BytesLike]) -> str:
    """The JSON of a command's arguments, as in its line."""
    return _encode([text_or_base64(item) for item in argv])


def change_of(line: dict[str, Any]) -> tuple[int, int, list[bytes]]:
    """(offset, db, argv) of a change's line, read back. Raises ``ValueError`` for a line that is not ours."""
    return _count(line.get("offset")), _count(line.get("db")), argv_of(line.get("argv"))


def replayed_change_of(line: dict[str, Any]) -> tuple[int, int, list[bytes]]:
    """As :func:`change_of`, for a later replay: a relative expiry counts from the first time of applying."""
    offset, db, argv = change_of(line)
    if "applied_at_ms" in line:
        argv = made_absolute(argv, _integer(line["applied_at_ms"]))
    return offset, db, argv


def entry_line(entry: Entry, *, shard: int | None = None) -> bytes:
    """The line of one key of a snapshot."""
    return _line(
        {
            "db": entry.db,
            "key": text_or_base64(entry.key),
            "type": entry.type,
            "expires_at_ms": entry.expires_at_ms,
            "value": _value(entry),
        },
        shard,
    )


def entry_of(line: dict[str, Any]) -> Entry:
    """The key of a snapshot's line, read back. Raises ``ValueError`` for a line that is not ours."""
    if "value" not in line or "expires_at_ms" not in line:
        raise ValueError("a key without its value or its expiry")
    return entry_from(line.get("db"), bytes_of(line.get("key")), line.get("type"), line["value"], line["expires_at_ms"])


def entry_from(db: Any, key: Any, kind: Any, value: Any, expires_at_ms: Any) -> Entry:
    """The key whose line has ``value``. Raises ``ValueError`` if this sink cannot have written the line."""
    if not isinstance(key, bytes) or not isinstance(kind, str) or kind not in _TYPES:
        raise ValueError(f"{key!r} of type {kind!r} is no key")
    expires = None if expires_at_ms is None else _integer(expires_at_ms)
    try:
        expiries = (
            {bytes_of(item[0]): _integer(item[2]) for item in value if len(item) == 3} if kind == "hash" else None
        )
        return Entry(key, kind, value_of(kind, value), expires, _count(db), expiries or None)
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"the value of {key!r} is no {kind}: {error}") from error


def is_kept_type(entry: Entry) -> bool:
    """Whether a value has a form in a line."""
    return entry.type in _TYPES


def value_json(entry: Entry) -> str:
    """The JSON of a key's value, as in its line. Raises ``ValueError`` for a type without such a form."""
    if entry.type not in _TYPES:
        raise ValueError(f"a value of type {entry.type} has no form in JSON here")
    return _encode(_value(entry))


def value_of(kind: str, value: Any) -> Any:
    """The value of a key of type ``kind``, read back."""
    if kind == "string":
        return bytes_of(value)
    if kind == "hash":
        return {bytes_of(item[0]): bytes_of(item[1]) for item in value}
    if kind == "zset":
        return {bytes_of(member): float(score) for member, score in value}
    if kind == "stream":
        return _read_stream(value)
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} for a list")
    elements = [bytes_of(element) for element in value]
    return set(elements) if kind == "set" else elements


def mark_line(what: str, *, shard: int | None = None) -> bytes:
    """The line for the beginning or the abort of a snapshot in a stream of lines."""
    return _line({"snapshot": what}, shard)


def end_line(snapshot: Snapshot, *, shard: int | None = None, **more: int) -> bytes:
    """The last line of a snapshot. A snapshot without it is incomplete. ``more``: of the snapshot of a fold."""
    end: dict[str, Any] = {
        "snapshot": "end",
        "format": snapshot.format,
        "ack_offset": snapshot.ack_offset,
        "entries": snapshot.count,
        "skipped": snapshot.skipped,
    }
    return _line(end | more, shard)


def skipped_lines(left_out: LeftOut, *, shard: int | None = None) -> Iterator[bytes]:
    """The lines that name what the decoder left out of the snapshot."""
    for key in left_out.keys:
        yield _line({"snapshot": "skipped", "db": key.db, "key": text_or_base64(key.key), "type": key.type}, shard)
    for name in left_out.functions:
        yield _line({"snapshot": "skipped function", "name": text_or_base64(name)}, shard)


def skipped_of(line: dict[str, Any]) -> SkippedKey:
    """The key of a ``"snapshot": "skipped"`` line, read back. Raises ``ValueError`` for a line that is not ours."""
    key, kind = bytes_of(line.get("key")), line.get("type")
    if not isinstance(key, bytes) or not isinstance(kind, str):
        raise ValueError("a skipped key without its name or its type")
    return SkippedKey(_count(line.get("db")), key, kind)


def _line(content: dict[str, Any], shard: int | None = None) -> bytes:
    if shard is not None:
        content["shard"] = shard
    return _encode(content).encode() + b"\n"


def _value(entry: Entry) -> Any:
    value = entry.value
    if entry.type == "string":
        return text_or_base64(value)
    if entry.type == "hash":
        pairs = _pairs(value.items())
        if entry.field_expiries:
            for pair, field in zip(pairs, value, strict=True):
                if field in entry.field_expiries:
                    pair.append(entry.field_expiries[field])
        return pairs
    if entry.type == "zset":
        return [[text_or_base64(member), str(score) if isinf(score) else score] for member, score in value.items()]
    if entry.type == "stream":
        return _stream(value)
    return [text_or_base64(element) for element in (sorted(value) if entry.type == "set" else value)]


def _stream(stream: Stream) -> dict[str, Any]:
    return {
        "last_id": _id(*stream.last_id),
        "max_deleted_id": _id(*stream.max_deleted_id),
        "entries_added": stream.entries_added,
        "entries": [[_id(ms, seq), _pairs(fields)] for ms, seq, fields in stream.entries],
        "groups": [
            {
                "name": text_or_base64(group.name),
                "last_id": _id(*group.last_id),
                "consumers": [[text_or_base64(name), seen_ms] for name, seen_ms in group.consumers],
                "pending": [
                    [_id(ms, seq), text_or_base64(consumer), delivered_ms, deliveries]
                    for ms, seq, consumer, delivered_ms, deliveries in group.pending
                ],
            }
            for group in stream.groups
        ],
    }


def _pairs(pairs: Any) -> list[list[Any]]:
    return [[text_or_base64(name), text_or_base64(value)] for name, value in pairs]


def _id(ms: int, seq: int) -> str:
    return f"{ms}-{seq}"


def _integer(item: Any) -> int:
    if not isinstance(item, int) or isinstance(item, bool):
        raise ValueError(f"{item!r} is no integer")
    return item


def _count(item: Any) -> int:
    if _integer(item) < 0:
        raise ValueError(f"{item!r} is below 0")
    return int(item)


def _read_pairs(pairs: list[list[Any]]) -> list[tuple[bytes, bytes]]:
    return [(bytes_of(name), bytes_of(value)) for name, value in pairs]


def _read_id(name: str) -> tuple[int, int]:
    ms, _, seq = name.partition("-")
    return int(ms), int(seq)


def _read_stream(value: dict[str, Any]) -> Stream:
    return Stream(
        _read_id(value["last_id"]),
        _read_id(value["max_deleted_id"]),
        _count(value["entries_added"]),
        [(*_read_id(name), _read_pairs(fields)) for name, fields in value["entries"]],
        [
            StreamGroup(
                bytes_of(group["name"]),
                _read_id(group["last_id"]),
                [(bytes_of(name), seen_ms) for name, seen_ms in group["consumers"]],
                [(*_read_id(name), bytes_of(consumer), at, times) for name, consumer, at, times in group["pending"]],
            )
            for group in value["groups"]
        ],
    )
