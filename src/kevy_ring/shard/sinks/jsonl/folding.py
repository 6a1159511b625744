"""Removes what a jsonl sink need not keep: old generations, and old changes of the current one by a fold."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from kevy_ring.shard.disk_error import disk_error
from kevy_ring.shard.sinks.jsonl.generations import (
    PARTIAL,
    generations_in,
    path_of,
    remove_generation,
    size_of,
)
from kevy_ring.shard.sinks.jsonl.line_file import sync_directory
from kevy_ring.shard.sinks.jsonl.rotation import CHANGES, SNAPSHOT, numbered
from kevy_ring.shard.sinks.retention import RemovalLog, Retention

_log = logging.getLogger(__name__)

#: How often the sink looks whether there is something to remove.
LOOK_EVERY_S = 1.0
#: After a fold that failed, the next one waits this long.
_FAILED_PAUSE_S = 600.0
#: A log with a limit is cut into so many files, because whole files are folded.
FILES_PER_LIMIT = 8
_LEAST_ROTATE_BYTES = 4096


def rotate_limits(retention: Retention, rotate_bytes: int) -> tuple[int, float | None]:
    """(bytes, seconds) after which a file of changes is full, so that old files hold old changes only."""
    if retention.max_bytes:
        rotate_bytes = min(rotate_bytes, max(_LEAST_ROTATE_BYTES, retention.max_bytes // FILES_PER_LIMIT))
    age_s = retention.max_age_s
    return rotate_bytes, None if age_s is None else age_s / FILES_PER_LIMIT


class Folding:
    """Keeps the directory of one sink within ``retention`` and ``keep_generations`` (None: all are kept)."""

    def __init__(
        self, directory: Path, retention: Retention, keep_generations: int | None, *, rotate_bytes: int, file_mode: int
    ) -> None:
        self.removed = RemovalLog(f"jsonl:{directory}", retention)
        self._directory = directory
        self._retention = retention
        self._keep = keep_generations
        self._rotate_bytes = rotate_bytes
        self._file_mode = file_mode
        self._process: subprocess.Popen[bytes] | None = None
        self._to = directory
        self._upto = 0
        self._facts: dict[str, Any] = {}
        self._begun_at = 0.0
        self._next_at = float("-inf")
        self._looked_at = float("-inf")

    def is_due(self) -> bool:
        """Whether it is time to look. Cheap: the sink asks at each commit."""
        return not self._retention.is_forever and time.monotonic() - self._looked_at >= LOOK_EVERY_S

    def remove_old_generations(self, current: int) -> None:
        """Remove the oldest generations: all but ``keep_generations``; without that, by the retention of changes.

        Raises SinkError.
        """
        self._looked_at = time.monotonic()
        if self._keep is None and self._retention.is_forever:
            return
        try:
            older = [number for number in generations_in(self._directory) if number < current]
            sizes = {number: size_of(path_of(self._directory, number)) for number in (*older, current)}
        except FileNotFoundError:
            return  # the current one has no directory yet
        except OSError as error:
            raise disk_error(f"jsonl:{self._directory}", error) from error
        total = sum(size.size_bytes for size in sizes.values())
        for place, number in enumerate(older):
            size = sizes[number]
            if self._keep is not None:
                is_due = place < len(older) + 1 - self._keep
            else:
                is_due = self._is_too_old(size.written_s) or self._is_too_large(total)
            if not is_due:
                return
            remove_generation(self._directory, number)
            total -= size.size_bytes
            _log.warning(
                "jsonl:%s: removed generation %d (%d bytes of changes)", self._directory, number, size.size_bytes
            )

    def look(self, current: int, writing: int | None) -> None:
        """Start a fold if changes are due.

        ``writing``: the number of the file of changes that is written now; None: no file is.
        """
        if self._retention.is_forever or self._process is not None or time.monotonic() < self._next_at:
            return
        generation = path_of(self._directory, current)
        upto = self._due_upto(generation, writing)
        if upto is None:
            return
        self._upto = upto
        self._to = generation.with_name(f"generation-{current + 1:06}-{os.getpid()}{PARTIAL}")
        orders = {
            **{"generation": str(generation), "upto": upto, "to": str(self._to), "folded_from": current},
            **{"rotate_bytes": self._rotate_bytes, "file_mode": self._file_mode},
        }
        self._begun_at = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kevy_ring.shard.sinks.jsonl.fold", json.dumps(orders)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    def result(self, current: int) -> Path | None:
        """The directory of the next generation, whole but without the later files of changes; None: there is none yet.

        Links those files into it. The caller has flushed the one that is written now. Raises SinkError.
        """
        process = self._process
        if process is None or process.poll() is None:
            return None
        output = self._end(process)
        if self._retention.max_age_s is not None:
            # About as often as a file becomes too old. A fold takes all that is due, so it keeps up with any rate.
            self._next_at = self._begun_at + self._retention.max_age_s / FILES_PER_LIMIT
        if process.returncode:
            self._next_at = time.monotonic() + _FAILED_PAUSE_S
            words = output.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
            _log.warning("jsonl:%s: no change was removed: %s", self._directory, words[0])
            shutil.rmtree(self._to, ignore_errors=True)
            return None
        self._facts = json.loads(output.splitlines()[-1])
        try:
            for number, path in numbered(path_of(self._directory, current), CHANGES).items():
                if number > self._upto:
                    os.link(path, self._to / path.name)
            sync_directory(self._to)
        except OSError as error:
            shutil.rmtree(self._to, ignore_errors=True)
            raise disk_error(f"jsonl:{self._to}", error) from error
        return self._to

    def folded(self, before: int) -> None:
        """The result has become the current generation: remove the one that it was folded from. Raises SinkError."""
        old = path_of(self._directory, before)
        size = sum(path.stat().st_size for number, path in numbered(old, CHANGES).items() if number <= self._upto)
        remove_generation(self._directory, before)
        self.removed.note(self._facts["changes"], size, self._facts["upto"])

    def cancel(self) -> None:
        """End a fold that runs, and forget what it wrote."""
        process = self._process
        if process is not None:
            process.kill()
            self._end(process)
            shutil.rmtree(self._to, ignore_errors=True)

    def _end(self, process: subprocess.Popen[bytes]) -> bytes:
        self._process = None
        output, _ = process.communicate()
        return output

    def _due_upto(self, generation: Path, writing: int | None) -> int | None:
        try:
            files = [(number, path.stat()) for number, path in numbered(generation, CHANGES).items()]
        except FileNotFoundError:
            return None
        left = sum(facts.st_size for _, facts in files)
        limit = self._retention.max_bytes
        if limit and left <= limit:
            return None
        upto, due = None, 0
        for number, facts in files:
            if writing is not None and number >= writing:
                break
            # Of a log with a limit, half is folded, so that the next fold has something to do.
            if not (self._is_too_old(facts.st_mtime) or (limit is not None and left > limit // 2)):
                break
            upto, left, due = number, left - facts.st_size, due + facts.st_size
        # A fold reads and writes the snapshot too. With this it costs a constant for each byte of changes.
        is_worth_it = not self._retention.is_off or 2 * due >= _snapshot_bytes(generation)
        return upto if is_worth_it else None

    def _is_too_old(self, written_s: float) -> bool:
        age_s = self._retention.max_age_s
        return age_s is not None and written_s < time.time() - age_s

    def _is_too_large(self, total: int) -> bool:
        return self._retention.max_bytes is not None and total > self._retention.max_bytes


def _snapshot_bytes(generation: Path) -> int:
    return sum(path.stat().st_size for path in numbered(generation, SNAPSHOT).values())
