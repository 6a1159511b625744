"""The commands that let fields of a hash expire, for a replica: an expiry in the past is kept as any other.

fakeredis deletes a field at once when its expiry lies in the past, and looks at the clock whenever it touches a hash.
A primary sends HDEL for a field that it has expired; until then the field is there. So ``Hash._expiry_heap``, which
fakeredis deletes by, stays empty, and ``Hash._expirations`` is the only record.
"""

from __future__ import annotations

from typing import Any

from fakeredis._command_args_parsing import Int
from fakeredis._helpers import SimpleError, current_time

_CONDITIONS = frozenset((b"NX", b"XX", b"GT", b"LT", b"FNX", b"FXX"))
#: Milliseconds of one unit, and whether the amount counts from now.
_TIMES = {b"EX": (1000, True), b"PX": (1, True), b"EXAT": (1000, False), b"PXAT": (1, False)}


def deadline_ms(option: bytes, amount: bytes) -> int:
    """The time that ``EX 5`` and its like mean, in Unix milliseconds."""
    unit_ms, is_relative = _TIMES[option.upper()]
    return int(Int.decode(amount)) * unit_ms + (current_time() if is_relative else 0)


class _Asked:
    """The arguments of one command: conditions, when to expire, and the fields (with values where the command has)."""

    def __init__(self, args: tuple[bytes, ...], *, values: bool = False) -> None:
        self.conditions: set[bytes] = set()
        self.at_ms: int | None = None
        self.persists = self.keeps_expiry = False
        at = 0
        while at < len(args) and (word := args[at].upper()) not in (b"FIELDS", b"FVS"):
            if word in _CONDITIONS:
                self.conditions.add(word)
            elif word in _TIMES and at + 1 < len(args):
                at += 1
                self.at_ms = deadline_ms(word, args[at])
            elif word == b"PERSIST":
                self.persists = True
            elif word == b"KEEPTTL":
                self.keeps_expiry = True
            else:
                raise SimpleError("ERR syntax error")
            at += 1
        self.fields = args[at + 2 :]
        count = Int.decode(args[at + 1]) if at + 1 < len(args) else 0
        if not count or len(self.fields) != count * (2 if values else 1):
            raise SimpleError("ERR The `numfields` parameter must match the number of arguments")


class FieldExpiryCommands:
    """Beside FakeSocket, whose methods of these names it replaces."""

    def _hexpire(self, key: Any, when_ms: int, *args: bytes, command: str = "hexpire") -> list[int]:
        asked = _Asked(args)
        fields = key.value
        replies = []
        for field in asked.fields:
            if field not in fields._values:
                replies.append(-2)
            elif _is_refused(asked.conditions, fields._expirations.get(field), when_ms):
                replies.append(0)
            else:
                fields._expirations[field] = when_ms
                key.updated()
                replies.append(1)
        return replies

    def hgetex(self, key: Any, *args: bytes) -> list[bytes | None]:
        asked = _Asked(args)
        fields = key.value
        for field in asked.fields:
            if field not in fields._values:
                continue
            if asked.persists:
                fields._expirations.pop(field, None)
            elif asked.at_ms is not None:
                fields._expirations[field] = asked.at_ms
        key.updated()
        return [fields._values.get(field) for field in asked.fields]

    def hsetex(self, key: Any, *args: bytes) -> int:
        asked = _Asked(args, values=True)
        fields = key.value
        named = asked.fields[::2]
        present = sum(field in fields._values for field in named)
        if (b"FNX" in asked.conditions and present) or (b"FXX" in asked.conditions and present < len(named)):
            return 0
        # Of Valkey 9.1: about the key.
        if (b"NX" in asked.conditions and fields._values) or (b"XX" in asked.conditions and not fields._values):
            return 0
        for field, value in zip(named, asked.fields[1::2], strict=True):
            fields._values[field] = value
            if asked.at_ms is not None:
                fields._expirations[field] = asked.at_ms
            elif not asked.keeps_expiry:
                fields._expirations.pop(field, None)
        key.updated()
        return 1

    def hgetdel(self, key: Any, *args: bytes) -> list[bytes | None]:
        asked = _Asked(args)
        fields = key.value
        found = [fields._values.pop(field, None) for field in asked.fields]
        for field in asked.fields:
            fields._expirations.pop(field, None)
        key.updated()
        return found


def _is_refused(conditions: set[bytes], now_ms: int | None, when_ms: int) -> bool:
    """Whether a condition keeps the expiry ``now_ms`` (None: there is none, which counts as infinite) as it is."""
    return (
        (b"NX" in conditions and now_ms is not None)
        or (b"XX" in conditions and now_ms is None)
        or (b"GT" in conditions and (now_ms is None or when_ms <= now_ms))
        or (b"LT" in conditions and now_ms is not None and when_ms >= now_ms)
    )
