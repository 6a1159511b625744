"""Checks that the shortcuts do the same as the installed fakeredis: runs each one both ways and compares."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

from kevy_ring.shard.sinks.store.shortcuts import SHORTCUTS, Shortcut
from kevy_ring.shard.sinks.store.store import Store

_log = logging.getLogger(__name__)

#: Every shortcut once, on missing and on present keys, to the end of containers.
_PROBE = [
    line.split()
    for line in b"""SET s 1
SET e 1 EX 1000
SET p 1 PXAT 99999999999999
APPEND s 2
APPEND new x
INCR n
INCRBY n 5
DECR n
DECRBY n 9
EXPIRE s 100
EXPIREAT e 9999999999
PEXPIRE n 5000000
PEXPIREAT p 99999999999
INCR n
HSET h a 1 b 2
HSET h a 3
HDEL h b
HSET g a 1
HDEL g a
RPUSH l a b c
LPUSH l x y
LPOP l
RPOP l
RPUSH m a
LPOP m
SADD t a b
SADD t b c
SREM t a
SADD u a
SREM u a
ZADD z 1 a 2 b
ZADD z 0.5 b -0 d
ZREM z a
ZADD y inf a
ZREM y a
SET del 1
DEL del nothing
SET unl 1
UNLINK unl
SET s 4
SADD s x
SET l string""".splitlines()
]


@lru_cache(maxsize=1)
def usable_shortcuts() -> dict[bytes, Shortcut]:
    """The shortcuts by command name; none if they do not do the same as the installed fakeredis."""
    try:
        agree = _same(_probe(SHORTCUTS), _probe({}))
    except Exception:
        _log.exception("this fakeredis does not work as expected; every command goes the ordinary way")
        return {}
    if not agree:
        _log.warning(
            "this fakeredis differs from the shortcuts, so they are off: results stay right, but commands are slower"
        )
    return SHORTCUTS if agree else {}


def _probe(enabled: dict[bytes, Shortcut]) -> dict[bytes, Any]:
    store = Store(enabled)
    store.set_clock()
    for argv in _PROBE:
        store.run(argv)
    return {entry.key: entry for entry in store.entries(0)}


def _same(one: dict[bytes, Any], other: dict[bytes, Any]) -> bool:
    def comparable(entry: Any) -> tuple[Any, ...]:
        # The two runs have clocks of their own; all expiries of the probe are further apart than a minute.
        minute = None if entry.expires_at_ms is None else round(entry.expires_at_ms / 60_000)
        return entry.type, entry.value, minute

    return one.keys() == other.keys() and all(comparable(one[key]) == comparable(other[key]) for key in one)
