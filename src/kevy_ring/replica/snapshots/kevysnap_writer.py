"""The writer of KEVYSNAP: entries in, chunks of the snapshot out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kevy_ring.replica.snapshots.entry import Entry, Stream
from kevy_ring.replica.snapshots.kevysnap import (
    CURSOR,
    DELIVERY,
    END,
    ENTRY_HEAD,
    F64,
    FIELD_EXPIRY,
    FIRST_WITH_CURSOR,
    FIRST_WITH_FIELD_EXPIRIES,
    ID,
    MAGIC,
    STREAM_HEAD,
    TYPES,
    U32,
    U64,
    VERSIONS,
)

OPS = {name: op for op, name in TYPES.items()}
#: The largest chunk that a kevy replication link allows.
CHUNK_BYTES = 65536


def write_snapshot(entries: Iterable[Entry], *, version: int = 4, now_ms: int | None = None) -> Iterator[bytes]:
    """Yield the snapshot of ``entries`` in chunks of 65,536 bytes; the last one may be smaller.

    ``now_ms``: the time from which version 2 counts the remaining time of expiries. Raises ``ValueError`` for an expiry
    in version 2 without ``now_ms``, the groups of a stream before version 4, an expiry of a field before version 6, a
    db other than 0, and an unknown type.
    """
    if version not in VERSIONS:
        raise ValueError(f"KEVYSNAP version {version} is not one of {VERSIONS}")
    pending = bytearray(MAGIC)
    pending.append(version)
    if version >= FIRST_WITH_CURSOR:
        pending += bytes(CURSOR.size)
    field_expiries: list[bytes] = []
    for entry in entries:
        pending += _encode_entry(entry, version, now_ms)
        field_expiries += _encode_field_expiries(entry, version)
        if len(pending) >= CHUNK_BYTES:
            whole = len(pending) - len(pending) % CHUNK_BYTES
            for at in range(0, whole, CHUNK_BYTES):
                yield bytes(pending[at : at + CHUNK_BYTES])
            del pending[:whole]
    pending += b"".join(field_expiries)
    pending.append(END)
    for at in range(0, len(pending), CHUNK_BYTES):
        yield bytes(pending[at : at + CHUNK_BYTES])


def _encode_field_expiries(entry: Entry, version: int) -> Iterator[bytes]:
    for field, at_ms in (entry.field_expiries or {}).items():
        if version < FIRST_WITH_FIELD_EXPIRIES:
            raise ValueError(f"KEVYSNAP version {version} has no expiries of fields")
        yield bytes((FIELD_EXPIRY,)) + _counted(entry.key) + _counted(field) + U64.pack(at_ms)


def _encode_entry(entry: Entry, version: int, now_ms: int | None) -> bytes:
    op = OPS.get(entry.type)
    if op is None:
        raise ValueError(f"KEVYSNAP has no type {entry.type!r}")
    if entry.db:
        raise ValueError(f"KEVYSNAP has no db {entry.db}")
    head = bytes((op, 0))
    if entry.expires_at_ms is not None:
        at_ms = entry.expires_at_ms
        if version == 2:
            if now_ms is None:
                raise ValueError("a version 2 snapshot with an expiry needs now_ms")
            at_ms = max(0, at_ms - now_ms)
        head = bytes((op, 1)) + U64.pack(at_ms)
    return head + _counted(entry.key) + _encode_value(entry, version)


def _encode_value(entry: Entry, version: int) -> bytes:
    value = entry.value
    if entry.type == "string":
        return _counted(value)
    if entry.type == "stream":
        return _encode_stream(value, version)
    parts = [U32.pack(len(value))]
    if entry.type == "hash":
        parts.extend(_counted(part) for pair in value.items() for part in pair)
    elif entry.type == "zset":
        parts.extend(_counted(member) + F64.pack(score) for member, score in value.items())
    else:
        parts.extend(map(_counted, value))
    return b"".join(parts)


def _encode_stream(stream: Stream, version: int) -> bytes:
    if stream.groups and version < 4:
        raise ValueError("a stream with groups needs version 4")
    parts = [STREAM_HEAD.pack(*stream.last_id, *stream.max_deleted_id, stream.entries_added, len(stream.entries))]
    for ms, seq, fields in stream.entries:
        parts.append(ENTRY_HEAD.pack(ms, seq, len(fields)))
        parts.extend(_counted(part) for pair in fields for part in pair)
    if version >= 4:
        parts.append(U32.pack(len(stream.groups)))
        for group in stream.groups:
            parts += [_counted(group.name), ID.pack(*group.last_id), U32.pack(len(group.consumers))]
            parts.extend(_counted(name) + U64.pack(seen_ms) for name, seen_ms in group.consumers)
            parts.append(U32.pack(len(group.pending)))
            for ms, seq, consumer, delivered_ms, deliveries in group.pending:
                parts.append(ID.pack(ms, seq) + _counted(consumer) + DELIVERY.pack(delivered_ms, deliveries))
    return b"".join(parts)


def _counted(value: bytes) -> bytes:
    return U32.pack(len(value)) + value
