"""Where the keys of a command are: a table made from the replies to COMMAND of real servers, which a test compares.

Of Redis 6.2, 7.0 and 8.2 and of Valkey 8.1 and 9.1. The commands of modules are from their documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

#: The first key, the last one (negative: counted from the end), and the step between keys, as COMMAND gives them.
Positions = tuple[int, int, int]

_KEYLESS: Positions = (0, 0, 0)
_FIRST: Positions = (1, 1, 1)
_NAMES: dict[Positions, str] = {
    _FIRST: (
        "APPEND BITCOUNT BITFIELD BITFIELD_RO BITPOS CLUSTERSCAN DECR DECRBY DELEX DELIFEQ DUMP EXPIRE EXPIREAT "
        "EXPIRETIME GEOADD GEODIST GEOHASH GEOPOS GEORADIUS GEORADIUSBYMEMBER GEORADIUSBYMEMBER_RO GEORADIUS_RO "
        "GEOSEARCH GET GETBIT GETDEL GETEX GETRANGE GETSET HDEL HEXISTS HEXPIRE HEXPIREAT HEXPIRETIME HGET HGETALL "
        "HGETDEL HGETEX HINCRBY HINCRBYFLOAT HKEYS HLEN HMGET HMSET HPERSIST HPEXPIRE HPEXPIREAT HPEXPIRETIME HPTTL "
        "HRANDFIELD HSCAN HSET HSETEX HSETNX HSTRLEN HTTL HVALS INCR INCRBY INCRBYFLOAT LINDEX LINSERT LLEN LPOP "
        "LPOS LPUSH LPUSHX LRANGE LREM LSET LTRIM MOVE PERSIST PEXPIRE PEXPIREAT PEXPIRETIME PFADD PSETEX PTTL "
        "RESTORE RESTORE-ASKING RPOP RPUSH RPUSHX SADD SCARD SET SETBIT SETEX SETNX SETRANGE SISMEMBER SMEMBERS "
        "SMISMEMBER SORT SORT_RO SPOP SPUBLISH SRANDMEMBER SREM SSCAN STRLEN SUBSTR TTL TYPE VADD VCARD VDIM VEMB "
        "VGETATTR VINFO VISMEMBER VLINKS VRANDMEMBER VREM VSETATTR VSIM XACK XACKDEL XADD XAUTOCLAIM XCFGSET XCLAIM "
        "XDEL XDELEX XLEN XPENDING XRANGE XREVRANGE XSETID XTRIM ZADD ZCARD ZCOUNT ZDIFFSTORE ZINCRBY ZINTERSTORE "
        "ZLEXCOUNT ZMSCORE ZPOPMAX ZPOPMIN ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK ZREM ZREMRANGEBYLEX "
        "ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE ZUNIONSTORE"
    ),
    (1, -1, 1): (
        "DEL EXISTS MGET PFCOUNT PFMERGE SDIFF SDIFFSTORE SINTER SINTERSTORE SSUBSCRIBE SUNION SUNIONSTORE "
        "SUNSUBSCRIBE TOUCH UNLINK WATCH"
    ),
    (1, -2, 1): "BLPOP BRPOP BZPOPMAX BZPOPMIN JSON.MGET",
    (1, -1, 2): "MSET MSETNX",
    (1, -1, 3): "JSON.MSET TS.MADD",
    (1, 2, 1): (
        "BLMOVE BRPOPLPUSH COPY GEOSEARCHSTORE LCS LMOVE RENAME RENAMENX RPOPLPUSH SMOVE TS.CREATERULE TS.DELETERULE "
        "ZRANGESTORE"
    ),
    (2, -1, 1): "BITOP",
    (2, 2, 1): "MEMORY OBJECT PFDEBUG XGROUP XINFO",
    (3, 3, 1): "MIGRATE",
    _KEYLESS: (
        "ACL ASKING AUTH BGREWRITEAOF BGSAVE BLMPOP BZMPOP CLIENT CLUSTER COMMAND COMMANDLOG CONFIG DBSIZE DEBUG "
        "DISCARD ECHO EVAL EVALSHA EVALSHA_RO EVAL_RO EXEC FAILOVER FCALL FCALL_RO FLUSHALL FLUSHDB FUNCTION HELLO "
        "HOST: INFO KEYS LASTSAVE LATENCY LMPOP LOLWUT MODULE MONITOR MSETEX MULTI PFSELFTEST PING POST PSUBSCRIBE "
        "PSYNC PUBLISH PUBSUB PUNSUBSCRIBE QUIT RANDOMKEY READONLY READWRITE REPLCONF REPLICAOF RESET ROLE SAVE SCAN "
        "SCRIPT SELECT SFLUSH SHUTDOWN SINTERCARD SLAVEOF SLOWLOG STRALGO SUBSCRIBE SWAPDB SYNC TIME TRIMSLOTS "
        "UNSUBSCRIBE UNWATCH WAIT WAITAOF XREAD XREADGROUP ZDIFF ZINTER ZINTERCARD ZMPOP ZUNION"
    ),
}
POSITIONS: dict[bytes, Positions] = {
    name.encode(): positions for positions, names in _NAMES.items() for name in names.split()
}
#: The number of the keys is the argument at this index, and the keys follow it.
_COUNTED: dict[bytes, int] = {
    **dict.fromkeys((b"LMPOP", b"ZMPOP", b"SINTERCARD", b"ZDIFF", b"ZINTER", b"ZINTERCARD", b"ZUNION"), 1),
    **dict.fromkeys((b"BLMPOP", b"BZMPOP"), 2),
}
#: The families of modules whose commands have one key, the first argument, if the table does not say otherwise.
_MODULES = (b"JSON.", b"BF.", b"CF.", b"CMS.", b"TOPK.", b"TDIGEST.", b"TS.")
#: The number of their keys is the second argument. What a script changes can be more than its keys.
SCRIPTS = frozenset((b"EVAL", b"EVALSHA", b"EVAL_RO", b"EVALSHA_RO", b"FCALL", b"FCALL_RO"))
#: A shard channel is where a key would be, and is none.
_NO_KEYS = frozenset((b"SPUBLISH", b"SSUBSCRIBE", b"SUNSUBSCRIBE", b"CLUSTERSCAN"))


def is_known(name: bytes) -> bool:
    """Whether the positions of the keys of a command are known. ``name``: in upper case."""
    return name in POSITIONS or name.startswith(_MODULES)


def positions_of(name: bytes) -> Positions | None:
    """The positions of the keys of a command; None: the command is not known. ``name``: in upper case."""
    if name in _NO_KEYS:
        return _KEYLESS
    return POSITIONS.get(name) or (_FIRST if name.startswith(_MODULES) else None)


def counted_keys(argv: Sequence[bytes], at: int) -> list[bytes] | None:
    """The keys that follow their number, which is at index ``at``. None: it is no number, or there are fewer keys."""
    number = argv[at] if len(argv) > at else b""
    count = int(number) if number.isdigit() and len(number) < 10 else 0
    keys = list(argv[at + 1 : at + 1 + count])
    return keys if count and len(keys) == count else None


def keys_of(name: bytes, argv: Sequence[bytes]) -> list[bytes] | None:
    """All keys of a command. None: the command is not known, or its arguments are wrong.

    ``name``: ``argv[0]`` in upper case. Keys of scripts, and those of options such as STORE, are not found here.
    """
    finder = _FINDERS.get(name)
    if finder is not None:
        return finder(argv)
    positions = positions_of(name)
    if positions is None:
        return None
    first, last, step = positions
    if not first:
        return []
    end = last + 1 if last > 0 else len(argv) + last + 1
    keys = list(argv[first:end:step])
    return keys or None


def named_keys(argv: Sequence[bytes]) -> Sequence[bytes]:
    """The keys that a command names, also one that runs a script. Of an unknown command: its first argument.

    >>> named_keys([b"MSETEX", b"2", b"a", b"1", b"b", b"2"])
    [b'a', b'b']
    """
    name = argv[0].upper()
    if name in SCRIPTS:
        return counted_keys(argv, 2) or ()
    keys = keys_of(name, argv)
    return argv[1:2] if keys is None else keys


def _streams(argv: Sequence[bytes]) -> list[bytes] | None:
    """The keys of XREAD and XREADGROUP: the first half of what follows STREAMS."""
    at = 1
    while at < len(argv) and argv[at].upper() != b"STREAMS":
        at += {b"GROUP": 3, b"COUNT": 2, b"BLOCK": 2, b"CLAIM": 2}.get(argv[at].upper(), 1)
    rest = argv[at + 1 :]
    return list(rest[: len(rest) // 2]) or None


def _pairs(argv: Sequence[bytes]) -> list[bytes] | None:
    """The keys of MSETEX: their number, and then a key and a value each."""
    number = argv[1] if len(argv) > 1 else b""
    count = int(number) if number.isdigit() and len(number) < 10 else 0
    keys = list(argv[2 : 2 + 2 * count : 2])
    return keys if count and len(keys) == count else None


def _finder(at: int) -> Callable[[Sequence[bytes]], list[bytes] | None]:
    return lambda argv: counted_keys(argv, at)


_FINDERS: dict[bytes, Callable[[Sequence[bytes]], list[bytes] | None]] = {
    b"XREAD": _streams,
    b"XREADGROUP": _streams,
    b"MSETEX": _pairs,
    **{name: _finder(at) for name, at in _COUNTED.items()},
}
