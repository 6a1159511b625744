"""RDB, the snapshot format of Redis and Valkey, through rdb-py: a spool for a whole file, and one key's DUMP.

rdb-py reads a file only when it is whole, so the body is spooled to disk.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from typing import Any

from kevy_ring.errors import SnapshotError
from kevy_ring.events import BytesLike
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard.extras import missing_extra
from kevy_ring.shard.rdb_checksum import NOT_COMPUTED, RdbChecksum, is_intact_dump
from kevy_ring.shard.rdb_survey import Omission, omissions
from kevy_ring.shard.snapshot import LeftOut, SkippedKey
from kevy_ring.shard.spool import append, spool_file

MAGIC = b"REDIS"
#: Of RDB: Redis 7.4.
FIRST_WITH_FIELD_EXPIRIES = 12

#: Entries handed on at a time: enough to make a pipeline worth while, few enough to stop soon.
GROUP_ENTRIES = 512
#: And about as much of the process's memory: 512 large hashes are gigabytes.
GROUP_BYTES = 1 << 20
#: Python's memory for an element, without its bytes: two objects, and a place in a dict.
_ELEMENT_BYTES = 150

#: What a DUMP payload carries after the value: u16 RDB version, u64 CRC.
_DUMP_TAIL_BYTES = 10
_EOF = b"\xff"

_log = logging.getLogger(__name__)


class RdbSpool:
    """An RDB that arrives in pieces.

    After :meth:`entries` was read to its end: ``left_out`` names what rdb-py passes over, and ``skipped`` counts its
    keys (None where the file does not count its keys and they cannot be named either).
    """

    def __init__(self) -> None:
        _decoder_class()
        self.skipped: int | None = None
        self.left_out = LeftOut()
        #: For so many bytes of values that rdb-py leaves out, ``left_out`` has the RESTORE commands.
        self.restore_bytes = 0
        self._checksum = RdbChecksum()
        self._file = spool_file(".rdb")

    def feed(self, piece: BytesLike) -> None:
        """Append some bytes of the file. Raises SinkError when the disk is full."""
        self._checksum.update(piece)
        append(self._file, piece)

    def entries(self) -> Iterator[list[Entry]]:
        """The keys of the whole file in groups.

        Raises SnapshotError for what is no RDB or not a whole one, and before the first group for a checksum that does
        not match.
        """
        self._checksum.check()
        counted: dict[int, int] = {}
        yielded: dict[int, int] = {}
        db = 0
        group: list[Entry] = []
        group_bytes = 0
        for found in _decode(f"/proc/self/fd/{self._file.fileno()}"):
            kind = found["type"]
            if kind == "select_db":
                db = found["db"]
            elif kind == "resize_db":
                counted[db] = found["db_size"]
            elif kind not in ("aux_field", "checksum"):
                yielded[db] = yielded.get(db, 0) + 1
                entry = _entry(found, db)
                del found  # for a large value, the second copy of it
                group_bytes += _size_of(entry)
                group.append(entry)
                if len(group) == GROUP_ENTRIES or group_bytes >= GROUP_BYTES:
                    del entry
                    yield group
                    group, group_bytes = [], 0
        if group:
            yield group
        self._count_skipped(counted, yielded)
        yield from self._name_left_out()

    def _name_left_out(self) -> Iterator[list[Entry]]:
        """Yields empty groups, so that the caller can stop between them."""
        # Only hashes of newer servers have fields that expire; without them the file's own counts tell whether its keys
        # have to be looked at.
        keys_too = self.skipped != 0 or self._version() >= FIRST_WITH_FIELD_EXPIRIES
        found: list[Omission] = []
        try:
            for omission in omissions(self._file.fileno(), keys_too=keys_too, restore_bytes=self.restore_bytes):
                if omission is None:
                    yield []
                else:
                    found.append(omission)
        except SnapshotError as error:
            _log.warning("cannot name all that the RDB decoder skipped: %s", error)
        else:
            self.skipped = sum(each.kind == "key" for each in found)
        self.left_out = LeftOut(
            keys=tuple(SkippedKey(*each[1:4]) for each in found if each.kind == "key"),
            field_expiries=tuple(SkippedKey(*each[1:4]) for each in found if each.kind == "field expiries"),
            functions=tuple(each.name for each in found if each.kind == "function"),
            restores={(each.db, each.name): each.restore for each in found if each.restore},
        )
        for words in self.left_out.words():
            _log.warning("the snapshot was read without %s", words)

    def _version(self) -> int:
        """The version of the RDB: four digits after the magic."""
        return int(os.pread(self._file.fileno(), 4, len(MAGIC)))

    def _count_skipped(self, counted: dict[int, int], yielded: dict[int, int]) -> None:
        if yielded.keys() <= counted.keys():
            missing = {db: total - yielded.get(db, 0) for db, total in counted.items()}
            # The counts are hints; one that is too small tells that they cannot be relied on.
            if all(count >= 0 for count in missing.values()):
                self.skipped = sum(missing.values())

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()


def entry_of_dump(key: bytes, payload: bytes) -> Entry | None:
    """The key that a DUMP payload (what RESTORE takes) describes; None for a type that rdb-py leaves out.

    The payload's value is the value of an RDB record, so it is read as an RDB of one key.
    Raises SnapshotError for what is no payload.
    """
    if len(payload) <= _DUMP_TAIL_BYTES:
        raise SnapshotError("a DUMP payload without a value", at=len(payload))
    if not is_intact_dump(payload):
        raise SnapshotError("the checksum of a DUMP payload does not match its bytes", at=len(payload))
    body = payload[:-_DUMP_TAIL_BYTES]
    version = int.from_bytes(payload[len(body) : len(body) + 2], "little")
    # Length encoding 0x80: a u32, big-endian, whatever the key's length.
    record = body[:1] + b"\x80" + len(key).to_bytes(4, "big") + key + body[1:]
    with tempfile.TemporaryFile(prefix="kevy-ring-", suffix=".rdb", buffering=0) as spool:
        spool.write(MAGIC + b"%04d" % version + record + _EOF + NOT_COMPUTED)
        for found in _decode(f"/proc/self/fd/{spool.fileno()}"):
            if found["type"] != "checksum":
                return _entry(found, 0)
    return None


def _decoder_class() -> Any:
    try:
        import rdb
    except ImportError as error:
        raise missing_extra("snapshot", "rdb-py") from error
    return rdb.RdbDecoder


def _decode(path: str) -> Iterator[Any]:
    decoder_class = _decoder_class()
    try:
        yield from decoder_class(path)
    except ValueError as error:
        raise SnapshotError(f"RDB: {error}", at=os.stat(path).st_size) from error


def _size_of(entry: Entry) -> int:
    """About how many bytes an entry takes in memory."""
    value = entry.value
    size = _ELEMENT_BYTES + len(entry.key)
    if isinstance(value, bytes):
        return size + len(value)
    size += _ELEMENT_BYTES * len(value) + sum(map(len, value))
    return size + sum(map(len, value.values())) if entry.type == "hash" else size


def _entry(found: Any, db: int) -> Entry:
    kind = found["type"]
    if kind == "string":
        value: Any = found["value"]
    elif kind == "set":
        value = set(found["members"])
    elif kind == "sorted_set":
        kind = "zset"
        value = {member: score for score, member in found["values"]}
    else:
        value = found["values"]
    return Entry(found["key"], kind, value, found["expiry"], db)
