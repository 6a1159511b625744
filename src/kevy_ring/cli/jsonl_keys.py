"""The keys that the files of the jsonl sink stand for: read back, and applied to a store in memory."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kevy_ring.cli.failure import Failure
from kevy_ring.replica.entry import Entry
from kevy_ring.shard.sinks.jsonl_line import argv_of, entry_of, skipped_of
from kevy_ring.shard.sinks.memory import MemorySink
from kevy_ring.shard.snapshot import LeftOut, SkippedKey, Snapshot


class JsonlKeys:
    """A key source: each call of ``databases`` or ``read`` reads the files anew, as they are then."""

    expiry_slack_ms = 1

    def __init__(self, directory: str | Path) -> None:
        self._directory = Path(directory)
        self._store = MemorySink()

    def databases(self) -> list[int]:
        self._store = replayed(self._directory)
        return self._store.databases

    def skipped(self) -> list[SkippedKey]:
        """The keys that the snapshot skipped, and that were neither deleted nor rewritten since."""
        return self._store.skipped_keys

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
    lines = list(_lines(generations[-1], "snapshot"))
    entries = [entry_of(line) for line in lines if "snapshot" not in line]
    skipped = [skipped_of(line) for line in lines if line.get("snapshot") == "skipped"]
    if entries or skipped:
        left_out = LeftOut(keys=tuple(skipped))
        store.load(Snapshot("kevysnap", 0, 0, len(entries), len(skipped), deque(entries), left_out))
    db = 0
    for line in _lines(generations[-1], "changes"):
        if line["db"] != db:
            db = line["db"]
            store.apply(line["offset"], [b"SELECT", b"%d" % db])
        store.apply(line["offset"], argv_of(line["argv"]))
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
