"""A transport: one rival's way from one process to another, and the loops that rivals share."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.metadata
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from bench.measure import WrongAnswer

PAGE_BYTES = 4096
BATCH_RECORDS = 512
Records = Sequence[bytes]


class Sink:
    """Takes records one by one (``take``), many at a time (``extend``), as columns of one buffer, or as chunks.

    This one drops them, at the cost of one C call for each: the least that a program pays for a record. It reads one
    byte in each page of a chunk, or copies the whole chunk into its own memory (``whole_bytes``).
    """

    is_checking = False

    def __init__(self, whole_bytes: int = 0) -> None:
        dropped: deque[Any] = deque(maxlen=0)
        self.take: Callable[[Any], None] = dropped.append
        self.extend: Callable[[Iterable[Any]], None] = dropped.extend
        self.chunk: Callable[[Any], None] = self._copy if whole_bytes else self._touch
        self._own = bytearray(whole_bytes)

    def columns(self, packed: Any, starts: Any, lengths: Any) -> None:
        """Take records that are in one buffer."""

    def _touch(self, view: Any) -> None:
        bytes(memoryview(view)[::PAGE_BYTES])

    def _copy(self, view: Any) -> None:
        self._own[:] = view

    def verify(self, records: list[bytes], repeats: int) -> None:
        """Raise :class:`WrongAnswer` if these were not the records."""


class DigestSink(Sink):
    """Looks at every byte of every record, in order."""

    is_checking = True

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
        """Take records that are in one buffer."""
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


def retried(make: Callable[[], Any]) -> Any:
    """What ``make`` returns. For five seconds errors are taken for "the other side has not opened yet"."""
    for _ in range(500):
        with contextlib.suppress(Exception):
            return make()
        time.sleep(0.01)
    return make()


def batches_of(records: Records, size: int = BATCH_RECORDS) -> list[list[bytes]]:
    """The records in lists of at most ``size``."""
    return [list(records[i : i + size]) for i in range(0, len(records), size)]


# The loops of the timed rounds. Each gets the rival's own function, so that a rival pays for no call of ours.


def put_each(put: Callable[[Any], Any], records: Records, repeats: int) -> None:
    """Send one record for each call, which waits by itself."""
    for _ in range(repeats):
        for record in records:
            put(record)


def put_until_taken(put: Callable[[Any], Any], records: Records, repeats: int) -> None:
    """Send one record for each call, and again while the call says that there is no room."""
    for _ in range(repeats):
        for record in records:
            while not put(record):
                pass


def put_lists(put_many: Callable[[Any], int], records: Records, repeats: int) -> None:
    """Send a list for each call, which says how many records of it found room."""
    batches = batches_of(records)
    for _ in range(repeats):
        for batch in batches:
            done = put_many(batch)
            while done < len(batch):
                done += put_many(batch[done:])


def get_each(get: Callable[[], Any], count: int, take: Callable[[Any], None]) -> Any:
    """Take one record for each call, which waits by itself."""
    record = b""
    for _ in range(count):
        record = get()
        take(record)
    return record


def poll_each(poll: Callable[[], Any], count: int, take: Callable[[Any], None]) -> Any:
    """Take one record for each call, and call again while there is none."""
    record = b""
    while count:
        found = poll()
        if found is not None:
            record = found
            take(record)
            count -= 1
    return record


def get_lists(get_many: Callable[[], Any], count: int, extend: Callable[[Any], None]) -> Any:
    """Take all records that a call returns, and call again while there are none."""
    records: Any = ()
    while count:
        found = get_many()
        if found:
            records = found
            extend(records)
            count -= len(records)
    return records[-1]


class Transport:
    """Both ends of a one-way path for byte records. Made before the fork, opened on each side after it.

    A *way* is a pair of methods ``send_WAY(records, repeats)`` and ``take_WAY(count, sink)``. Each is a whole loop, so
    that a rival pays for no call that it does not need. ``take`` returns the last record. ``put`` sends one record. Its
    result is falsy if there is no room; with ``put_waits`` it waits, and the result means nothing. ``poll`` takes one
    record without waiting (falsy: there is none). ``get`` waits as the rival waits.
    """

    name: ClassVar[str]
    distribution: ClassVar[str] = ""  # on PyPI; empty for what comes with Python
    modules: ClassVar[tuple[str, ...]] = ()  # imported before the clock runs
    note: ClassVar[str] = ""
    put_waits: ClassVar[bool] = False

    put: Callable[[Any], Any]
    poll: Callable[[], Any]
    get: Callable[[], Any]

    def __init__(self, tag: str, record_bytes: int, capacity_bytes: int) -> None:
        self.tag = tag  # unique on this machine, at most 20 characters of [a-z0-9]
        self.record_bytes = record_bytes
        self.capacity_bytes = capacity_bytes
        self.places = power_of_two(max(16, capacity_bytes // max(record_bytes, 16)))  # for rings that count records
        self.get = self._polled  # for a rival that cannot wait
        self.full_error = ""  # the name of what it raises for want of room, where that is known
        self._folder: Path | None = None

    @property
    def library(self) -> Any:
        """The rival's module. Imported late, so that a rival that is not installed here can still be named."""
        return importlib.import_module(self.modules[0])

    @property
    def folder(self) -> Path:
        """A folder of this transport's own, removed with it."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix=f"kevy-bench-{self.tag}-"))
        return self._folder

    def create(self) -> None:
        """Make what both sides inherit. Called once, before the fork."""

    def settle(self) -> None:
        """In the creator, close what only the two sides may hold. Called after both forks."""

    def open_sender(self) -> None:
        """Open the sending end, in its process. May wait for the other side."""

    def open_receiver(self) -> None:
        """Open the receiving end, in its process. May wait for the other side."""

    def remove(self) -> None:
        """Remove everything that outlives the processes. Called by the creator when both have ended."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def put_one(self, record: bytes) -> Any:
        """Send one record. Falsy when there is no room."""
        return self.put(record) or self.put_waits

    def _polled(self) -> Any:
        while not (found := self.poll()):
            pass
        return found

    def send_single(self, records: Records, repeats: int) -> None:
        """One record for each call."""
        (put_each if self.put_waits else put_until_taken)(self.put, records, repeats)

    def take_single(self, count: int, sink: Sink) -> Any:
        """One record for each call: polled where the rival can poll."""
        if hasattr(self, "poll"):
            return poll_each(self.poll, count, sink.take)
        return get_each(self.get, count, sink.take)

    send_each = send_chunks = send_single

    def take_each(self, count: int, sink: Sink) -> Any:
        """One record for each call, which waits as the rival waits."""
        return get_each(self.get, count, sink.take)

    @classmethod
    def why_missing(cls) -> str:
        """Why this transport cannot take part here; empty when it can."""
        for module in cls.modules:
            try:
                importlib.import_module(module)
            except ImportError as error:
                return f"{cls.distribution or module} does not import: {error}"
        return ""

    @classmethod
    def version(cls) -> str:
        """The installed version of the rival's distribution."""
        try:
            return importlib.metadata.version(cls.distribution) if cls.distribution else ""
        except importlib.metadata.PackageNotFoundError:
            return "source tree"


def power_of_two(number: int) -> int:
    """The largest power of two that is not larger."""
    return 1 << (number.bit_length() - 1)


def sweep(tag: str) -> None:
    """Remove what the transports of a round left behind if the round was ended from outside."""
    for path in Path("/dev/shm").glob(f"*{tag}*"):
        path.unlink(missing_ok=True)
    for folder in Path(tempfile.gettempdir()).glob(f"kevy-bench-{tag}*"):
        shutil.rmtree(folder, ignore_errors=True)
