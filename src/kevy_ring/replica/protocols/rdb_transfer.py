"""The bytes of an RDB on the wire: cuts them into chunks, and finds the end by a length or a mark."""

from __future__ import annotations

from kevy_ring.events import ReplicaApply, SnapshotChunk
from kevy_ring.replica.protocols.resp import MAX_OFFSET, Intake, printable

RDB_CHUNK_BYTES = 65_536  # the largest chunk passed on: about one receive, and far below any ring's capacity
MARK_BYTES = 40  # CONFIG_RUN_ID_SIZE in Redis
_EOF_MARKER = b"$EOF:"


def take_rdb_header(intake: Intake) -> RdbTransfer | None:
    """The transfer that ``$<length>`` or ``$EOF:<mark>`` announces; None while the line is incomplete.

    Raises RemoteProtocolError for an empty RDB, a length beyond an i64, or a mark of another size.
    """
    start = intake.at
    line = intake.take_line(len(_EOF_MARKER) + MARK_BYTES)
    if line is None:
        return None
    if not line.startswith(_EOF_MARKER):
        intake.at = start
        return RdbTransfer(length=intake.take_number(b"$", 1, MAX_OFFSET))
    mark = line[len(_EOF_MARKER) :]
    if len(mark) != MARK_BYTES:
        raise intake.violation(f"{printable(line)!r} has no mark of {MARK_BYTES} bytes")
    return RdbTransfer(mark=mark)


class RdbTransfer:
    """One RDB that is being received. ``length`` in bytes, or None if ``mark`` (40 random bytes) ends it.

    Chunks are cut at multiples of RDB_CHUNK_BYTES of the body, so they do not depend on how it was received. Less than
    one chunk and one mark are held back at any time.
    """

    __slots__ = ("_held", "_left", "_mark", "finished", "length", "passed_bytes")

    def __init__(self, *, length: int | None = None, mark: bytes | None = None) -> None:
        if (length is None) == (mark is None):
            raise ValueError("an RDB ends by its length or by a mark")
        self.finished = False
        self.passed_bytes = 0
        self.length = length
        self._left = length
        self._mark = mark
        self._held = bytearray()

    def feed(self, piece: bytes, at: int, events: list[ReplicaApply]) -> int:
        """Take body bytes from ``piece[at:]`` and append complete chunks. Returns the index after the last byte."""
        return self._feed_counted(piece, at, events) if self._left is not None else self._feed_marked(piece, at, events)

    def _feed_counted(self, piece: bytes, at: int, events: list[ReplicaApply]) -> int:
        assert self._left is not None
        end = min(len(piece), at + self._left)
        self._held += memoryview(piece)[at:end]
        self._left -= end - at
        self.finished = not self._left
        self._pass_on(len(self._held), events)
        return end

    def _feed_marked(self, piece: bytes, at: int, events: list[ReplicaApply]) -> int:
        assert self._mark is not None
        held = self._held
        # A mark that began in an earlier piece has at least one of its bytes in this one.
        search_from = max(0, len(held) - (MARK_BYTES - 1))
        held += memoryview(piece)[at:]
        found = held.find(self._mark, search_from)
        if found < 0:
            self._pass_on(len(held) - (MARK_BYTES - 1), events)
            return len(piece)
        beyond = len(held) - (found + MARK_BYTES)
        del held[found:]
        self.finished = True
        self._pass_on(found, events)
        return len(piece) - beyond

    def _pass_on(self, safe_bytes: int, events: list[ReplicaApply]) -> None:
        """Cut whole chunks from the first ``safe_bytes`` held bytes. When finished, cut the rest too."""
        cut = 0
        with memoryview(self._held) as view:
            while safe_bytes - cut >= RDB_CHUNK_BYTES or (self.finished and cut < safe_bytes):
                chunk = bytes(view[cut : min(cut + RDB_CHUNK_BYTES, safe_bytes)])
                events.append(SnapshotChunk(chunk))
                cut += len(chunk)
        del self._held[:cut]
        self.passed_bytes += cut
