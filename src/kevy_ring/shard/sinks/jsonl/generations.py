"""The generations in the directory of a jsonl sink, and the removal of old ones.

A generation is removed in two steps: it gets another name, which makes it no generation any more, and then its files
are deleted. A process that is killed in between leaves the other name, and the next one ends the removal. Files that
the sink did not write stay, with their directory.
"""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from kevy_ring.shard.disk_error import disk_error
from kevy_ring.shard.sinks.jsonl.line_file import sync_directory
from kevy_ring.shard.sinks.jsonl.passed import POSITION
from kevy_ring.shard.sinks.jsonl.rotation import CHANGES, SNAPSHOT, numbered

_log = logging.getLogger(__name__)
GENERATION = re.compile(r"generation-(\d{6,})")
#: The end of the name of a snapshot that still arrives, or of a fold that still runs.
PARTIAL = ".partial"
_REMOVED = ".removed"


class Size(NamedTuple):
    """The files of changes of a generation: how many, their bytes, and when the last of them was written."""

    files: int
    size_bytes: int
    written_s: float


def path_of(directory: Path, generation: int) -> Path:
    """The directory of a generation."""
    return directory / f"generation-{generation:06}"


def generations_in(directory: Path) -> list[int]:
    """The numbers of the generations, in order. Raises OSError."""
    found = [int(match[1]) for path in directory.iterdir() if (match := GENERATION.fullmatch(path.name))]
    return sorted(found)


def size_of(generation: Path) -> Size:
    """The size of the changes. Raises OSError."""
    facts = [path.stat() for path in numbered(generation, CHANGES).values()]
    written = max((fact.st_mtime for fact in facts), default=generation.stat().st_mtime)
    return Size(len(facts), sum(fact.st_size for fact in facts), written)


def remove_generation(directory: Path, generation: int) -> None:
    """Remove a generation that is not the current one. Raises SinkError."""
    path = path_of(directory, generation)
    if path.is_symlink():
        return  # this sink makes none
    gone = path.with_name(path.name + _REMOVED)
    try:
        path.rename(gone)
        sync_directory(directory)
        _delete(gone)
    except OSError as error:
        raise disk_error(f"jsonl:{path}", error) from error


def finish_removals(directory: Path) -> None:
    """Delete the rest of what a killed process was removing. Raises OSError."""
    for path in directory.glob(f"generation-*{_REMOVED}"):
        if GENERATION.fullmatch(path.name.removesuffix(_REMOVED)) and not path.is_symlink():
            _delete(path)


def _delete(path: Path) -> None:
    written = [*numbered(path, CHANGES).values(), *numbered(path, SNAPSHOT).values(), path / POSITION]
    for file in written:
        if not file.is_dir():
            file.unlink(missing_ok=True)
    left = sorted(each.name for each in path.iterdir())
    if left:
        _log.warning("jsonl:%s stays: it holds files of others (%s)", path, ", ".join(left[:5]))
        return
    with suppress(FileNotFoundError):
        path.rmdir()
