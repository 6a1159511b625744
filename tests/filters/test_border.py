"""A command with keys on both sides of a filter is cut down to those that pass, or refused by name."""

from __future__ import annotations

import random

import pytest

from kevy_ring.errors import FilterRefused
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard import KeyFilter, filtered
from kevy_ring.shard.filters.border import AcrossBorder, Border
from kevy_ring.shard.sinks.jsonl.relative_expiry import made_absolute
from kevy_ring.shard.sinks.memory import MemorySink
from random_commands import KEYS, random_command

REFUSED = b"(refused)"
NAMES = KeyFilter(keys=[b"i*"])  # i1, i2 pass; o1, o2 do not
IN_5 = KeyFilter(databases=[5], keys=[b"i*"])


@pytest.mark.parametrize(
    ("command", "inside"),
    [
        (b"SET i1 v", b"SET i1 v"),
        (b"SET o1 v", b""),
        (b"DEL i1 o1 i2", b"DEL i1 i2"),
        (b"UNLINK o1 o2", b""),
        (b"MSET o1 a i1 b o2 c", b"MSET i1 b"),
        (b"MSETNX o1 a i1 b", b"MSET i1 b"),
        (b"MSETNX i2 a i1 b", b"MSETNX i2 a i1 b"),
        (b"RENAME i1 i2", b"RENAME i1 i2"),
        (b"RENAME i1 o1", b"DEL i1"),
        (b"RENAMENX i1 o1", b"DEL i1"),
        (b"RENAME o1 i1", REFUSED),
        (b"RENAME o1 o2", b""),
        (b"COPY i1 o1", b""),
        (b"COPY o1 i1 REPLACE", REFUSED),
        (b"COPY i1 i2 DB 3", b"COPY i1 i2 DB 3"),
        (b"MOVE i1 3", b"MOVE i1 3"),
        (b"LMOVE i1 o1 LEFT RIGHT", b"LPOP i1"),
        (b"LMOVE i1 o1 RIGHT LEFT", b"RPOP i1"),
        (b"RPOPLPUSH i1 o1", b"RPOP i1"),
        (b"RPOPLPUSH o1 i1", REFUSED),
        (b"BLMOVE o1 o2 LEFT RIGHT 0", b""),
        (b"SMOVE i1 o1 m", b"SREM i1 m"),
        (b"SMOVE o1 i1 m", b"SADD i1 m"),
        (b"SINTERSTORE i1 i2 o1", REFUSED),
        (b"SINTERSTORE i1 i2", b"SINTERSTORE i1 i2"),
        (b"SUNIONSTORE o1 i1 i2", b""),
        (b"ZUNIONSTORE i1 2 i2 o1 WEIGHTS 1 2", REFUSED),
        (b"ZUNIONSTORE i1 1 i2 AGGREGATE MIN", b"ZUNIONSTORE i1 1 i2 AGGREGATE MIN"),
        (b"ZRANGESTORE i1 o1 0 -1", REFUSED),
        (b"GEOSEARCHSTORE o1 i1 FROMMEMBER m BYRADIUS 1 m", b""),
        (b"GEORADIUS o1 1 2 3 m STORE i1", REFUSED),
        (b"GEORADIUS i1 1 2 3 m STOREDIST i2", b"GEORADIUS i1 1 2 3 m STOREDIST i2"),
        (b"GEORADIUSBYMEMBER i1 STORE 3 m", b"GEORADIUSBYMEMBER i1 STORE 3 m"),
        (b"GEORADIUS i1 1 2 3 m STOREDIST store ASC", b""),
        (b"GEORADIUS o1 1 2 3 m COUNT 3 ANY STORE i1 ASC", REFUSED),
        (b"SORT o1 STORE i1", REFUSED),
        (b"SORT i1 BY nosort STORE i2", b"SORT i1 BY nosort STORE i2"),
        (b"SORT i1 BY w_* STORE i2", REFUSED),
        (b"SORT i1 BY w_* STORE o2", b""),
        (b"BITOP AND i1 i2 o1", REFUSED),
        (b"BITOP AND o1 i2 o1", b""),
        (b"PFMERGE i1 i2", b"PFMERGE i1 i2"),
        (b"PFMERGE i1 o1", REFUSED),
        (b"LMPOP 2 i1 o1 LEFT", REFUSED),
        (b"XGROUP CREATE i1 g $", b"XGROUP CREATE i1 g $"),
        (b"XGROUP CREATE o1 g $", b""),
        (b"JSON.MSET i1 $ 1 o1 $ 2", b"JSON.MSET i1 $ 1"),
        (b"FLUSHALL", b"FLUSHALL"),
        (b"FLUSHDB ASYNC", b"FLUSHDB ASYNC"),
        (b"SWAPDB 0 5", b"SWAPDB 0 5"),
        (b"PUBLISH i1 text", b""),
        (b"FUNCTION LOAD code", b""),
        (b"SCRIPT LOAD code", b""),
        (b"EVAL code 1 i1", REFUSED),
        (b"EVAL code 1 o1", REFUSED),
        (b"MIGRATE h 1 i1 0 5", REFUSED),
        (b"NEW.THING i1", REFUSED),
        (b"RENAME i1", REFUSED),
    ],
)
def test_a_command_is_cut_down_by_names(command: bytes, inside: bytes) -> None:
    assert cut(NAMES, 0, command) == inside


