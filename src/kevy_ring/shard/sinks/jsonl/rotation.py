"""The numbered files of a generation."""

from __future__ import annotations

import re
import time
from pathlib import Path

from kevy_ring.shard.disk_error import disk_error
from kevy_ring.shard.sinks.file_modes import make_directories
from kevy_ring.shard.sinks.jsonl.line_file import LineFile, sync_directory

CHANGES = re.compile(r"changes-(\d{6,})\.jsonl")
SNAPSHOT = re.compile(r"snapshot-(\d{6,})\.jsonl")


def numbered(directory: Path, name: re.Pattern[str]) -> dict[int, Path]:
    """The files of one kind in a generation by their number, in order. Raises OSError."""
    found = {int(match[1]): path for path in directory.iterdir() if (match := name.fullmatch(path.name))}
    return {number: found[number] for number in sorted(found)}


class Rotation:
    """Numbered files in one directory. When one is full, the next one is begun.

    ``rotate_age_s``: a file is full after this long too, if it has a line; None: only by its size.
    """

    def __init__(
        self,
        directory: Path,
        stem: str,
        rotate_bytes: int,
        file_mode: int,
        *,
        rotate_age_s: float | None = None,
    ) -> None:
        self._directory = directory
        self._stem = stem
        self._rotate_bytes = rotate_bytes
        self._rotate_age_s = rotate_age_s
        self._file_mode = file_mode
        try:
            make_directories(directory, file_mode)
            sync_directory(directory.parent)
            #: The number of the file that is written now.
            self.number = max(numbered(directory, CHANGES), default=0)
        except OSError as error:
            raise disk_error(f"jsonl:{directory}", error) from error
        self._file = self._next()

    def append(self, lines: bytes) -> None:
        self.rotate()
        self._file.append(lines)

    def rotate(self) -> None:
        """Begin the next file if this one is full."""
        is_old = self._rotate_age_s is not None and time.monotonic() - self._begun_at >= self._rotate_age_s
        if self._file.size_bytes >= self._rotate_bytes or (is_old and self._file.size_bytes):
            self._file.flush()
            full, self._file = self._file, self._next()
            full.close()

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def moved(self, directory: Path) -> None:
        """The directory has another name now."""
        self._directory = directory
        self._file.path = directory / self._file.path.name

    def _next(self) -> LineFile:
        self.number += 1
        self._begun_at = time.monotonic()
        return LineFile(self._directory / f"{self._stem}-{self.number:06}.jsonl", file_mode=self._file_mode)
