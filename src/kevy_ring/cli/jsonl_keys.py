"""The keys that the files of the jsonl sink stand for: read back, and applied to a store in memory."""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kevy_ring.cli.failure import Failure
from kevy_ring.replica.entry import Entry, Stream, StreamGroup
from kevy_ring.shard.sinks.memory import MemorySink
from kevy_ring.shard.snapshot import Snapshot


class JsonlKeys:
    """A key source: each call of ``databases`` or ``read`` reads the files anew, as they are then."""

    expiry_slack_ms = 1

    def __init__(self, directory: str | Path) -> None:
        self._directory = Path(directory)
        self._store = MemorySink()

    def databases(self) -> list[int]:
        self._store = replayed(self._directory)
        return self._store.databases

    def pages(self, db: int) -> Iterator[dict[bytes, Entry]]:
        yield self._store.keyspace(db)

    def read(self, db: int, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        self._store = replayed(self._directory)
        keyspace = self._store.keyspace(db)
        return {key: keyspace[key] for key in keys if key in keyspace}


def replayed(directory: Path) -> MemorySink:
    """A store with what the newest generation in ``directory`` says. Raises :class:`Failure` for lines of no sense."""
    store = MemorySink()
    generations = sorted(path for path in directory.glob("generation-*") if path.name[11:].isdigit())
    if not generations:
        return store
    entries = [_entry(line) for line in _lines(generations[-1], "snapshot") if "snapshot" not in line]
    if entries:
        store.load(Snapshot("kevysnap", 0, 0, len(entries), 0, deque(entries)))
    # Of two lines with one offset the later is the valid one: the earlier was written before a crash.
    changes = {line["offset"]: line for line in _lines(generations[-1], "changes")}
    db = 0
    for offset in sorted(changes):
        line = changes[offset]
        if line["db"] != db:
            db = line["db"]
            store.apply(offset, [b"SELECT", b"%d" % db])
        store.apply(offset, [_bytes(item) for item in line["argv"]])
    return store


def _lines(directory: Path, stem: str) -> Iterator[dict[str, Any]]:
    for path in sorted(directory.glob(f"{stem}-*.jsonl")):
        with path.open("rb") as file:
            for raw in file:
                if not raw.endswith(b"\n"):
                    break  # a line on its way
                try:
                    yield json.loads(raw)
                except ValueError:
                    raise Failure(f"{path} holds a line that is no JSON") from None


def _entry(line: dict[str, Any]) -> Entry:
    return Entry(
        _bytes(line["key"]), line["type"], _value(line["type"], line["value"]), line["expires_at_ms"], line["db"]
    )


def _value(kind: str, value: Any) -> Any:
    if kind == "string":
        return _bytes(value)
    if kind == "hash":
        return dict(_pairs(value))
    if kind == "zset":
        return {_bytes(member): float(score) for member, score in value}
    if kind == "stream":
        return _stream(value)
    elements = [_bytes(element) for element in value]
    return set(elements) if kind == "set" else elements


def _stream(value: dict[str, Any]) -> Stream:
    return Stream(
        _id(value["last_id"]),
        _id(value["max_deleted_id"]),
        value["entries_added"],
        [(*_id(name), _pairs(fields)) for name, fields in value["entries"]],
        [
            StreamGroup(
                _bytes(group["name"]),
                _id(group["last_id"]),
                [(_bytes(name), seen_ms) for name, seen_ms in group["consumers"]],
                [(*_id(name), _bytes(consumer), at, times) for name, consumer, at, times in group["pending"]],
            )
            for group in value["groups"]
        ],
    )


def _pairs(pairs: list[list[Any]]) -> list[tuple[bytes, bytes]]:
    return [(_bytes(name), _bytes(value)) for name, value in pairs]


def _bytes(item: Any) -> bytes:
    return base64.b64decode(item["base64"]) if isinstance(item, dict) else str(item).encode()


def _id(name: str) -> tuple[int, int]:
    ms, _, seq = name.partition("-")
    return int(ms), int(seq)
