"""Decodes an RDB body while its bytes arrive."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from kevy_ring.events import BytesLike
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.replica.snapshots.rdb import RdbReader, library_name
from kevy_ring.shard.snapshot import LeftOut, SkippedKey, SnapshotFormat

_log = logging.getLogger(__name__)

#: The dead letters of one snapshot have at most so many bytes of values, because they are in memory until they are
#: written. The keys beyond that are only named.
RESTORE_BYTES = 64 << 20


class RdbBody:
    """The decoder of one RDB body."""

    format: SnapshotFormat = "rdb"

    def __init__(self) -> None:
        self._reader = RdbReader()
        self._left_out = LeftOut()

    def keep_values(self) -> None:
        """Keep the values that cannot be read, for dead letters."""
        self._reader.restore_bytes = RESTORE_BYTES

    def feed(self, piece: BytesLike) -> list[Entry]:
        return self._reader.feed(piece)

    def finish(self) -> Iterable[list[Entry]]:
        self._reader.finish()
        omissions = self._reader.left_out
        keys = [each for each in omissions if each.kind == "key"]
        self._left_out = LeftOut(
            keys=tuple(SkippedKey(each.db, each.name, each.type) for each in keys),
            functions=tuple(library_name(each.name) for each in omissions if each.kind == "function"),
            restores={(each.db, each.name): self._reader.restore_of(each) for each in keys if each.value},
        )
        for words in self._left_out.words():
            _log.warning("the snapshot was read without %s", words)
        return ()

    def skipped(self) -> int | None:
        return len(self._left_out.keys)

    def left_out(self) -> LeftOut:
        return self._left_out

    def close(self) -> None:
        pass
