"""A sink that writes to standard output: one JSON line for each change, and snapshots between two marking lines.

    {"snapshot":"begin"}                                          the following keys, up to the end, replace everything
    {"db":0,"key":"k","type":"string","expires_at_ms":null,"value":"v"}
    {"snapshot":"end","format":"rdb","ack_offset":9,"entries":1,"skipped":0}
    {"offset":10,"db":0,"argv":["SET","k","w"]}
    {"snapshot":"abort"}                                          forget the keys since the last begin

``jsonl/line.py`` describes the lines. With more than one shard each has ``"shard": N`` too, and offsets rise only
within a shard. The sink keeps nothing, so a shard that starts again begins with a snapshot.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kevy_ring.errors import SinkError
from kevy_ring.events import BytesLike
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard.disk_error import disk_error
from kevy_ring.shard.owned_frames import owned_frames
from kevy_ring.shard.sinks.jsonl.line import change_line, end_line, entry_line, mark_line, selected_by, skipped_lines
from kevy_ring.shard.sinks.refusals import Refusals
from kevy_ring.shard.sinks.sink import load_by_stage
from kevy_ring.shard.snapshot import Snapshot

if TYPE_CHECKING:
    from kevy_ring.inbox import Batch

#: The URL of this sink.
STDOUT = "jsonl:-"
_FD = 1


class StdoutSink:
    """Writes whole lines, in one write if the reader has room for them.

    ``shard``: its number, for each line; None: there is one shard only. ``lock_path``: a file that all processes lock
    while they write to the same standard output, so that lines do not mix; empty: there is one process only.

    Raises SinkError if standard output is closed, with the reason ``"closed"`` if its reader has gone.
    """

    durable = False

    def __init__(self, *, shard: int | None = None, lock_path: str = "", refusals: Refusals | None = None) -> None:
        self.refusals = refusals or Refusals(STDOUT)
        self._shard = shard
        self._db = 0
        self._lock_fd = -1
        try:
            os.fstat(_FD)
            if lock_path:
                self._lock_fd = os.open(lock_path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise disk_error(STDOUT, error, lock_path) from error

    def apply(self, offset: int, argv: Sequence[BytesLike]) -> None:
        self.write(self._line(offset, argv))

    def apply_batch(self, batch: Batch) -> None:
        self.apply_frames(owned_frames(batch))

    def apply_frames(self, frames: Iterable[tuple[int, list[bytes]]]) -> None:
        self.write(b"".join([self._line(offset, argv) for offset, argv in frames]))

    def load(self, snapshot: Snapshot) -> None:
        load_by_stage(self, snapshot)

    def stage(self) -> StdoutStage:
        return StdoutStage(self, self._shard)

    def restart(self) -> None:
        """Begin in database 0 again, after a snapshot."""
        self._db = 0

    def flush(self) -> None:
        pass

    def close(self) -> None:
        fd, self._lock_fd = self._lock_fd, -1
        if fd >= 0:
            os.close(fd)
        self.refusals.close()

    def write(self, lines: bytes) -> None:
        """Write whole lines, and return when the reader or its pipe has them."""
        try:
            with self._locked(), memoryview(lines) as left:
                done = 0
                while done < len(left):
                    done += _write_some(left[done:])
        except BrokenPipeError as error:
            detail = "the reader of standard output has gone"
            raise SinkError(STDOUT, reason="closed", detail=detail, errno=errno.EPIPE) from error
        except OSError as error:
            raise disk_error(STDOUT, error) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._lock_fd < 0:
            yield
            return
        # The kernel frees the lock of a process that is killed here.
        fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    def _line(self, offset: int, argv: Sequence[BytesLike]) -> bytes:
        self._db = selected_by(argv, self._db)
        return change_line(offset, self._db, argv, shard=self._shard)


class StdoutStage:
    """Writes the lines of a snapshot as its keys arrive. A reader uses them after the end line."""

    def __init__(self, sink: StdoutSink, shard: int | None) -> None:
        self._sink = sink
        self._shard = shard
        self._has_begun = False

    def add(self, entries: list[Entry]) -> None:
        self._sink.write(self._begin() + b"".join([entry_line(entry, shard=self._shard) for entry in entries]))

    def commit(self, snapshot: Snapshot) -> None:
        skipped = b"".join(skipped_lines(snapshot.left_out, shard=self._shard))
        self._sink.write(self._begin() + skipped + end_line(snapshot, shard=self._shard))
        self._has_begun = False
        self._sink.restart()

    def abort(self) -> None:
        if self._has_begun:
            self._has_begun = False
            self._sink.write(mark_line("abort", shard=self._shard))

    def _begin(self) -> bytes:
        if self._has_begun:
            return b""
        self._has_begun = True
        return mark_line("begin", shard=self._shard)


def reader_is_gone() -> bool:
    """Whether standard output is a pipe or a socket without a reader."""
    poll = select.poll()
    poll.register(_FD, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


def _write_some(piece: memoryview) -> int:
    try:
        return os.write(_FD, piece)
    except BlockingIOError:
        # Another program that shares the pipe has made it non-blocking.
        poll = select.poll()
        poll.register(_FD, select.POLLOUT)
        poll.poll()
        return 0
