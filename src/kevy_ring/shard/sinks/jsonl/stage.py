"""A snapshot that still arrives at a jsonl sink: a directory of its own until it is whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard.sinks.jsonl.generations import PARTIAL, path_of
from kevy_ring.shard.sinks.jsonl.line import end_line, entry_line, skipped_lines
from kevy_ring.shard.sinks.jsonl.rotation import Rotation
from kevy_ring.shard.snapshot import Snapshot


class JsonlStage:
    """Writes the files of ``generation``. ``adopt`` makes their directory the current generation, in one step."""

    def __init__(
        self,
        directory: Path,
        generation: int,
        *,
        rotate_bytes: int,
        file_mode: int,
        adopt: Callable[[Path, int, Snapshot], None],
    ) -> None:
        self._generation = generation
        self._adopt = adopt
        self._path = path_of(directory, generation).with_name(f"generation-{generation:06}{PARTIAL}")
        self._files: Rotation | None = Rotation(self._path, "snapshot", rotate_bytes, file_mode)

    def add(self, entries: list[Entry]) -> None:
        assert self._files is not None
        self._files.append(b"".join(map(entry_line, entries)))

    def commit(self, snapshot: Snapshot) -> None:
        assert self._files is not None
        self._files.append(b"".join([*skipped_lines(snapshot.left_out), end_line(snapshot)]))
        self._files.flush()
        self._files.close()
        self._adopt(self._path, self._generation, snapshot)
        self._files = None

    def abort(self) -> None:
        if self._files is not None:
            self._files.close()
            self._files = None
        shutil.rmtree(self._path, ignore_errors=True)
