"""A snapshot while it arrives: its chunks are decoded into a stage of the sink, which is committed at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from kevy_ring.errors import SnapshotError
from kevy_ring.events import BytesLike
from kevy_ring.replica.snapshots import kevysnap
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.replica.snapshots.rdb import MAGICS
from kevy_ring.shard.kevysnap_body import KevysnapBody
from kevy_ring.shard.rdb_body import RdbBody
from kevy_ring.shard.sinks.refusals import Refusals
from kevy_ring.shard.sinks.sink import HoldingStage, Sink, Stage
from kevy_ring.shard.snapshot import LeftOut, Snapshot, SnapshotFormat


class StopAsked(Exception):
    """``stop()`` was true inside a batch. The current event is not applied."""


class SnapshotBody(Protocol):
    """The decoder of one snapshot format."""

    format: SnapshotFormat

    def feed(self, piece: BytesLike) -> list[Entry]:
        """Take some bytes and return the entries that are complete, if the format allows that."""

    def finish(self) -> Iterable[list[Entry]]:
        """Return the rest of the entries. Raises SnapshotError if the body is not whole."""

    def skipped(self) -> int | None:
        """How many keys the decoder left out; None if it does not know. Call it after ``finish``."""

    def left_out(self) -> LeftOut:
        """What the decoder left out, by name. Call it after ``finish``."""

    def close(self) -> None:
        """Release all that is held."""


#: The decoder for each kind of body, by its first bytes.
BODIES: dict[bytes, Callable[[], SnapshotBody]] = {kevysnap.MAGIC: KevysnapBody, **dict.fromkeys(MAGICS, RdbBody)}


class SnapshotAssembly:
    """Takes one snapshot at a time from Begin over chunks to End.

    ``size_bytes`` and ``count``: bytes taken and entries decoded of the snapshot in progress.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._stage: Stage | None = None
        self._body: SnapshotBody | None = None
        self._head = b""
        self._take_chunk: Callable[[BytesLike], None] | None = None
        self.size_bytes = 0
        self.count = 0

    @property
    def in_progress(self) -> bool:
        """True from ``begin`` to ``finish`` or ``abort``."""
        return self._stage is not None

    def begin(self) -> None:
        """Start a snapshot; forget one that is in progress."""
        self.abort()
        stage = getattr(self._sink, "stage", None)
        self._stage = stage() if stage is not None else HoldingStage(self._sink)
        self._take_chunk = getattr(self._stage, "chunk", None)

    def feed(self, piece: BytesLike) -> None:
        """Take the next bytes of the body, cut anywhere. Raises SnapshotError for an unknown format."""
        assert self._stage is not None
        if self._take_chunk is not None:
            self._take_chunk(piece)
        self.size_bytes += len(piece)
        if self._body is None:
            head = self._head + bytes(piece)
            self._body = _body_for(head)
            if self._body is None:
                self._head = head
                return
            self._head, piece = b"", head
            refusals = refusals_in(self._sink)
            if isinstance(self._body, RdbBody) and refusals is not None and refusals.keeps_letters:
                self._body.keep_values()
        self._add(self._body.feed(piece))

    def finish(self, ack_offset: int, abandoned: Callable[[], bool] = lambda: False) -> Snapshot:
        """Swap the snapshot in, in one step, after its last chunk.

        ``abandoned`` is called between groups of entries; if it is true, StopAsked is raised. Raises SnapshotError if
        the body is not whole. After any error the sink holds what it held, and the snapshot is forgotten.
        """
        try:
            return self._finish(ack_offset, abandoned)
        finally:
            self.abort()

    def _finish(self, ack_offset: int, abandoned: Callable[[], bool]) -> Snapshot:
        stage, body = self._stage, self._body
        assert stage is not None
        if body is None:
            raise SnapshotError(f"a body of {self.size_bytes} bytes is in no known format", at=self.size_bytes)
        for group in body.finish():
            if abandoned():
                raise StopAsked
            self._add(group)
        skipped, left_out = body.skipped(), body.left_out()
        snapshot = Snapshot(body.format, ack_offset, self.size_bytes, self.count, skipped, left_out=left_out)
        if (refusals := refusals_in(self._sink)) is not None:
            passing = getattr(self._sink, "passing", None)  # of a filter
            refusals.unreadable(left_out if passing is None else passing(left_out), snapshot.applied_offset)
            refusals.write_out()
        stage.commit(snapshot)
        self._stage = None
        return snapshot

    def abort(self) -> None:
        """Forget the snapshot in progress, if any."""
        stage, self._stage = self._stage, None
        body, self._body = self._body, None
        self._head = b""
        self._take_chunk = None
        self.size_bytes = self.count = 0
        if body is not None:
            body.close()
        if stage is not None:
            stage.abort()

    def _add(self, entries: list[Entry]) -> None:
        if entries:
            self.count += len(entries)
            assert self._stage is not None
            self._stage.add(entries)


def refusals_in(sink: Sink) -> Refusals | None:
    """What counts the refusals of a sink; None if it has nothing of ours for that."""
    found = getattr(sink, "refusals", None)
    return found if isinstance(found, Refusals) else None


def _body_for(head: bytes) -> SnapshotBody | None:
    """The decoder for a body that begins with ``head``; None while it is too short."""
    for magic, body in BODIES.items():
        if head.startswith(magic):
            return body()
    if any(magic.startswith(head) for magic in BODIES):
        return None
    raise SnapshotError(f"the body is neither KEVYSNAP nor RDB: it begins with {head[:8]!r}")
