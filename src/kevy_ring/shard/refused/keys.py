"""The keys that a command reads or changes, as far as a replay needs them."""

from __future__ import annotations

from collections.abc import Sequence

_WITHOUT_KEYS = frozenset(
    b"DISCARD EXEC FLUSHALL FLUSHDB FUNCTION MULTI PING PUBLISH SCRIPT SELECT SPUBLISH SWAPDB".split()
)
_ALL = frozenset(b"DEL PFMERGE SDIFFSTORE SINTERSTORE SUNIONSTORE UNLINK".split())
_TWO = frozenset(b"BLMOVE BRPOPLPUSH COPY LMOVE RENAME RENAMENX RPOPLPUSH SMOVE".split())
_EVERY_SECOND = frozenset((b"MSET", b"MSETNX"))
_COUNTED = frozenset((b"EVAL", b"EVALSHA", b"FCALL"))
_SECOND = frozenset((b"XGROUP",))


def keys_of(argv: Sequence[bytes]) -> list[bytes]:
    """The keys of a command; empty if it names none. The key of most commands is their first argument.

    >>> keys_of([b"MSET", b"a", b"1", b"b", b"2"])
    [b'a', b'b']
    """
    name, arguments = argv[0].upper(), list(argv[1:])
    if name in _WITHOUT_KEYS:
        return []
    if name in _ALL:
        return arguments
    if name in _TWO:
        return arguments[:2]
    if name in _EVERY_SECOND:
        return arguments[::2]
    if name == b"BITOP":
        return arguments[1:]
    if name in _COUNTED:
        count = int(arguments[1]) if len(arguments) > 1 and arguments[1].isdigit() else 0
        return arguments[2 : 2 + count]
    return arguments[1:2] if name in _SECOND else arguments[:1]
