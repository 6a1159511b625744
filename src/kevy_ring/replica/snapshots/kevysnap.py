"""KEVYSNAP, the snapshot format of kevy: its layout and a streaming reader, without I/O and without a clock.

The layout is little-endian: ``"KEVYSNAP"``, a version byte (2 to 7), records, and a zero byte. Version 2 has the
remaining time of an expiry, all later ones the absolute time. From version 4 on, streams have their consumer groups.
From 5 on, a cursor of 16 bytes follows the version; only files use it. From 6 on, the expiries of hash fields follow
the entries. Version 7 has stubs of rows whose data is elsewhere. The reader refuses them.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from math import isnan
from typing import Any, NoReturn

from kevy_ring.errors import SnapshotError
from kevy_ring.replica.snapshots.entry import Entry, Stream, StreamGroup

MAGIC = b"KEVYSNAP"
VERSIONS = (2, 3, 4, 5, 6, 7)
FIRST_WITH_CURSOR = 5
FIRST_WITH_FIELD_EXPIRIES = 6
FIRST_WITH_STUBS = 7
END = 0
TYPES = {1: "string", 2: "hash", 3: "list", 4: "set", 5: "zset", 6: "stream"}
FIELD_EXPIRY, STUB = 7, 8

#: RESP's bound on a string. A greater length is invalid, and is refused before a byte of the string is held.
MAX_BYTES_LENGTH = 512 << 20
#: A key may be 512 MiB long, so an error shows only its beginning.
_SHOWN_KEY_BYTES = 100

U32 = struct.Struct("<I")
U64 = struct.Struct("<Q")
CURSOR = struct.Struct("<QQ")
F64 = struct.Struct("<d")
ID = struct.Struct("<QQ")
STREAM_HEAD = struct.Struct("<QQQQQI")
ENTRY_HEAD = struct.Struct("<QQI")
DELIVERY = struct.Struct("<QI")


class SnapshotReader:
    """Reads a snapshot while its chunks arrive. The borders of chunks have no meaning.

    ``now_ms`` is the Unix time from which a version 2 snapshot counts its expiries. The reader holds only the fed bytes
    that it cannot use yet, so a false length or count costs no memory.

    ``field_expiries`` (key to field to Unix milliseconds) has those that were read so far. They come after the entries.
    """

    def __init__(self, now_ms: int) -> None:
        self.finished = False
        self.version = 0
        self.field_expiries: dict[bytes, dict[bytes, int]] = {}
        self._now_ms = now_ms
        self._held = b""
        self._at = 0
        self._waiting: list[bytes] = []
        self._ahead = 0
        self._need = 0
        self._before = 0
        self._complete: list[Entry] = []
        self._error: SnapshotError | None = None
        self._parser = self._parse()
        next(self._parser)

    def feed(self, data: bytes | bytearray | memoryview) -> list[Entry]:
        """Take some bytes (they are copied) and return the entries that they complete.

        Raises :class:`SnapshotError` for invalid input, and again on every later call. Entries that the same call
        completed before the error are dropped, because an incomplete snapshot is never applied.
        """
        if self._error is not None:
            raise self._error
        self._waiting.append(bytes(data))
        self._ahead += len(data)
        # A value of many chunks is joined once, when it is complete. Joining for each chunk would be quadratic.
        if self._ahead < self._need:
            return []
        self._before += self._at
        self._held = b"".join((self._held[self._at :], *self._waiting))
        self._at = 0
        self._waiting.clear()
        try:
            next(self._parser)
        except SnapshotError as error:
            self._error = error
            self._held = b""
            raise
        self._ahead = len(self._held) - self._at
        complete, self._complete = self._complete, []
        return complete

    def close(self) -> None:
        """Declare the snapshot's end. Raises :class:`SnapshotError` if it is incomplete."""
        if self._error is not None:
            raise self._error
        if not self.finished:
            self._error = SnapshotError("it ends before its end mark", at=self._before + self._at + self._ahead)
            raise self._error

    # The methods below are generators. One that needs more bytes sets _need and yields, and reads _held and _at again
    # afterwards. So it keeps its place in a record of any size, at no cost while bytes are there.

    def _parse(self) -> Generator[None]:
        yield
        yield from self._fill(len(MAGIC) + 1)
        if not self._held.startswith(MAGIC):
            self._fail("not a KEVYSNAP")
        self.version = self._held[len(MAGIC)]
        if self.version not in VERSIONS:
            self._fail(f"version {self.version} is not known", len(MAGIC))
        self._at = len(MAGIC) + 1
        if self.version >= FIRST_WITH_CURSOR:
            yield from self._unpack(CURSOR)
        yield from self._records()
        self.finished = True
        while True:
            if self._at < len(self._held):
                self._fail("bytes after the end mark")
            self._need = 1
            yield

    def _records(self) -> Generator[None]:
        while True:
            if len(self._held) - self._at < 2:
                yield from self._fill(1)
                if self._held[self._at] != END:
                    yield from self._fill(2)
            held, at = self._held, self._at
            op = held[at]
            if op == END:
                self._at += 1
                return
            if op not in TYPES:
                yield from self._no_entry(op)
                continue
            ttl = held[at + 1]
            if ttl > 1:
                self._fail(f"expiry flag {ttl} is not known", 1)
            self._at = at + 2
            expires_at_ms = (yield from self._expiry()) if ttl else None
            key = self._ready_bytes()
            if key is None:
                key = yield from self._late_bytes()
            value: Any = self._ready_bytes() if op == 1 else None
            if value is None:
                value = yield from self._value(op)
            self._complete.append(Entry(key, TYPES[op], value, expires_at_ms))

    def _no_entry(self, op: int) -> Generator[None]:
        """A record that is not an entry: an expiry of a field, or one that is refused."""
        if op == FIELD_EXPIRY and self.version >= FIRST_WITH_FIELD_EXPIRIES:
            self._at += 1
            key = yield from self._late_bytes()
            field = yield from self._late_bytes()
            (at_ms,) = yield from self._unpack(U64)
            self.field_expiries.setdefault(key, {})[field] = at_ms
        elif op == STUB and self.version >= FIRST_WITH_STUBS:
            start = self._before + self._at
            yield from self._fill(2)
            has_ttl = self._held[self._at + 1]
            self._at += 2
            if has_ttl:
                yield from self._expiry()
            key = yield from self._late_bytes()
            raise SnapshotError(
                f"key {key[:_SHOWN_KEY_BYTES]!r} is a stub of a row segment (KEVYSNAP version 7): its rows are not in "
                "the snapshot, so this store cannot be replicated",
                at=start,
            )
        else:
            self._fail(f"record op {op} is not known")

    def _expiry(self) -> Generator[None, None, int]:
        at_ms: int
        (at_ms,) = yield from self._unpack(U64)
        return at_ms + self._now_ms if self.version == 2 else at_ms

    def _value(self, op: int) -> Generator[None, None, Any]:
        if op == 1:
            return (yield from self._late_bytes())
        if op == 6:
            return (yield from self._stream())
        (count,) = yield from self._unpack(U32)
        if op == 5:
            return (yield from self._scores(count))
        if op == 2:
            flat = iter((yield from self._many(2 * count)))
            return dict(zip(flat, flat, strict=True))
        values = yield from self._many(count)
        return values if op == 3 else set(values)

    def _stream(self) -> Generator[None, None, Stream]:
        *ids, added, count = yield from self._unpack(STREAM_HEAD)
        stream = Stream((ids[0], ids[1]), (ids[2], ids[3]), added)
        for _ in range(count):
            ms, seq, fields = yield from self._unpack(ENTRY_HEAD)
            flat = iter((yield from self._many(2 * fields)))
            stream.entries.append((ms, seq, list(zip(flat, flat, strict=True))))
        if self.version >= 4:
            (count,) = yield from self._unpack(U32)
            for _ in range(count):
                stream.groups.append((yield from self._group()))
        return stream

    def _group(self) -> Generator[None, None, StreamGroup]:
        name = yield from self._late_bytes()
        ms, seq = yield from self._unpack(ID)
        group = StreamGroup(name, (ms, seq))
        (count,) = yield from self._unpack(U32)
        for _ in range(count):
            consumer = yield from self._late_bytes()
            (seen_ms,) = yield from self._unpack(U64)
            group.consumers.append((consumer, seen_ms))
        (count,) = yield from self._unpack(U32)
        for _ in range(count):
            ms, seq = yield from self._unpack(ID)
            consumer = yield from self._late_bytes()
            delivered_ms, deliveries = yield from self._unpack(DELIVERY)
            group.pending.append((ms, seq, consumer, delivered_ms, deliveries))
        return group

    def _many(self, count: int) -> Generator[None, None, list[bytes]]:
        values: list[bytes] = []
        unpack = U32.unpack_from
        while True:
            held, at = self._held, self._at
            end = len(held)
            for _ in range(count - len(values)):
                start = at + 4
                if start > end:
                    break
                stop = start + unpack(held, at)[0]
                if stop > end:
                    break
                values.append(held[start:stop])
                at = stop
            self._at = at
            if len(values) == count:
                return values
            values.append((yield from self._late_bytes()))

    def _scores(self, count: int) -> Generator[None, None, dict[bytes, float]]:
        scores: dict[bytes, float] = {}
        for _ in range(count):
            member = self._ready_bytes()
            if member is None:
                member = yield from self._late_bytes()
            if len(self._held) - self._at < 8:
                yield from self._fill(8)
            (score,) = F64.unpack_from(self._held, self._at)
            if isnan(score):
                self._fail("a score is not a number")
            self._at += 8
            scores[member] = score
        return scores

    def _ready_bytes(self) -> bytes | None:
        """Take a byte string if it is complete. Else return None and take nothing."""
        held, start = self._held, self._at + 4
        if start > len(held):
            return None
        stop = start + U32.unpack_from(held, start - 4)[0]
        if stop > len(held):
            return None
        self._at = stop
        return held[start:stop]

    def _late_bytes(self) -> Generator[None, None, bytes]:
        while (ready := self._ready_bytes()) is None:
            yield from self._fill(4)
            (length,) = U32.unpack_from(self._held, self._at)
            if length > MAX_BYTES_LENGTH:
                self._fail(f"a length of {length} bytes")
            yield from self._fill(4 + length)
        return ready

    def _unpack(self, layout: struct.Struct) -> Generator[None, None, tuple[Any, ...]]:
        if len(self._held) - self._at < layout.size:
            yield from self._fill(layout.size)
        fields = layout.unpack_from(self._held, self._at)
        self._at += layout.size
        return fields

    def _fill(self, count: int) -> Generator[None]:
        while len(self._held) - self._at < count:
            self._need = count
            yield

    def _fail(self, detail: str, ahead: int = 0) -> NoReturn:
        raise SnapshotError(detail, at=self._before + self._at + ahead)
