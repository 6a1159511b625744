"""Where the records of a round go: nowhere (timed), or into a digest (checked)."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from bench.measured import WrongAnswer

PAGE_BYTES = 4096


class Sink:
    """Takes records one by one (``take``), many at a time (``extend``), as columns of one buffer, or as chunks.

    This one drops them, at the cost of one call of C for each: what a program does with a record costs at least that.
    Of a chunk it reads one byte in each page, or copies the whole into memory of its own (``whole_bytes`` of it).
    """

    def __init__(self, whole_bytes: int = 0) -> None:
        nowhere: deque[Any] = deque(maxlen=0)
        self.take: Callable[[Any], None] = nowhere.append
        self.extend: Callable[[Iterable[Any]], None] = nowhere.extend
        self.chunk: Callable[[Any], None] = self._copy if whole_bytes else self._touch
        self._own = bytearray(whole_bytes)

    def columns(self, packed: Any, starts: Any, lengths: Any) -> None:
        """Take records that lie in one buffer."""

    def _touch(self, view: Any) -> None:
        bytes(memoryview(view)[::PAGE_BYTES])

    def _copy(self, view: Any) -> None:
        self._own[:] = view

    def verify(self, records: list[bytes], repeats: int) -> None:
        """Raise :class:`WrongAnswer` if these were not the records."""


class DigestSink(Sink):
    """Looks at every byte of every record, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.take = self.chunk = self._take
        self.extend = self._extend
        self._digest = hashlib.blake2b()
        self._count = 0

    def _take(self, record: Any) -> None:
        self._count += 1
        self._digest.update(len(record).to_bytes(4, "little"))
        self._digest.update(record)

    def _extend(self, records: Iterable[Any]) -> None:
        for record in records:
            self._take(record)

    def columns(self, packed: Any, starts: Any, lengths: Any) -> None:
        """Take records that lie in one buffer."""
        with memoryview(packed) as view:
            for start, length in zip(map(int, starts), map(int, lengths), strict=True):
                with view[start : start + length] as record:
                    self._take(record)

    def verify(self, records: list[bytes], repeats: int) -> None:
        """Raise :class:`WrongAnswer` if these were not the records."""
        wanted = DigestSink()
        for _ in range(repeats):
            wanted.extend(records)
        if self._count != wanted._count:
            raise WrongAnswer(f"{self._count} records arrived, {wanted._count} were sent")
        if self._digest.digest() != wanted._digest.digest():
            raise WrongAnswer(f"all {self._count} records arrived, but not as they were sent")
