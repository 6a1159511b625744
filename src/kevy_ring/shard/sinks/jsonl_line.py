"""The lines that the jsonl sink writes: one JSON object each; and what they say, read back.

Bytes that are UTF-8 stand as a JSON string, all others as ``{"base64": "..."}``: an object is never a string, so
neither can be taken for the other.

* a change: ``{"offset": 7, "db": 0, "argv": ["SET", "k", {"base64": "AP8="}]}``
* a key of a snapshot: ``{"db": 0, "key": "k", "type": "hash", "expires_at_ms": null, "value": [["field", "value"]]}``;
  ``value`` is a string's bytes, a list of elements (``list``, ``set``), a list of ``[field, value]`` (``hash``) or
  of ``[member, score]`` (``zset``; ``"inf"`` and ``"-inf"`` are strings), or an object (``stream``)
* what the snapshot had and its decoder cannot read: ``{"snapshot": "skipped", "db": 0, "key": "k", "type": "stream"}``,
  ``{"snapshot": "skipped field expiries", "db": 0, "key": "k"}``, ``{"snapshot": "skipped function", "name": "lib"}``
* the last line of a whole snapshot:
  ``{"snapshot": "end", "format": "kevysnap", "ack_offset": 9, "entries": 2, "skipped": 0}``
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from math import isinf
from typing import Any

from kevy_ring.events import BytesLike
from kevy_ring.replica.entry import Entry, Stream, StreamGroup
from kevy_ring.shard.snapshot import LeftOut, SkippedKey, Snapshot

_TYPES = frozenset(("string", "hash", "list", "set", "zset", "stream"))
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def change_line(offset: int, db: int, argv: Sequence[BytesLike]) -> bytes:
    """The line of one replicated command."""
    return _line({"offset": offset, "db": db, "argv": [text_or_base64(item) for item in argv]})


def argv_json(argv: Sequence[BytesLike]) -> str:
    """The arguments of a command as they stand in its line."""
    return _encode([text_or_base64(item) for item in argv])


def argv_of(items: list[Any]) -> list[bytes]:
    """The arguments of a change, read back."""
    return [_bytes(item) for item in items]


def entry_line(entry: Entry) -> bytes:
    """The line of one key of a snapshot."""
    return _line(
        {
            "db": entry.db,
            "key": text_or_base64(entry.key),
            "type": entry.type,
            "expires_at_ms": entry.expires_at_ms,
            "value": _value(entry),
        }
    )


def entry_of(line: dict[str, Any]) -> Entry:
    """The key of a snapshot's line, read back."""
    return Entry(
        _bytes(line["key"]), line["type"], value_of(line["type"], line["value"]), line["expires_at_ms"], line["db"]
    )


def value_json(entry: Entry) -> str:
    """The value of a key as it stands in its line. Raises ``ValueError`` for a type that has no form there."""
    if entry.type not in _TYPES:
        raise ValueError(f"a value of type {entry.type} has no form in JSON here")
    return _encode(_value(entry))


def value_of(kind: str, value: Any) -> Any:
    """The value of a key of type ``kind``, read back."""
    if kind == "string":
        return _bytes(value)
    if kind == "hash":
        return dict(_read_pairs(value))
    if kind == "zset":
        return {_bytes(member): float(score) for member, score in value}
    if kind == "stream":
        return _read_stream(value)
    elements = [_bytes(element) for element in value]
    return set(elements) if kind == "set" else elements


def end_line(snapshot: Snapshot) -> bytes:
    """The line that ends a snapshot, and without which it is not one."""
    return _line(
        {
            "snapshot": "end",
            "format": snapshot.format,
            "ack_offset": snapshot.ack_offset,
            "entries": snapshot.count,
            "skipped": snapshot.skipped,
        }
    )


def skipped_lines(left_out: LeftOut) -> Iterator[bytes]:
    """The lines of what the snapshot had and is not in its lines."""
    for key in left_out.keys:
        yield _line({"snapshot": "skipped", "db": key.db, "key": text_or_base64(key.key), "type": key.type})
    for key in left_out.field_expiries:
        yield _line({"snapshot": "skipped field expiries", "db": key.db, "key": text_or_base64(key.key)})
    for name in left_out.functions:
        yield _line({"snapshot": "skipped function", "name": text_or_base64(name)})


def skipped_of(line: dict[str, Any]) -> SkippedKey:
    """The key of a line of ``"snapshot": "skipped"``, read back."""
    return SkippedKey(line["db"], _bytes(line["key"]), line["type"])


def text_or_base64(item: BytesLike) -> str | dict[str, str]:
    """The JSON of some bytes; see the top of this file."""
    try:
        return str(item, "utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(item).decode()}


def _line(content: dict[str, Any]) -> bytes:
    return _encode(content).encode() + b"\n"


def _value(entry: Entry) -> Any:
    value = entry.value
    if entry.type == "string":
        return text_or_base64(value)
    if entry.type == "hash":
        return _pairs(value.items())
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


def _bytes(item: Any) -> bytes:
    return base64.b64decode(item["base64"]) if isinstance(item, dict) else str(item).encode()


def _read_pairs(pairs: list[list[Any]]) -> list[tuple[bytes, bytes]]:
    return [(_bytes(name), _bytes(value)) for name, value in pairs]


def _read_id(name: str) -> tuple[int, int]:
    ms, _, seq = name.partition("-")
    return int(ms), int(seq)


def _read_stream(value: dict[str, Any]) -> Stream:
    return Stream(
        _read_id(value["last_id"]),
        _read_id(value["max_deleted_id"]),
        value["entries_added"],
        [(*_read_id(name), _read_pairs(fields)) for name, fields in value["entries"]],
        [
            StreamGroup(
                _bytes(group["name"]),
                _read_id(group["last_id"]),
                [(_bytes(name), seen_ms) for name, seen_ms in group["consumers"]],
                [(*_read_id(name), _bytes(consumer), at, times) for name, consumer, at, times in group["pending"]],
            )
            for group in value["groups"]
        ],
    )
