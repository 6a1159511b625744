"""The next records of a ring, read from its file: without a role, and without a writable mapping."""

from __future__ import annotations

import os
from dataclasses import dataclass

from kevy_ring._core import lib
from kevy_ring.errors import SegmentError
from kevy_ring.events import Kind
from kevy_ring.ring.record import FLAGS_KNOWN, PAYLOAD_MAX_BYTES, RECORD_HEADER, RecordFlag, record_span
from kevy_ring.ring.segment_names import SHM_DIR
from kevy_ring.ring.stats import RingStats, inspect_ring

#: How much of each payload is copied.
PAYLOAD_SHOWN_BYTES = 256

_KINDS = frozenset(map(int, Kind))
_POSITIONS = 2**64
# At full speed the consumer may release all copied records before the second look at the head.
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class PeekedRecord:
    """One record: its position, its header, and the first bytes of its payload of ``length`` bytes."""

    position: int
    kind: int
    offset: int
    length: int
    is_fragment: bool
    payload: bytes


@dataclass(frozen=True, slots=True)
class Peek:
    """``records`` from the head on. ``corrupt``: a field that no correct producer writes, at ``corrupt_at``; else None.

    ``moved``: the consumer released every copied record meanwhile, so ``records`` is empty although the ring was not.
    """

    stats: RingStats
    records: tuple[PeekedRecord, ...]
    corrupt: str | None = None
    corrupt_at: int = 0
    moved: bool = False


def peek_records(name: str, max_records: int = 10, *, payload_bytes: int = PAYLOAD_SHOWN_BYTES) -> Peek:
    """Copy up to ``max_records`` records that wait in a ring, also in one whose processes are dead.

    Takes no role and writes nothing. On a live ring the consumer may release a record while it is copied. Such a copy
    is dropped: the head has passed its position. Raises :class:`SegmentError` as ``inspect_ring``.
    """
    peek = None
    for _ in range(_ATTEMPTS):
        peek = _look(name, max_records, payload_bytes)
        if not peek.moved:
            break
    assert peek is not None
    return peek


def _look(name: str, max_records: int, payload_bytes: int) -> Peek:
    stats = inspect_ring(name)
    records, corrupt, corrupt_at = _copy(stats, max_records, payload_bytes)
    # The space of a record is reused only after the head has passed it. So a record that the head has not passed yet
    # was copied whole.
    head = inspect_ring(name).head
    passed = (head - stats.head) % _POSITIONS
    whole = tuple(record for record in records if (record.position - stats.head) % _POSITIONS >= passed)
    if corrupt is not None and (corrupt_at - stats.head) % _POSITIONS < passed:
        corrupt = None
    moved = bool(passed) and not whole and corrupt is None
    return Peek(stats, whole, corrupt, corrupt_at, moved)


def _copy(stats: RingStats, max_records: int, payload_bytes: int) -> tuple[list[PeekedRecord], str | None, int]:
    records: list[PeekedRecord] = []
    position, left = stats.head, stats.used_bytes
    if left > stats.capacity:
        return records, "head and tail are further apart than the capacity", 0
    try:
        fd = os.open(SHM_DIR / stats.name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as exc:
        raise SegmentError(stats.name, reason="missing", detail=str(exc.strerror), errno=exc.errno or 0) from exc
    try:
        while left and len(records) < max_records:
            header = _read(fd, stats.capacity, position, RECORD_HEADER.size)
            length, kind, flags, zero, offset = RECORD_HEADER.unpack(header)
            span = record_span(length)
            fault = "record length" if length > PAYLOAD_MAX_BYTES or span > left else _header_fault(kind, flags, zero)
            if fault:
                return records, fault, position
            payload = _read(fd, stats.capacity, position + RECORD_HEADER.size, min(length, payload_bytes))
            records.append(PeekedRecord(position, kind, offset, length, bool(flags & RecordFlag.FRAGMENT), payload))
            position = (position + span) % _POSITIONS
            left -= span
    finally:
        os.close(fd)
    return records, None, 0


def _header_fault(kind: int, flags: int, zero: int) -> str | None:
    if zero:
        return "reserved bytes of the record header"
    if kind not in _KINDS:
        return "record kind"
    if flags & ~FLAGS_KNOWN:
        return "record flags"
    return None


def _read(fd: int, capacity: int, position: int, count: int) -> bytes:
    """``count`` bytes of the data area from a free-running position on. They may wrap around."""
    start = position & (capacity - 1)
    base = int(lib.kr_page_bytes())
    first = os.pread(fd, min(count, capacity - start), base + start)
    return first + os.pread(fd, count - len(first), base) if len(first) < count else first
