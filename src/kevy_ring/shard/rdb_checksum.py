"""The checksum at the end of an RDB and of a DUMP payload: CRC-64/Jones, little-endian."""

from __future__ import annotations

from kevy_ring._core import ffi, lib
from kevy_ring.errors import SnapshotError
from kevy_ring.events import BytesLike

CHECKSUM_BYTES = 8
#: A server with ``rdbchecksum no`` writes this.
NOT_COMPUTED = bytes(CHECKSUM_BYTES)
#: The first version of RDB that ends with a checksum.
FIRST_WITH_CHECKSUM = 5
_MAGIC_BYTES = 9  # of "REDIS0011" and of "VALKEY080"
_END = 0xFF
#: The end mark and the checksum behind it.
_TAIL_BYTES = 1 + CHECKSUM_BYTES


class RdbChecksum:
    """Takes the bytes of one RDB as they arrive, in any pieces, and checks them at the end."""

    __slots__ = ("_crc", "_head", "_tail", "size_bytes")

    def __init__(self) -> None:
        self.size_bytes = 0
        self._crc = 0
        self._head = b""
        self._tail = b""

    def update(self, piece: BytesLike) -> None:
        """Take the next bytes of the file."""
        self._crc = crc64(piece, self._crc)
        self.size_bytes += len(piece)
        if len(self._head) < _MAGIC_BYTES:
            self._head += bytes(piece[: _MAGIC_BYTES - len(self._head)])
        end = bytes(piece[-_TAIL_BYTES:])
        self._tail = end if len(end) == _TAIL_BYTES else (self._tail + end)[-_TAIL_BYTES:]

    def check(self) -> None:
        """Check the whole file. Raises SnapshotError if a bit of it differs from what its writer wrote.

        A stored checksum of zero means that the writer computed none; then nothing can be checked.
        """
        if self._claims_no_checksum():
            # Versions before 5 end with the end mark. A damaged version number in a newer file must not switch the
            # check off, so a file with an end mark where a checksum would follow it is refused. No server that speaks
            # PSYNC writes such a version.
            if self._tail[-1:] == bytes((_END,)) and self._tail[0] != _END:
                return
            raise SnapshotError(f"an RDB of version {self._head[-4:]!r} has a wrong end", at=self.size_bytes)
        # The checksum over data that ends with its own checksum is zero.
        if self._crc == 0 or self._tail[1:] == NOT_COMPUTED:
            return
        stored = int.from_bytes(self._tail[1:], "little")
        raise SnapshotError(
            f"its checksum {stored:#018x} does not match its bytes: the snapshot was damaged on its way or on the "
            "primary's disk. Nothing of it was loaded. If this repeats, run redis-check-rdb on the primary's RDB file, "
            "and check the network and the memory of both machines",
            at=self.size_bytes,
        )

    def _claims_no_checksum(self) -> bool:
        version = self._head[5:]
        return self._head.startswith(b"REDIS") and version.isdigit() and int(version) < FIRST_WITH_CHECKSUM


def crc64(data: BytesLike, crc: int = 0) -> int:
    """CRC-64/Jones of ``data``, continued from ``crc``."""
    return int(lib.kr_crc64(crc, ffi.from_buffer(data), len(data)))


def dump_of(kind: int, value: bytes, version: int) -> bytes:
    """The DUMP payload of a value as it lies in an RDB of this version."""
    body = bytes((kind,)) + value + version.to_bytes(2, "little")
    return body + crc64(body).to_bytes(CHECKSUM_BYTES, "little")


def is_intact_dump(payload: bytes) -> bool:
    """Whether a DUMP payload ends with the checksum of its bytes. Every payload has one."""
    return len(payload) > CHECKSUM_BYTES and crc64(payload) == 0
