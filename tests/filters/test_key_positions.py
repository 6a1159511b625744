"""The table of the keys of commands, against what real servers say."""

from __future__ import annotations

from pathlib import Path

import pytest

from kevy_ring.shard.filters.columns import ONE_KEY, code_of
from kevy_ring.shard.filters.key_positions import POSITIONS, keys_of
from redis_server import RedisServer, find_redis, find_valkey

FINDERS = {"6.2": find_redis, "7.0": find_redis, "8.2": find_redis, "8.1": find_valkey, "9.1": find_valkey}
#: Commands that hold others: their keys are those of the commands in them.
CONTAINERS = {"OBJECT", "XGROUP", "XINFO", "MEMORY"}


@pytest.mark.parametrize("version", FINDERS)
def test_every_command_of_a_server_is_in_the_table_with_its_positions(version: str, tmp_path: Path) -> None:
    server = RedisServer(FINDERS[version](version), tmp_path / "redis")
    try:
        client = server.client()
        connection = client.connection_pool.get_connection()
        connection.send_command("COMMAND")
        rows = connection.read_response()
    finally:
        server.stop()
    assert len(rows) > 200
    missing, other, movable = [], [], []
    for row in rows:
        name = row[0].upper()
        if name not in POSITIONS:
            missing.append(name)
        elif POSITIONS[name] != tuple(row[3:6]) and name.decode() not in CONTAINERS:
            other.append((name, row[3:6]))
        if {b"movablekeys", "movablekeys"} & set(row[2]):
            movable.append(name)
    assert (missing, other) == ([], [])
    # Their keys move with their arguments, so the columns never decide them. SORT_RO writes nothing.
    assert [name for name in movable if name in ONE_KEY] in ([], [b"SORT_RO"])


@pytest.mark.parametrize(
    ("argv", "keys"),
    [
        (b"SET a 1", b"a"),
        (b"XGROUP CREATE s g $", b"s"),
        (b"BLPOP a b 0", b"a b"),
        (b"LMPOP 2 a b LEFT", b"a b"),
        (b"BZMPOP 0 2 a b MIN", b"a b"),
        (b"ZUNION 2 a b", b"a b"),
        (b"XREADGROUP GROUP g c STREAMS a b > >", b"a b"),
        (b"XREADGROUP GROUP streams streams COUNT 1 STREAMS a b > >", b"a b"),
        (b"MSETEX 2 a 1 b 2 EX 5", b"a b"),
        (b"JSON.SET a $ 1", b"a"),
        (b"TS.MADD a 1 2 b 3 4", b"a b"),
        (b"PUBLISH channel text", b""),
        (b"SPUBLISH channel text", b""),
    ],
)
def test_the_keys_of_a_command_are_found(argv: bytes, keys: bytes) -> None:
    words = argv.split()
    assert keys_of(words[0], words) == keys.split()


@pytest.mark.parametrize("argv", [b"FOO a", b"LMPOP x a", b"LMPOP 9 a b LEFT", b"XREAD COUNT 1", b"LMPOP", b"SET"])
def test_a_command_without_a_known_place_of_its_keys_has_none(argv: bytes) -> None:
    words = argv.split()
    assert keys_of(words[0], words) is None


def test_no_two_names_of_commands_with_one_key_have_the_same_code() -> None:
    codes = {code_of(name) for name in ONE_KEY}
    assert len(codes) == len(ONE_KEY)
    assert {code_of(name.lower()) for name in ONE_KEY} == codes
    assert not codes & {code_of(name) for name in POSITIONS if len(name) <= 16 and name not in ONE_KEY}
