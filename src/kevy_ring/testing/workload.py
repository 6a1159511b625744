"""A seeded workload: the keys of a shard before replication starts, and the commands that follow."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from kevy_ring.replica.snapshots.entry import Entry

BIG_VALUE_BYTES = 1 << 20
#: 2100-01-01 as Unix milliseconds, so that no key expires while two keyspaces are compared.
FAR_AHEAD_MS = 4_102_444_800_000
#: Some names and values hold bytes that could break a protocol: line ends, zeros, invalid UTF-8.
BINARY = b"\x00\r\n\xff$1\r\n"
#: The types of the keys, by index.
FAMILIES = ("string", "hash", "string", "list", "set", "zset", "string", "counter")
#: Commands use the preloaded keys and some new names, so that keys also appear. There are at least a few names.
NEW_NAMES_SHARE = 10
LEAST_NAMES = 64
#: Values are cut from a few random ones, because making random bytes would take most of the time.
_VALUES_KEPT = 256
_VALUES_KEPT_BYTES = 4 << 20
_DRAW = 1024

Maker = Callable[[int], tuple[bytes, ...]]


def split(total: int, shards: int, shard: int) -> int:
    """The share of ``total`` that one shard gets."""
    return total // shards + (shard < total % shards)


@dataclass(frozen=True)
class Workload:
    """The keys and commands of one shard of an embedded upstream. The same parameters always give the same bytes.

    ``keys``, ``ops`` and ``big_values`` (strings of 1 MiB) are totals over all ``shards``. The preloaded keys take the
    offsets below ``first_offset``, as if each had been one frame. The commands take the offsets from there on.
    """

    shard: int
    shards: int
    keys: int
    ops: int
    value_bytes: int = 64
    seed: int = 1
    big_values: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.shard < self.shards:
            raise ValueError(f"there is no shard {self.shard} among {self.shards} shards")
        if min(self.keys, self.ops, self.value_bytes, self.big_values) < 0:
            raise ValueError("keys, ops, value_bytes and big_values cannot be negative")

    @property
    def key_count(self) -> int:
        """Keys in the first snapshot of this shard."""
        return split(self.keys, self.shards, self.shard)

    @property
    def op_count(self) -> int:
        """Frames of this shard."""
        return split(self.ops, self.shards, self.shard)

    @property
    def big_count(self) -> int:
        """Strings of 1 MiB of this shard. Each is set once in the live part, and preloaded if ``keys`` allow it."""
        return split(self.big_values, self.shards, self.shard)

    @property
    def first_offset(self) -> int:
        """The offset of the first live frame."""
        return self.key_count

    @property
    def final_offset(self) -> int:
        """The offset of the last frame; one less than ``first_offset`` if there is none (-1 without keys)."""
        return self.first_offset + self.op_count - 1

    def preload(self) -> Iterator[Entry]:
        """The keys before the first frame, ``key_count`` of them."""
        rng = self._random("preload")
        big = min(self.big_count, self.key_count)
        for index in range(big):
            yield Entry(self._big_name(index), "string", rng.randbytes(BIG_VALUE_BYTES))
        values = self._values(rng)
        for index in range(self.key_count - big):
            entry = self._entry(index, rng.choice(values), rng)
            if rng.random() < 0.1:
                entry.expires_at_ms = FAR_AHEAD_MS + rng.randrange(1_000_000)
            yield entry

    def commands(self) -> Iterator[tuple[bytes, ...]]:
        """The live commands in order, ``op_count`` of them."""
        rng = self._random("live")
        weights, makers = zip(*Mix(rng, self._names, self._values(rng), self.value_bytes).shares(), strict=True)
        big_at = {(index + 1) * self.op_count // (self.big_count + 1): index for index in range(self.big_count)}
        for start in range(0, self.op_count, _DRAW):
            count = min(_DRAW, self.op_count - start)
            for number, make in enumerate(rng.choices(makers, weights, k=count), start):
                if number in big_at:
                    yield b"SET", self._big_name(big_at[number]), rng.randbytes(BIG_VALUE_BYTES)
                else:
                    yield make(number)

    def _random(self, part: str) -> random.Random:
        return random.Random(f"{self.seed}/{self.shard}/{part}")

    def _values(self, rng: random.Random) -> list[bytes]:
        count = max(1, min(_VALUES_KEPT, _VALUES_KEPT_BYTES // max(1, self.value_bytes)) // 2)
        binary = [rng.randbytes(self.value_bytes) for _ in range(count)]
        return binary + [value.hex().encode()[: self.value_bytes] for value in binary]

    def _name(self, index: int) -> bytes:
        # The shard's number is part of the name, so that two shards have no key in common.
        name = b"%s:%d:%d" % (FAMILIES[index % len(FAMILIES)].encode(), self.shard, index)
        return name + BINARY if index % 50 == 49 else name

    def _big_name(self, index: int) -> bytes:
        return b"big:%d:%d" % (self.shard, index)

    @cached_property
    def _names(self) -> dict[str, list[bytes]]:
        plain = self.key_count - min(self.big_count, self.key_count)
        names = [self._name(index) for index in range(plain + plain // NEW_NAMES_SHARE + LEAST_NAMES)]
        width = len(FAMILIES)
        return {
            family: [name for at, of in enumerate(FAMILIES) if of == family for name in islice(names, at, None, width)]
            for family in FAMILIES
        }

    def _entry(self, index: int, value: bytes, rng: random.Random) -> Entry:
        name, family = self._name(index), FAMILIES[index % len(FAMILIES)]
        count = 1 + index // len(FAMILIES) % 6
        if family == "counter":
            return Entry(name, "string", b"%d" % rng.randrange(-1000, 1000))
        if family == "hash":
            return Entry(name, "hash", {b"field:%d" % at: value for at in range(count)})
        if family == "list":
            return Entry(name, "list", [b"%d:%d" % (index, at) for at in range(count - 1)] + [b""])
        if family == "set":
            return Entry(name, "set", {b"member:%d" % at for at in range(count)})
        if family == "zset":
            return Entry(name, "zset", {b"member:%d" % at: rng.randrange(-4000, 4000) / 4 for at in range(count)})
        return Entry(name, "string", b"" if index % 40 == 0 else value)


class Mix:
    """Makes the commands from random numbers. ``number`` is the command's place in the stream."""

    def __init__(
        self, rng: random.Random, names: dict[str, list[bytes]], values: list[bytes], value_bytes: int
    ) -> None:
        self._random = rng.random
        self._strings = names["string"]
        self._counters = names["counter"]
        self._hashes = names["hash"]
        self._lists = names["list"]
        self._sets = names["set"]
        self._zsets = names["zset"]
        self._all = [name for family in names.values() for name in family]
        self._values = values
        self._value_bytes = value_bytes
        self._members = [b"member:%d" % at for at in range(12)] + [b"", BINARY]
        self._fields = [b"field:%d" % at for at in range(12)] + [b"", BINARY]

    def _pick(self, among: list[bytes]) -> bytes:
        return among[int(self._random() * len(among))]

    def _value(self, number: int) -> bytes:
        # The number makes each write unique, so that a lost, doubled or swapped frame shows in the keyspace.
        return (b"%d:%b" % (number, self._pick(self._values)))[: self._value_bytes]

    def _hset(self, number: int) -> tuple[bytes, ...]:
        if number % 3:
            return b"HSET", self._pick(self._hashes), self._pick(self._fields), self._value(number)
        first = b"field:%d" % (number % 12)
        return b"HSET", self._pick(self._hashes), first, b"", self._pick(self._fields), b"%d" % number

    def _rpush(self, number: int) -> tuple[bytes, ...]:
        rest = () if number % 4 else (b"", BINARY)
        return b"RPUSH", self._pick(self._lists), b"%d" % number, *rest

    def shares(self) -> list[tuple[int, Maker]]:
        """The approximate percentage of each command, and its maker."""
        pick, value, strings, lists, sets, zsets = (
            self._pick, self._value, self._strings, self._lists, self._sets, self._zsets
        )  # fmt: skip
        return [
            (38, lambda n: (b"SET", pick(strings), value(n))),
            (2, lambda n: (b"SET", pick(strings), b"" if n % 2 else BINARY * (n % 7))),
            (4, lambda n: (b"APPEND", pick(strings), b"+%d" % n)),
            (9, lambda n: (b"INCRBY", pick(self._counters), b"%d" % (n % 2001 - 1000))),
            (12, self._hset),
            (2, lambda _: (b"HDEL", pick(self._hashes), pick(self._fields))),
            (8, self._rpush),
            (2, lambda n: (b"LPUSH", pick(lists), b"%d" % n, b"-%d" % n)),
            (3, lambda _: (b"LPOP", pick(lists))),
            (2, lambda _: (b"RPOP", pick(lists))),
            (6, lambda n: (b"SADD", pick(sets), pick(self._members), b"%d" % (n % 100))),
            (2, lambda _: (b"SREM", pick(sets), pick(self._members))),
            (5, lambda n: (b"ZADD", pick(zsets), b"%.2f" % (n % 9001 / 4 - 1000), pick(self._members))),
            (2, lambda _: (b"ZREM", pick(zsets), pick(self._members))),
            (1, lambda _: (b"DEL", pick(self._all))),
            (2, lambda n: (b"PEXPIREAT", pick(self._all), b"%d" % (FAR_AHEAD_MS + n))),
        ]
