"""Commands that are rewritten for fakeredis."""

from __future__ import annotations

from collections.abc import Callable

from kevy_ring.shard.sinks.memory import MemorySink
from kevy_ring.shard.sinks.store.translations import TRANSLATIONS
from redis_server import RedisServer, redis_version, start_redis

__all__ = ["redis_version", "start_redis"]


def test_places_have_the_scores_of_a_real_redis(start_redis: Callable[..., RedisServer]) -> None:
    client = start_redis().client()
    sink = MemorySink()
    places = [
        (13.361389, 38.115556),
        (0, 0),
        (-180, -85.05112878),
        (180, 85.05112878),
        (-0.1, 0.1),
        (2.349014, 48.864716),
    ]
    for number, (longitude, latitude) in enumerate(places):
        command = [b"GEOADD", b"places", b"%f" % longitude, b"%.8f" % latitude, b"p%d" % number]
        client.execute_command(*command)
        sink.apply(number, command)
    assert sink.keyspace()[b"places"].value == dict(client.zrange("places", 0, -1, withscores=True))
    sink.apply(9, [b"GEOADD", b"places", b"NX", b"CH", b"1", b"1", b"p0", b"2", b"2", b"new"])
    assert len(sink.keyspace()[b"places"].value) == 7
    assert sink.refusals.count == 0


def test_what_is_not_in_the_plain_form_stays_as_it_is() -> None:
    for command in (
        [b"GEOADD"], [b"GEOADD", b"k"], [b"GEOADD", b"k", b"1", b"2"], [b"GEOADD", b"k", b"x", b"2", b"m"],
        [b"GEOADD", b"k", b"181", b"2", b"m"], [b"GEOADD", b"k", b"nan", b"2", b"m"], [b"SETEX", b"k", b"1"],
        [b"ZRANGESTORE", b"k", b"k", b"0", b"1"], [b"ZRANGESTORE", b"k"],
    ):  # fmt: skip
        assert TRANSLATIONS[command[0]](command) == [command]


def test_a_stored_range_replaces_a_key_of_another_type() -> None:
    sink = MemorySink()
    for offset, line in enumerate([b"SET to 1", b"ZADD from 1 a 2 b 3 c", b"ZRANGESTORE to from 1 2"]):
        sink.apply(offset, line.split())
    assert sink.keyspace()[b"to"].value == {b"b": 2.0, b"c": 3.0}


def test_expiries_of_setex_and_psetex_keep_their_milliseconds() -> None:
    sink = MemorySink()
    for offset in range(20):
        sink.apply(offset, [b"PSETEX", b"k%d" % offset, b"100000001", b"v"])
    assert any(entry.expires_at_ms and entry.expires_at_ms % 1000 for entry in sink.keyspace().values())
