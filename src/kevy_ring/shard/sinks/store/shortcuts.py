"""The most frequent commands in their plain form, done on a fakeredis database directly.

fakeredis parses, locks, checks and answers every command as if for any client, about 15 us each. A replication stream
is a few commands in a few plain forms whose answers are not read. A shortcut does one of those, or changes nothing and
returns False: then the command goes the ordinary way, so that everything unusual (another type, an option, an error) is
fakeredis's own business. ``shortcut_probe`` compares both ways before any is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fakeredis import _helpers
from fakeredis._command_args_parsing import Float
from fakeredis._core._database import Item
from fakeredis.model import ExpiringMembersSet, Hash, ZSet

Shortcut = Callable[[Any, list[bytes]], bool]

_MISSING: Any = object()
_INT_LIMIT = 2**63


def _value(db: Any, key: bytes, kind: type) -> Any:
    """The value of ``key``, _MISSING without such a key, None where it is not for a shortcut."""
    item = db._dict.get(key)
    if item is None:
        return _MISSING
    if type(item.value) is not kind:
        return None
    return item.value


def _put(db: Any, key: bytes, value: Any) -> None:
    item = Item(value)
    db._dict[key] = item


def _integer(text: bytes) -> int | None:
    try:
        number = int(text)
    except ValueError:
        return None
    return number if b"%d" % number == text and -_INT_LIMIT <= number < _INT_LIMIT else None


def _set(db: Any, argv: list[bytes]) -> bool:
    if len(argv) == 3:
        _put(db, argv[1], argv[2])
        return True
    if len(argv) != 5 or argv[3] not in _SET_EXPIRIES:
        return False
    amount = _integer(argv[4])
    if amount is None or not 0 < amount < _INT_LIMIT // 2000:
        return False
    relative, unit = _SET_EXPIRIES[argv[3]]
    _put(db, argv[1], argv[2])
    return _expire_at(db, argv[1], (db.time if relative else 0) + amount / unit)


_SET_EXPIRIES = {b"EX": (True, 1), b"PX": (True, 1000.0), b"EXAT": (False, 1), b"PXAT": (False, 1000.0)}


def _expire_at(db: Any, key: bytes, at: float) -> bool:
    db._dict[key].expireat = at
    return True


def _expire(relative: bool, unit: float) -> Shortcut:
    def shortcut(db: Any, argv: list[bytes]) -> bool:
        if len(argv) != 3:
            return False
        amount = _integer(argv[2])
        item = db._dict.get(argv[1])
        if amount is None or item is None:
            return False
        return _expire_at(db, argv[1], (db.time if relative else 0) + amount / unit)

    return shortcut


def _delete(db: Any, argv: list[bytes]) -> bool:
    if len(argv) < 2:
        return False
    for key in argv[1:]:
        db._dict.pop(key, None)
    return True


def _append(db: Any, argv: list[bytes]) -> bool:
    if len(argv) != 3:
        return False
    _, key, tail = argv
    value = _value(db, key, bytes)
    if value is _MISSING:
        _put(db, key, tail)
        return True
    if value is None or len(value) + len(tail) > _helpers.MAX_STRING_SIZE:
        return False
    db._dict[key].value = value + tail
    return True


def _add_to(sign: int, argc: int) -> Shortcut:
    def shortcut(db: Any, argv: list[bytes]) -> bool:
        if len(argv) != argc:
            return False
        step = _integer(argv[2]) if argc == 3 else 1
        value = _value(db, argv[1], bytes)
        if step is None or value is None:
            return False
        old = 0 if value is _MISSING else _integer(value)
        if old is None or not -_INT_LIMIT <= old + sign * step < _INT_LIMIT:
            return False
        new = b"%d" % (old + sign * step)
        if value is _MISSING:
            _put(db, argv[1], new)
        else:
            db._dict[argv[1]].value = new
        return True

    return shortcut


def _hset(db: Any, argv: list[bytes]) -> bool:
    if len(argv) < 4 or len(argv) % 2:
        return False
    fields = _value(db, argv[1], Hash)
    # A hash with expiries of fields has rules of its own for a field that is set again.
    if fields is None or (fields is not _MISSING and fields._expirations):
        return False
    if fields is _MISSING:
        fields = Hash()
        _put(db, argv[1], fields)
    values = fields._values
    for at in range(2, len(argv), 2):
        values[argv[at]] = argv[at + 1]
    return True


def _push(at_end: bool) -> Shortcut:
    def shortcut(db: Any, argv: list[bytes]) -> bool:
        if len(argv) < 3:
            return False
        elements = _value(db, argv[1], list)
        if elements is None:
            return False
        if elements is _MISSING:
            elements = []
            _put(db, argv[1], elements)
        if at_end:
            elements += argv[2:]
        else:
            elements[:0] = argv[:1:-1]
        return True

    return shortcut


def _pop(index: int) -> Shortcut:
    def shortcut(db: Any, argv: list[bytes]) -> bool:
        elements = _value(db, argv[1], list) if len(argv) == 2 else None
        if elements is None or elements is _MISSING:
            return False
        elements.pop(index)
        if not elements:
            del db._dict[argv[1]]
        return True

    return shortcut


def _sadd(db: Any, argv: list[bytes]) -> bool:
    if len(argv) < 3:
        return False
    members = _value(db, argv[1], ExpiringMembersSet)
    if members is None:
        return False
    if members is _MISSING:
        members = ExpiringMembersSet()
        _put(db, argv[1], members)
    members.update(argv[2:])
    return True


def _zadd(db: Any, argv: list[bytes]) -> bool:
    if len(argv) < 4 or len(argv) % 2:
        return False
    scores = _value(db, argv[1], ZSet)
    if scores is None:
        return False
    try:
        # Adding 0.0 makes a zero of a negative zero, as the ordinary way does.
        added = [(argv[at + 1], 0.0 + Float.decode(argv[at])) for at in range(2, len(argv), 2)]
    except _helpers.SimpleError:
        return False
    if scores is _MISSING:
        scores = ZSet()
        _put(db, argv[1], scores)
    for member, score in added:
        scores.add(member, score)
    return True


def _remove(kind: type, discard: Callable[[Any, bytes], Any]) -> Shortcut:
    def shortcut(db: Any, argv: list[bytes]) -> bool:
        container = _value(db, argv[1], kind) if len(argv) > 2 else None
        if container is None or container is _MISSING:
            return False
        for member in argv[2:]:
            discard(container, member)
        if not len(container):
            del db._dict[argv[1]]
        return True

    return shortcut


SHORTCUTS: dict[bytes, Shortcut] = {
    b"SET": _set,
    b"DEL": _delete,
    b"UNLINK": _delete,
    b"APPEND": _append,
    b"INCR": _add_to(1, 2),
    b"INCRBY": _add_to(1, 3),
    b"DECR": _add_to(-1, 2),
    b"DECRBY": _add_to(-1, 3),
    b"EXPIRE": _expire(True, 1),
    b"PEXPIRE": _expire(True, 1000.0),
    b"EXPIREAT": _expire(False, 1),
    b"PEXPIREAT": _expire(False, 1000.0),
    b"HSET": _hset,
    b"HDEL": _remove(Hash, Hash.__delitem__),
    b"RPUSH": _push(True),
    b"LPUSH": _push(False),
    b"LPOP": _pop(0),
    b"RPOP": _pop(-1),
    b"SADD": _sadd,
    b"SREM": _remove(ExpiringMembersSet, ExpiringMembersSet.discard),
    b"ZADD": _zadd,
    b"ZREM": _remove(ZSet, ZSet.discard),
}
