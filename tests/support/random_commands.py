"""Random commands of every kind that a replication stream contains."""

from __future__ import annotations

import random
import time

KEYS = [b"k%d" % number for number in range(10)]


def random_command(choose: random.Random) -> list[bytes]:
    """One command on one or two of ten keys. Many fail, because the key has another type."""
    key, other = choose.choice(KEYS), choose.choice(KEYS)
    text = choose.choice([b"1", b"20", b"abc", b"", b"\x00\xff\r\n", b"3.5", b"-7", b"x" * 70])
    number, member = b"%d" % choose.randrange(-3, 9), b"m%d" % choose.randrange(6)
    longitude, latitude = b"%.4f" % choose.uniform(-180, 180), b"%.4f" % choose.uniform(-85, 85)
    return choose.choice(
        [
            [b"SET", key, text], [b"SET", key, text, b"EX", b"1000"], [b"SET", key, text, b"KEEPTTL"],
            [b"SETEX", key, b"3000", text], [b"PSETEX", key, b"3000000", text], [b"SETNX", key, text],
            [b"MSET", key, text, other, b"w"], [b"SETRANGE", key, b"3", b"zz"], [b"SETBIT", key, b"7", b"1"],
            [b"APPEND", key, text], [b"INCRBY", key, number], [b"DECR", key], [b"INCRBYFLOAT", key, b"1.5"],
            [b"GETDEL", key], [b"GETEX", key, b"PERSIST"], [b"HSET", key, member, text], [b"HDEL", key, member],
            [b"HINCRBY", key, member, number], [b"RPUSH", key, text, b"b"], [b"LPUSH", key, text, b"a"],
            [b"LPOP", key], [b"RPOP", key, b"2"], [b"LSET", key, b"0", text], [b"LTRIM", key, b"0", b"3"],
            [b"LREM", key, b"1", b"b"], [b"LINSERT", key, b"BEFORE", b"b", b"q"],
            [b"LMOVE", key, other, b"LEFT", b"RIGHT"],
            [b"SADD", key, member, b"z"], [b"SREM", key, member], [b"SMOVE", key, other, member],
            [b"SUNIONSTORE", key, other, key], [b"ZADD", key, number, member], [b"ZADD", key, b"GT", number, member],
            [b"ZADD", key, b"1.5", member, b"inf", b"q"], [b"ZINCRBY", key, number, member], [b"ZREM", key, member],
            [b"ZREMRANGEBYSCORE", key, b"-inf", b"1"], [b"ZUNIONSTORE", key, b"2", other, key], [b"ZPOPMIN", key],
            [b"GEOADD", key, longitude, latitude, member], [b"DEL", key, other], [b"UNLINK", key],
            [b"EXPIRE", key, b"1000"], [b"PEXPIREAT", key, b"99999999999999"], [b"EXPIRE", key, b"-1"],
            [b"PERSIST", key],
            [b"RENAME", key, other], [b"COPY", key, other], [b"COPY", key, other, b"REPLACE"], [b"MOVE", key, b"1"],
            [b"XADD", key, b"%d-1" % choose.randrange(10**6), member, text], [b"XTRIM", key, b"MAXLEN", b"1"],
            [b"XGROUP", b"CREATE", key, b"g", b"$", b"MKSTREAM"], [b"BITOP", b"OR", key, other, key],
            [b"SORT", key, b"ALPHA", b"STORE", other], [b"MULTI"], [b"EXEC"],
        ]
    )  # fmt: skip


def random_expiry(choose: random.Random) -> list[bytes]:
    """A command that sets, extends or removes an expiry. Most times are in the past or a few milliseconds ahead."""
    key, text = choose.choice(KEYS), choose.choice([b"1", b"20", b"abc"])
    at_ms = b"%d" % (time.time_ns() // 1_000_000 + choose.choice([-100_000, -500, -20, 2, 10, 50, 1_000_000]))
    return choose.choice(
        [
            [b"SET", key, text, b"PXAT", at_ms], [b"PEXPIREAT", key, at_ms], [b"PEXPIREAT", key, at_ms],
            [b"GETEX", key, b"PXAT", at_ms], [b"SET", key, text, b"KEEPTTL"], [b"PERSIST", key],
            [b"PEXPIRE", key, b"1000000"], [b"EXPIRE", key, b"1000"],
        ]
    )  # fmt: skip
