"""Folds the oldest changes of a generation into its snapshot, in a process of its own.

The state of a jsonl sink is its snapshot and the changes since. So old changes can go only when a new snapshot has
their effect. This process reads the snapshot and the files of changes up to a number, runs the commands in a store in
memory, and writes the keys as the snapshot of the next generation. It touches no other file. The sink then links the
remaining files of changes into that generation, and gives it its name in one step.

A command that the store cannot run ends the fold: then nothing is removed, because a change would be lost.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kevy_ring.errors import KevyRingError, SinkError
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard.sinks.jsonl.line import (
    change_of,
    end_line,
    entry_line,
    entry_of,
    is_kept_type,
    replayed_change_of,
    skipped_lines,
    skipped_of,
)
from kevy_ring.shard.sinks.jsonl.line_file import LineFile, sync_directory
from kevy_ring.shard.sinks.jsonl.rotation import CHANGES, SNAPSHOT, Rotation, numbered
from kevy_ring.shard.sinks.skipped_keys import OnSkippedKey, SkippedKeys
from kevy_ring.shard.sinks.store.shortcut_probe import usable_shortcuts
from kevy_ring.shard.sinks.store.tracked_store import TrackedStore
from kevy_ring.shard.snapshot import LeftOut, SkippedKey, Snapshot

_GROUP_LINES = 1000
#: The fold runs beside the shard, which must not wait for a processor.
_NICE = 10
_STDOUT = 1


class Fold:
    """The state of a generation after its files of changes up to number ``upto``."""

    def __init__(self, generation: Path, upto: int) -> None:
        self._name = f"jsonl:{generation}"
        self._store = TrackedStore(usable_shortcuts())
        self._offset: int | None = None
        self._db = 0
        self._count = 0
        #: The lines of a transaction that is open at the end. They stay lines.
        self._open: list[bytes] = []
        #: Remarks of the snapshot that are no keys.
        self._remarks: list[bytes] = []
        self._read_snapshot(generation)
        for number, path in numbered(generation, CHANGES).items():
            if number <= upto:
                for line, content in self._lines(path):
                    self._run(line, content)

    def write(self, to: Path, *, upto: int, folded_from: int, rotate_bytes: int, file_mode: int) -> None:
        """Write the snapshot, and the lines of an open transaction, into the directory ``to``."""
        if self._offset is None:
            raise SinkError(self._name, reason="refused", detail="there is no change to fold")
        files = Rotation(to, "snapshot", rotate_bytes, file_mode)
        group: list[bytes] = []
        count = 0
        for entry in self._entries():
            group.append(entry_line(entry))
            count += 1
            if len(group) >= _GROUP_LINES:
                files.append(b"".join(group))
                group.clear()
        marks = tuple(self._store.skipped.listed())
        snapshot = Snapshot("rdb", self._offset, 0, count, len(marks), left_out=LeftOut(keys=marks))
        end = end_line(snapshot, db=self._db, folded_from=folded_from)
        files.append(b"".join([*group, *skipped_lines(snapshot.left_out), *self._remarks, end]))
        files.flush()
        files.close()
        if self._open:
            lines = LineFile(to / f"changes-{upto:06}.jsonl", file_mode=file_mode)
            lines.append(b"".join(self._open))
            lines.flush()
            lines.close()
        sync_directory(to)

    @property
    def facts(self) -> dict[str, int | None]:
        """How many changes the snapshot has now, and the offset of the last one."""
        return {"changes": self._count - len(self._open), "upto": self._offset}

    def _read_snapshot(self, generation: Path) -> None:
        skipped: list[SkippedKey] = []
        for path in numbered(generation, SNAPSHOT).values():
            for line, content in self._lines(path):
                if "snapshot" not in content:
                    self._store.put(entry_of(content))
                elif content["snapshot"] == "skipped":
                    skipped.append(skipped_of(content))
                elif content["snapshot"] == "end":
                    self._db = content.get("db", 0)
                    snapshot = Snapshot(content["format"], content["ack_offset"], 0, 0)
                    self._offset = snapshot.applied_offset
                else:
                    self._remarks.append(line)
        self._store.select(self._db)
        self._store.skipped = SkippedKeys(skipped, self._db)

    def _run(self, line: bytes, content: dict[str, Any]) -> None:
        self._count += 1
        offset, _, _ = change_of(content)
        _, db, argv = replayed_change_of(content)
        if not self._store.in_transaction and db != self._store.selected:
            self._store.select(db)
        self._store.set_clock()
        refused = self._store.run(argv)
        if refused is not None and not isinstance(refused, OnSkippedKey):
            detail = f"the store cannot run the change at offset {offset} ({argv[0]!r}): {refused}"
            raise SinkError(self._name, reason="refused", detail=detail)
        if self._store.in_transaction:
            self._open.append(line)
        else:
            self._open.clear()
            self._offset, self._db = offset, db

    def _entries(self) -> Iterator[Entry]:
        for number in sorted(self._store.server.dbs):
            for key in self._store.keys(number):
                entry = self._store.entry(number, key)
                assert entry is not None
                if not is_kept_type(entry):
                    detail = f"key {key!r} is of type {entry.type}, which has no form in JSON here"
                    raise SinkError(self._name, reason="refused", detail=detail)
                yield entry

    def _lines(self, path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield line, json.loads(line)
                except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
                    detail = f"{path}, line {number}: not written by this sink ({error})"
                    raise SinkError(self._name, reason="refused", detail=detail) from None


def main(arguments: list[str]) -> int:
    """Fold with the arguments of :class:`Folding`. Writes its facts to standard output, or why it could not."""
    os.nice(_NICE)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    orders = json.loads(arguments[0])
    try:
        fold = Fold(Path(orders["generation"]), orders["upto"])
        fold.write(
            Path(orders["to"]),
            upto=orders["upto"],
            folded_from=orders["folded_from"],
            rotate_bytes=orders["rotate_bytes"],
            file_mode=orders["file_mode"],
        )
    except (KevyRingError, OSError, ValueError, LookupError, MemoryError) as error:
        os.write(_STDOUT, (str(error) or type(error).__name__).encode("utf-8", "replace"))
        return 1
    os.write(_STDOUT, json.dumps(fold.facts).encode())
    return 0


def _end_with_parent() -> None:
    """The parent holds the other end of standard input. Without the parent the fold has no use."""
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
