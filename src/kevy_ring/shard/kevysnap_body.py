"""Decodes a KEVYSNAP body: entries as their bytes arrive, or at the end if fields of hashes may expire.

From version 6 on the expiries of fields follow all entries, so no hash is complete before the end. Such a body is read
twice: once while it arrives, for the expiries, and once from disk, for the entries.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from kevy_ring.events import BytesLike
from kevy_ring.replica.snapshots import kevysnap
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard.snapshot import LeftOut, SnapshotFormat
from kevy_ring.shard.spool import append, pieces_of, spool_file

_log = logging.getLogger(__name__)


class KevysnapBody:
    """The decoder of one KEVYSNAP body."""

    format: SnapshotFormat = "kevysnap"

    def __init__(self) -> None:
        self._now_ms = time.time_ns() // 1_000_000
        self._reader = kevysnap.SnapshotReader(self._now_ms)
        self._head = b""  # the bytes from before the version was known
        self._spool: BinaryIO | None = None

    def feed(self, piece: BytesLike) -> list[Entry]:
        entries = self._reader.feed(piece)
        if self._spool is None:
            if self._reader.version < kevysnap.FIRST_WITH_FIELD_EXPIRIES:
                if not self._reader.version:
                    self._head += bytes(piece)
                return entries
            self._spool = spool_file(".kevysnap")
            append(self._spool, self._head)
        append(self._spool, piece)
        return []

    def finish(self) -> Iterable[list[Entry]]:
        self._reader.close()
        return () if self._spool is None else self._second_reading(self._spool)

    def skipped(self) -> int | None:
        return 0

    def left_out(self) -> LeftOut:
        return LeftOut()

    def close(self) -> None:
        if self._spool is not None:
            self._spool.close()

    def _second_reading(self, spool: BinaryIO) -> Iterator[list[Entry]]:
        expiries = self._reader.field_expiries
        reader = kevysnap.SnapshotReader(self._now_ms)
        for piece in pieces_of(spool):
            entries = reader.feed(piece)
            for entry in entries:
                if entry.type == "hash" and entry.key in expiries:
                    deadlines = expiries.pop(entry.key)
                    entry.field_expiries = {field: at for field, at in deadlines.items() if field in entry.value}
            if entries:
                yield entries
        reader.close()
        if expiries:
            _log.warning("ignored the field expiries of %d keys that are not hashes in the snapshot", len(expiries))
