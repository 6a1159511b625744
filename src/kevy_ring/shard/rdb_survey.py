"""What of an RDB rdb-py leaves out, by name: streams and values of modules, expiries of fields, functions.

rdb-py passes over them without a word. So the file is walked here once more, from value to value and without decoding
any, where something may be missing. Sizes and types: https://github.com/redis/redis/blob/7.4.0/src/rdb.h
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from kevy_ring.errors import SnapshotError
from kevy_ring.shard.lzf import decompressed
from kevy_ring.shard.rdb_checksum import dump_of

_NINE_BYTES = 9  # "REDIS0011"
_FUNCTION, _MODULE_AUX, _IDLE, _FREQUENCY, _AUX, _SIZES, _MILLISECONDS, _SECONDS, _DATABASE, _END = (
    *(245, 247, 248, 249, 250, 251, 252, 253, 254, 255),
)
_SLOT_INFO = 244
_LIBRARY_NAME = re.compile(rb"#!\S+.*?\bname=(\S+)")
_MODULE_NAME = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
#: Fixed sizes in a stream's groups: an id, and a time.
_ID_BYTES, _TIME_BYTES = 16, 8


#: Values from one pause to the next.
_BREATH = 4096


class Omission(NamedTuple):
    """One thing that is left out. ``kind``: ``"key"``, ``"field expiries"`` (of the hash ``name``), ``"function"``.

    ``type``: of a key, as the TYPE command says; ``db``: of a key or a hash. ``restore``: of a key, the RESTORE command
    that writes it; empty if it was not asked for.
    """

    kind: Literal["key", "field expiries", "function"]
    db: int
    name: bytes
    type: str = ""
    restore: tuple[bytes, ...] = ()


def omissions(fileno: int, *, keys_too: bool, restore_bytes: int = 0) -> Iterator[Omission | None]:
    """What rdb-py leaves out of the RDB in this file, in its order, and None now and then, to let the caller stop.

    Functions stand before all keys: without ``keys_too`` nothing else is read. ``restore_bytes``: the first keys that
    are left out get a ``restore``, as long as their values take no more bytes than this. Raises SnapshotError if it is
    no RDB, and for a type that cannot be walked.
    """
    with mmap.mmap(fileno, 0, access=mmap.ACCESS_READ) as data:
        try:
            yield from _Walk(data, restore_bytes=restore_bytes).omissions(keys_too=keys_too)
        except IndexError:
            raise SnapshotError("the RDB ends in the middle of a value", at=len(data)) from None


def type_of_dump(payload: bytes) -> str:
    """The type of the value in a DUMP payload, as the TYPE command says; of a module's value the module's name."""
    kind = payload[0]
    if kind in (6, 7):
        return _module_type(_Walk(payload[1:] + bytes(9), 0).length())
    return _NAMES.get(kind, f"RDB type {kind}")


class _Walk:
    """A place in an RDB, and the steps over what may lie there."""

    def __init__(self, data: mmap.mmap | bytes, at: int = _NINE_BYTES, *, restore_bytes: int = 0) -> None:
        self._data = data
        self._at = at
        self._db = 0
        self._expires_ms = 0  # of the next key; 0: never
        self._restore_bytes = restore_bytes

    def omissions(self, *, keys_too: bool) -> Iterator[Omission | None]:
        seen = 0
        while (kind := self._byte()) != _END:
            seen += 1
            if seen % _BREATH == 0:
                yield None
            if kind == _DATABASE:
                if not keys_too:
                    return
                self._db = self.length()
            elif kind == _FUNCTION:
                code = self._string()
                found = _LIBRARY_NAME.match(code)
                yield Omission("function", 0, found[1] if found else b"?")
            elif kind in _EXPIRY:
                self._skip(_EXPIRY[kind])
                moment = int.from_bytes(self._data[self._at - _EXPIRY[kind] : self._at], "little")
                self._expires_ms = moment if kind == _MILLISECONDS else moment * 1000
            elif kind in _STEPS:
                _STEPS[kind](self)
            else:
                yield from self._key(kind)
                self._expires_ms = 0

    def _key(self, kind: int) -> Iterator[Omission]:
        key = self._string()
        step = _VALUES.get(kind)
        if step is None:
            raise SnapshotError(f"RDB type {kind} is not known", at=self._at)
        start = self._at
        if kind == 7:
            name = _module_type(self.length())
            self._module()
            yield Omission("key", self._db, key, name, self._restore(kind, key, start))
            return
        step(self)
        if kind in _STREAMS:
            yield Omission("key", self._db, key, "stream", self._restore(kind, key, start))
        elif kind in _WITH_FIELD_EXPIRIES:
            yield Omission("field expiries", self._db, key, "hash")

    def _restore(self, kind: int, key: bytes, start: int) -> tuple[bytes, ...]:
        """The command that writes the value which began at ``start`` and ends here."""
        self._restore_bytes -= self._at - start
        if self._restore_bytes < 0:
            return ()
        version = int(re.sub(rb"\D", b"", self._data[:_NINE_BYTES]))
        payload = dump_of(kind, self._data[start : self._at], version)
        expiry = (b"%d" % self._expires_ms, payload, b"ABSTTL") if self._expires_ms else (b"0", payload)
        return (b"RESTORE", key, *expiry)

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _skip(self, count: int) -> None:
        self._at += count
        if self._at > len(self._data):
            raise IndexError

    def length(self) -> int:
        """A length. Raises SnapshotError for an encoded string in its place."""
        first = self._byte()
        if first < 64:
            return first
        if first < 128:
            return (first & 63) << 8 | self._byte()
        size = {128: 4, 129: 8}.get(first)
        if size is None:
            raise SnapshotError("the RDB has an encoded string in place of a length", at=self._at)
        self._skip(size)
        return int.from_bytes(self._data[self._at - size : self._at], "big")

    def string(self) -> None:
        """Step over a string."""
        first = self._data[self._at]
        if first < 192:
            self._skip(self.length())
            return
        self._at += 1
        if first == 195:
            packed = self.length()
            self.length()
            self._skip(packed)
        else:
            self._skip({192: 1, 193: 2, 194: 4}[first])

    def _string(self) -> bytes:
        """A string; of a compressed one, as a name of some kilobytes may be, what it is made of."""
        start, first = self._at, self._data[self._at]
        self.string()
        if first < 192:
            count = first if first < 64 else None
            if count is None:
                back = _Walk(self._data, start)
                count = back.length()
            return bytes(self._data[self._at - count : self._at])
        if first == 195:
            packed = _Walk(self._data, start + 1)
            size = packed.length()
            packed.length()
            return decompressed(self._data, packed._at, size)
        number = int.from_bytes(self._data[start + 1 : self._at], "little", signed=True)
        return b"%d" % number

    def strings(self, each: int = 1) -> None:
        """Step over a count, and that many groups of ``each`` strings."""
        for _ in range(self.length() * each):
            self.string()

    def _pair(self) -> None:
        self.string()
        self.string()

    def _zset(self) -> None:
        for _ in range(self.length()):
            self.string()
            size = self._byte()
            self._skip(size if size < 253 else 0)

    def _zset_2(self) -> None:
        for _ in range(self.length()):
            self.string()
            self._skip(8)

    def _quicklist_2(self) -> None:
        for _ in range(self.length()):
            self.length()
            self.string()

    def _hash_with_expiries(self) -> None:
        self._skip(8)
        self._hash_with_expiries_22()

    def _hash_with_expiries_22(self) -> None:
        for _ in range(self.length()):
            self.length()
            self.string()
            self.string()

    def _listpack_with_expiries(self) -> None:
        self._skip(8)
        self.string()

    def _stream(self, version: int) -> None:
        self.strings(2)
        for _ in range(3 if version == 1 else 8):
            self.length()
        for _ in range(self.length()):
            self.string()
            for _ in range(2 if version == 1 else 3):
                self.length()
            for _ in range(self.length()):
                self._skip(_ID_BYTES + _TIME_BYTES)
                self.length()
            for _ in range(self.length()):
                self.string()
                self._skip(_TIME_BYTES * (1 if version < 3 else 2))
                for _ in range(self.length()):
                    self._skip(_ID_BYTES)

    def _module(self) -> None:
        """What a module has written, behind its id: opcodes and what they announce, up to 0."""
        while opcode := self.length():
            if opcode in (1, 2):
                self.length()
            elif opcode == 3:
                self._skip(4)
            elif opcode == 4:
                self._skip(8)
            elif opcode == 5:
                self.string()
            else:
                raise SnapshotError(f"a module's value has the unknown opcode {opcode}", at=self._at)

    def _module_aux(self) -> None:
        self.length()
        self._module()


def _module_type(identity: int) -> str:
    return "".join(_MODULE_NAME[identity >> shift & 63] for shift in range(58, 4, -6))


_STREAMS = {15: 1, 19: 2, 21: 3}
_WITH_FIELD_EXPIRIES = frozenset((22, 23, 24, 25))
_NAMES = {15: "stream", 19: "stream", 21: "stream", 26: "stream", 27: "stream"}

_STEPS: dict[int, Callable[[_Walk], object]] = {
    _SLOT_INFO: lambda walk: [walk.length() for _ in range(3)],
    _MODULE_AUX: _Walk._module_aux,
    _IDLE: _Walk.length,
    _FREQUENCY: _Walk._byte,
    _AUX: _Walk._pair,
    _SIZES: lambda walk: [walk.length() for _ in range(2)],
}
#: The expiry of the next key, and its bytes.
_EXPIRY = {_MILLISECONDS: 8, _SECONDS: 4}
_VALUES: dict[int, Callable[[_Walk], object]] = {
    **dict.fromkeys((0, 9, 10, 11, 12, 13, 16, 17, 20, 23), _Walk.string),
    **dict.fromkeys((1, 2, 14), _Walk.strings),
    3: _Walk._zset,
    4: lambda walk: walk.strings(2),
    5: _Walk._zset_2,
    7: _Walk._module,
    18: _Walk._quicklist_2,
    22: _Walk._hash_with_expiries_22,
    24: _Walk._hash_with_expiries,
    25: _Walk._listpack_with_expiries,
    15: lambda walk: walk._stream(1),
    19: lambda walk: walk._stream(2),
    21: lambda walk: walk._stream(3),
}
