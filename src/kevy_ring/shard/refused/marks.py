"""What was replayed of a file of dead letters: a file beside it, with a line before and after each attempt."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

from kevy_ring.errors import SinkError
from kevy_ring.shard.disk_error import disk_error
from kevy_ring.shard.refused.letter import DeadLetter, letter_of
from kevy_ring.shard.sinks.file_modes import create
from kevy_ring.shard.write_all import write_all


class ReplayMark(Enum):
    """The last that is known of a letter. BEGUN without a later mark: the replay ended while the sink took it."""

    BEGUN = "begun"
    DONE = "done"
    FAILED = "failed"


class ReplayMarks:
    """The marks of the letters in the file at ``path``, kept in ``path`` + ``.replayed``.

    Every method raises SinkError if the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f"{path.name}.replayed")
        self._marks: dict[str, ReplayMark] = {}
        try:
            self._fd = create(self.path, os.O_RDWR | os.O_APPEND, 0o600)
            with os.fdopen(os.dup(self._fd), "rb") as file:
                content = file.read()
            if content and not content.endswith(b"\n"):
                os.write(self._fd, b"\n")  # a killed replay left a torn line
        except OSError as error:
            raise disk_error(f"replay:{self.path}", error) from error
        for line in content.splitlines():
            try:
                found = json.loads(line)
                self._marks[found["id"]] = ReplayMark(found["mark"])
            except (ValueError, LookupError, TypeError):
                continue  # torn: nothing was begun after it was written

    def of(self, letter: DeadLetter) -> ReplayMark | None:
        """The mark of a letter; None: it was not tried yet."""
        return self._marks.get(letter.id)

    def put(self, letter: DeadLetter, mark: ReplayMark, detail: str = "") -> None:
        """Set the mark of a letter, and return when it is on the disk."""
        content = {"id": letter.id, "mark": mark.value, "at_ms": time.time_ns() // 1_000_000, "detail": detail}
        try:
            write_all(self._fd, json.dumps(content).encode() + b"\n")
            os.fsync(self._fd)
        except OSError as error:
            raise disk_error(f"replay:{self.path}", error) from error
        self._marks[letter.id] = mark

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


@contextmanager
def letters_in(path: Path) -> Iterator[tuple[list[DeadLetter], int]]:
    """The letters of a file, each once and in order, and the number of torn lines. No run writes to it meanwhile.

    Raises SinkError: ``"locked"`` while a run that may write to it is alive, ``"refused"`` for a line of another form.
    """
    name = f"dead-letter:{path}"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise disk_error(name, error) from error
    with os.fdopen(fd, "rb") as file:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            detail = "a run with --on-error dead-letter, or another replay, has it open. End that first"
            raise SinkError(name, reason="locked", detail=detail) from None
        letters: dict[str, DeadLetter] = {}
        torn = 0
        for number, line in enumerate(file, 1):
            try:
                letter = letter_of(line)
            except (ValueError, RecursionError) as error:
                # A killed shard may have left part of a line. The shard that came next wrote the whole event again.
                if line.startswith(b'{"id":"') or line == b"\n":
                    torn += 1
                    continue
                raise SinkError(name, reason="refused", detail=f"line {number} is no dead letter: {error}") from None
            letters.setdefault(letter.id, letter)
        yield list(letters.values()), torn