@pytest.mark.parametrize(
    ("db", "command", "inside"),
    [
        (5, b"SET i1 v", b"SET i1 v"),
        (0, b"SET i1 v", b""),
        (5, b"MOVE i1 0", b"DEL i1"),
        (0, b"MOVE i1 5", REFUSED),
        (0, b"MOVE o1 5", b""),
        (5, b"COPY i1 i1 DB 0", b""),
        (0, b"COPY i1 i2 DB 5", REFUSED),
        (0, b"COPY i1 o2 DB 5", b""),
        (5, b"FLUSHDB", b"FLUSHDB"),
        (0, b"FLUSHDB", b""),
        (0, b"FLUSHALL", b"FLUSHALL"),
        (0, b"SWAPDB 0 5", REFUSED),
        (0, b"SWAPDB 0 1", b""),
    ],
)
def test_a_command_is_cut_down_by_databases(db: int, command: bytes, inside: bytes) -> None:
    assert cut(IN_5, db, command) == inside


def cut(chosen: KeyFilter, db: int, command: bytes, *, only_done: bool = True) -> bytes:
    try:
        inside = Border(chosen, only_done=only_done).inside(db, command.split())
    except AcrossBorder:
        return REFUSED
    return b" ".join(inside or [])


def test_a_filter_of_databases_alone_lets_unknown_commands_of_them_pass() -> None:
    only = KeyFilter(databases=[5])
    assert (cut(only, 5, b"NEW.THING a"), cut(only, 0, b"NEW.THING a")) == (b"NEW.THING a", b"")


def test_a_filter_of_commands_drops_the_others_before_it_looks_at_keys() -> None:
    only = KeyFilter(keys=[b"i*"], commands=[b"set", b"del"])
    assert cut(only, 0, b"RENAME o1 i1") == b""
    assert cut(only, 0, b"del o1 i1") == b"del i1"
    assert cut(KeyFilter(commands=[b"FLUSHALL"]), 0, b"flushall") == b"flushall"


@pytest.mark.parametrize(
    "command", [b"RENAMENX i1 o1", b"MSETNX i1 a o1 b", b"LMOVE i1 o1 LEFT LEFT", b"SMOVE i1 o1 m", b"MOVE i1 9"]
)
def test_a_stream_that_may_hold_commands_without_effect_is_cut_down_only_where_that_is_sure(command: bytes) -> None:
    chosen = KeyFilter(databases=[0], keys=[b"i*"])
    assert cut(chosen, 0, command, only_done=False) == REFUSED
    assert cut(chosen, 0, command) != REFUSED


def test_a_refusal_names_the_command_the_key_and_the_offset() -> None:
    sink = filtered(MemorySink(), NAMES)
    with pytest.raises(FilterRefused, match=r"cannot apply RENAME at offset 71: 'i1' passes .* from 'o1'") as caught:
        sink.apply(71, [b"RENAME", b"o1", b"i1"])
    error = caught.value
    assert (error.command, error.offset, error.filter, error.key) == (b"RENAME", 71, "--keys 'i*'", b"o1")


# --- the property: filtering a stream and then applying it is applying it and then filtering the keys ---------------

FILTERS = {
    "half of the keys": KeyFilter(keys=[b"k[0-4]"]),
    "all but two": KeyFilter(exclude=[b"k7", b"k8"]),
    "one database": KeyFilter(databases=[1]),
    "keys of two databases": KeyFilter(databases=[0, 2], keys=[b"k*"], exclude=[b"k[12]"]),
    "a function": KeyFilter(function="test_border:is_even"),
}


def is_even(db: int, key: bytes) -> bool:
    return (db + key[-1]) % 2 == 0


def random_stream(choose: random.Random, count: int) -> list[list[bytes]]:
    stream: list[list[bytes]] = []
    is_open = False
    for _ in range(count):
        argv = random_command(choose)
        if argv[0] in (b"MULTI", b"EXEC"):
            argv, is_open = ([b"EXEC"], False) if is_open else ([b"MULTI"], True)
        elif choose.random() < 0.15:
            key, other, db = choose.choice(KEYS), choose.choice(KEYS), b"%d" % choose.randrange(3)
            argv = choose.choice(
                [
                    [b"SELECT", db], [b"SELECT", db], [b"SELECT", db], [b"COPY", key, other, b"DB", db],
                    [b"SWAPDB", db, b"0"], [b"FLUSHDB"] if choose.random() < 0.2 else [b"SELECT", db],
                    [b"FLUSHALL"] if choose.random() < 0.1 else [b"SELECT", db], [b"PUBLISH", key, b"x"],
                ]
            )  # fmt: skip
        stream.append(made_absolute(argv, 4_000_000_000_000))  # both stores apply it, at different times
    return [*stream, *([[b"EXEC"]] if is_open else [])]


def passing(sink: MemorySink, chosen: KeyFilter) -> dict[tuple[int, bytes], Entry]:
    return {(db, key): entry for db in range(3) for key, entry in sink.keyspace(db).items() if chosen.passes(db, key)}


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("seed", range(3))
def test_the_filtered_stream_makes_the_keys_that_pass(name: str, seed: int) -> None:
    chosen = FILTERS[name]
    whole, part = MemorySink(), MemorySink()
    sink = filtered(part, chosen, only_done=False)  # many of these commands fail
    refused = 0
    for offset, argv in enumerate(random_stream(random.Random(f"{name} {seed}"), 1200), 1):
        try:
            sink.apply(offset, argv)
        except FilterRefused:
            refused += 1  # the whole store does not get it either
            continue
        whole.apply(offset, argv)
    expected = passing(whole, chosen)
    assert passing(part, chosen) == expected
    assert sum(len(part.keyspace(db)) for db in range(3)) == len(expected)
    assert refused > 0
