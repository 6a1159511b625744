"""The keys in the files of a jsonl sink: this reads the files and applies them to a store in memory."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from kevy_ring.cli.failure import Failure
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard.sinks.jsonl.line import entry_of, replayed_change_of, skipped_of
from kevy_ring.shard.sinks.memory import MemorySink
from kevy_ring.shard.snapshot import LeftOut, SkippedKey, Snapshot

Parsed = TypeVar("Parsed")
#: A sink with --changes may replace the newest generation while it is read.
_ATTEMPTS = 5


class JsonlKeys:
    """A key source. Each call of ``databases`` or ``read`` reads the current files again."""

    expiry_slack_ms = 1

    def __init__(self, directory: str | Path) -> None:
        self._directory = Path(directory)
        self._store = MemorySink()

    def databases(self) -> list[int]:
        self._store = replayed(self._directory)
        return self._store.databases

    def skipped(self) -> list[SkippedKey]:
        """The keys that the snapshot skipped and that were not deleted or rewritten since."""
        return self._store.skipped_keys

    def pages(self, db: int) -> Iterator[dict[bytes, Entry]]:
        yield self._store.keyspace(db)

    def read(self, db: int, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        self._store = replayed(self._directory)
        keyspace = self._store.keyspace(db)
        return {key: keyspace[key] for key in keys if key in keyspace}


def replayed(directory: Path) -> MemorySink:
    """A store with the newest generation in ``directory``. Raises :class:`Failure` for a foreign line."""
    for _ in range(_ATTEMPTS):
        with suppress(FileNotFoundError):
            return _replayed(directory)
    raise Failure(f"{directory}: its files were removed while they were read")


def _replayed(directory: Path) -> MemorySink:
    store = MemorySink()
    generations = sorted(path for path in directory.glob("generation-*") if path.name[11:].isdigit())
    if not generations:
        return store
    found = [each for each in _parsed(generations[-1], "snapshot", _entry_or_skipped) if each is not None]
    entries = [each for each in found if isinstance(each, Entry)]
    skipped = tuple(each for each in found if isinstance(each, SkippedKey))
    if found:
        store.load(Snapshot("kevysnap", 0, 0, len(entries), len(skipped), deque(entries), LeftOut(keys=skipped)))
    selected = 0
    for offset, db, argv in _parsed(generations[-1], "changes", replayed_change_of):
        if db != selected:
            selected = db
            store.apply(offset, [b"SELECT", b"%d" % db])
        store.apply(offset, argv)
    return store


def _entry_or_skipped(line: dict[str, Any]) -> Entry | SkippedKey | None:
    if "snapshot" not in line:
        return entry_of(line)
    return skipped_of(line) if line["snapshot"] == "skipped" else None


def _parsed(directory: Path, stem: str, parse: Callable[[dict[str, Any]], Parsed]) -> Iterator[Parsed]:
    for path in sorted(directory.glob(f"{stem}-*.jsonl")):
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                if not raw.endswith(b"\n"):
                    break  # the sink is writing this line
                try:
                    yield parse(json.loads(raw))
                except (ValueError, TypeError, AttributeError, RecursionError) as error:
                    raise Failure(f"{path}, line {number}: not written by this sink ({error})") from None
