"""The check of a sink after torture: its change log has every offset once and in order, and its keys are equal."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kevy_ring.cli.compare.jsonl_keys import JsonlKeys
from torture_upstream import Keys, TorturedUpstream, comparable_keys

Change = tuple[int, list[bytes]]


def changes_of(kind: str, path: Path) -> Iterator[Change]:
    """The change log since the last snapshot, in its order."""
    return _jsonl_changes(path) if kind == "jsonl" else _sqlite_changes(path)


def snapshot_offset_of(kind: str, path: Path) -> int | None:
    """The offset of the last snapshot. None: there was no snapshot."""
    if kind == "jsonl":
        for file in sorted(_generation(path).glob("snapshot-*.jsonl"), reverse=True):
            last = file.read_bytes().splitlines()[-1]
            return int(json.loads(last)["ack_offset"])
    return None


def keys_of(kind: str, path: Path) -> Keys:
    """The keys that the sink's content gives."""
    if kind == "jsonl":
        source: Any = JsonlKeys(path)
    else:
        from kevy_ring.cli.compare.sqlite_keys import SqliteKeys

        source = SqliteKeys(path)
    found: Keys = {}
    for db in source.databases():
        for page in source.pages(db):
            found.update(comparable_keys([(db, page)]))
    return found


class Ledger:
    """The verdict on one sink: ``events`` in its log, and texts for each event ``lost``, ``doubled`` or ``torn``."""

    def __init__(self, upstream: TorturedUpstream, kind: str, path: Path) -> None:
        self.events = self.lost = self.doubled = self.torn = 0
        self.words: list[str] = []
        before: int | None = None
        try:
            for offset, argv in changes_of(kind, path):
                self._next(upstream, before, offset, argv)
                before = offset
        except (ValueError, KeyError, sqlite3.DatabaseError) as error:
            self._note("torn", f"the log cannot be read: {error}")
        final = upstream.final_offset()
        if before is not None and before != final:
            self._note("lost", f"the log ends at {before}, the upstream at {final}")
        self._compare(upstream.keys([0]), keys_of(kind, path))

    @property
    def is_good(self) -> bool:
        """True when nothing is wrong."""
        return not (self.lost or self.doubled or self.torn)

    def _next(self, upstream: TorturedUpstream, before: int | None, offset: int, argv: list[bytes]) -> None:
        self.events += 1
        if before is None:
            return
        if offset <= before:
            self._note("doubled", f"offset {offset} after {before}")
        elif gap := upstream.gap(before, offset, argv):
            self._note("lost", gap)

    def _compare(self, theirs: Keys, ours: Keys) -> None:
        for key in theirs.keys() | ours.keys():
            if theirs.get(key) != ours.get(key):
                self._note("torn", f"key {key}: upstream {theirs.get(key)!r:.80}, here {ours.get(key)!r:.80}")

    def _note(self, what: str, words: str) -> None:
        setattr(self, what, getattr(self, what) + 1)
        if len(self.words) < 10:
            self.words.append(f"{what}: {words}")


def _generation(path: Path) -> Path:
    return sorted(found for found in path.glob("generation-*") if found.name[11:].isdigit())[-1]


def _jsonl_changes(path: Path) -> Iterator[Change]:
    for file in sorted(_generation(path).glob("changes-*.jsonl")):
        for line in file.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                raise ValueError(f"{file.name} ends in {line[-40:]!r}")
            change = json.loads(line)
            yield change["offset"], [_bytes(item) for item in change["argv"]]


def _sqlite_changes(path: Path) -> Iterator[Change]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        if (found := database.execute("PRAGMA integrity_check").fetchone()) != ("ok",):
            raise ValueError(f"integrity: {found}")
        for offset, argv in database.execute("SELECT offset, argv FROM changes ORDER BY rowid"):
            yield offset, [_bytes(item) for item in json.loads(argv)]


def _bytes(item: Any) -> bytes:
    return base64.b64decode(item["base64"]) if isinstance(item, dict) else str(item).encode()
