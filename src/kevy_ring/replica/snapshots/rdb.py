"""Reads an RDB, the snapshot format of Redis and Valkey, while it arrives. The reader itself is in csrc/rdb."""

from __future__ import annotations

import re
from typing import NamedTuple

from kevy_ring._calls import RdbCalls, know_entries
from kevy_ring._core import ffi, lib
from kevy_ring.errors import SnapshotError
from kevy_ring.events import BytesLike
from kevy_ring.replica.snapshots.entry import Entry, Stream, StreamGroup

#: The first bytes of a file. The version in decimal digits follows; together these are nine bytes.
MAGICS = (b"REDIS", b"VALKEY")

_FIRST_OF_VALKEY = 80  # Valkey numbers its own versions from here on
_DUMP_TAIL_BYTES = 10  # of a DUMP payload, behind the value: u16 version, u64 checksum
_CHECKSUM_BYTES = 8
_NOT_COMPUTED = bytes(_CHECKSUM_BYTES)
_END = b"\xff"
_LIBRARY_NAME = re.compile(rb"#!\S+.*?\bname=(\S+)")

know_entries(Entry, Stream, StreamGroup)


class Omission(NamedTuple):
    """What is not decoded. ``kind``: ``"key"`` for the value of a module, whose name is ``type``, or ``"function"`` for
    a library, whose code is ``name``. ``value``: as it lies in the file, behind the byte of its type; empty if it was
    not kept. ``expires_at_ms``: -1 if the key does not expire.
    """

    kind: str
    db: int
    name: bytes
    type: str
    value: bytes
    expires_at_ms: int


class RdbReader(RdbCalls):
    """Reads one file that comes in pieces. The versions 1 to 12 of Redis and 80 of Valkey are known.

    ``feed`` takes the next bytes, cut anywhere, and returns the entries that became whole. They come in groups of about
    1 MiB of the file. ``left_out`` names what is not decoded. ``restore_bytes``: the values in it may still take so
    many bytes; 0 at first. ``is_whole``: the end and its checksum were read. ``version``: the letters and the number
    of the header. ``position``: how many bytes were read.

    ``feed`` and ``finish`` raise :class:`SnapshotError`. The checksum covers the whole file, so entries that were
    returned before the end may be damaged: use them only when ``finish`` has returned.

        reader = RdbReader()
        for piece in pieces:
            for entry in reader.feed(piece):
                print(entry.db, entry.key, entry.type)
        reader.finish()
    """

    def finish(self) -> None:
        """Check that the file is whole. Raises :class:`SnapshotError` if it is not."""
        if not self.is_whole:
            raise SnapshotError("the RDB ends in the middle", at=self.position)

    @property
    def left_out(self) -> list[Omission]:
        """What was not decoded so far, in the order of the file."""
        return [Omission(*each) for each in self._left_out]

    def restore_of(self, omission: Omission) -> tuple[bytes, ...]:
        """The RESTORE command that writes a key which was left out with its value."""
        expiry = (b"0",) if omission.expires_at_ms < 0 else (b"%d" % omission.expires_at_ms,)
        payload = omission.value + self.version[1].to_bytes(2, "little")
        payload += crc64(payload).to_bytes(_CHECKSUM_BYTES, "little")
        is_absolute = (b"ABSTTL",) if omission.expires_at_ms >= 0 else ()
        return (b"RESTORE", omission.name, *expiry, payload, *is_absolute)

    def _fault(self, code: int, position: int, kind: int, key: bytes | None) -> SnapshotError:
        text = _FAULTS[code].format(kind=kind)
        return SnapshotError(text if key is None else f"{text}, at key {key[:100]!r}", at=position)


_FAULTS = {
    lib.KR_E_RDB_MAGIC: "this is no RDB: it does not begin with REDIS or VALKEY and a version",
    lib.KR_E_RDB_TYPE: "RDB type {kind} is not known",
    lib.KR_E_RDB_LENGTH: "an RDB record of type {kind} has a wrong length",
    lib.KR_E_RDB_STRING: "an RDB value of type {kind} cannot be decoded",
    lib.KR_E_RDB_MODULE: "the value of a module has an unknown opcode",
    lib.KR_E_RDB_CHECKSUM: (
        "its checksum does not match its bytes: the snapshot was damaged on its way or on the primary's disk. Nothing "
        "of it was loaded. If this repeats, run redis-check-rdb on the primary's RDB file, and check the network and "
        "the memory of both machines"
    ),
    lib.KR_E_RDB_TRAILING: "the RDB has bytes behind its end",
    lib.KR_E_RDB_FAILED: "the RDB was refused before",
    lib.KR_E_NOMEM: "no memory for a value of the RDB",
}


def library_name(code: bytes) -> bytes:
    """The name of a library of functions, from the first line of its code."""
    found = _LIBRARY_NAME.match(code)
    return found[1] if found else b"?"


def crc64(data: BytesLike, crc: int = 0) -> int:
    """CRC-64/Jones of ``data``, continued from ``crc``."""
    return int(lib.kr_crc64(crc, ffi.from_buffer(data), len(data)))


def entry_of_dump(key: bytes, payload: bytes) -> tuple[Entry | None, str]:
    """The key that a DUMP payload (what RESTORE takes) describes, and its type as the TYPE command says.

    None for the value of a module, whose type is the module's name. Raises :class:`SnapshotError` for what is no
    payload, or a damaged one.
    """
    if len(payload) <= _DUMP_TAIL_BYTES:
        raise SnapshotError("a DUMP payload without a value", at=len(payload))
    if crc64(payload):  # over bytes that end with their own checksum it is 0
        raise SnapshotError("the checksum of a DUMP payload does not match its bytes", at=len(payload))
    body = payload[:-_DUMP_TAIL_BYTES]
    version = int.from_bytes(payload[len(body) : len(body) + 2], "little")
    if not version:
        raise SnapshotError("a DUMP payload of RDB version 0", at=len(payload))
    magic = b"VALKEY%03d" % version if version >= _FIRST_OF_VALKEY else b"REDIS%04d" % max(version, 5)
    # The value of a payload is the value of an RDB record. 0x80: a length of four bytes, big-endian.
    record = body[:1] + b"\x80" + len(key).to_bytes(4, "big") + key + body[1:]
    reader = RdbReader()
    entries = reader.feed(magic + record + _END + _NOT_COMPUTED)
    reader.finish()
    names = [each.key for each in entries] + [each.name for each in reader.left_out if each.kind == "key"]
    if names != [key]:  # another kind of record, or more records behind the value
        raise SnapshotError(f"a DUMP payload of RDB type {body[0]}, which is not one value", at=0)
    return (entries[0], entries[0].type) if entries else (None, reader.left_out[0].type)
