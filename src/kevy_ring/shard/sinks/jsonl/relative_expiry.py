"""Commands whose expiry counts from the time of applying, and their forms with an absolute time.

Redis 6.2 and kevy replicate ``SET k v PX 100`` and ``EXPIRE k 5`` as a client sent them; Redis 7 sends absolute times.
To apply a relative command again later, a reader needs the time at which it was applied first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kevy_ring.events import BytesLike

_UNIT_MS = {b"EX": 1000, b"PX": 1}


def is_relative(argv: Sequence[BytesLike]) -> bool:
    """Whether the arguments of a command have an expiry that counts from now."""
    name = argv[0]
    if len(name) > _LONGEST or len(argv) < 3:
        return False
    rewrite = _REWRITES.get(bytes(name).upper())
    return rewrite is not None and rewrite([bytes(item) for item in argv], 0) is not None


def made_absolute(argv: list[bytes], at_ms: int) -> list[bytes]:
    """The command with an absolute expiry, if it was applied at ``at_ms`` (Unix milliseconds).

    Any other command, and one without valid numbers, is returned unchanged.

        >>> made_absolute([b"EXPIRE", b"k", b"5"], 1000)
        [b'PEXPIREAT', b'k', b'6000']
    """
    rewrite = _REWRITES.get(argv[0].upper())
    return (rewrite(argv, at_ms) if rewrite is not None else None) or argv


def _moment(amount: bytes, unit_ms: int, at_ms: int) -> bytes | None:
    try:
        return b"%d" % (at_ms + int(amount) * unit_ms)
    except ValueError:
        return None


def _by_option(first: int) -> Callable[[list[bytes], int], list[bytes] | None]:
    """The rewrite of a command with EX or PX among its arguments from index ``first`` on."""

    def rewrite(argv: list[bytes], at_ms: int) -> list[bytes] | None:
        for i in range(first, len(argv) - 1):
            unit_ms = _UNIT_MS.get(argv[i].upper())
            if unit_ms is not None:
                moment = _moment(argv[i + 1], unit_ms, at_ms)
                return None if moment is None else [*argv[:i], b"PXAT", moment, *argv[i + 2 :]]
            if argv[i].upper() in (b"FIELDS", b"FVS"):
                return None  # names and values follow
        return None

    return rewrite


def _by_number(name: bytes, unit_ms: int) -> Callable[[list[bytes], int], list[bytes] | None]:
    """The rewrite of a command whose second argument is the time. ``name``: its form with absolute milliseconds."""

    def rewrite(argv: list[bytes], at_ms: int) -> list[bytes] | None:
        moment = _moment(argv[2], unit_ms, at_ms) if len(argv) > 2 else None
        return None if moment is None else [name, argv[1], moment, *argv[3:]]

    return rewrite


def _setex(unit_ms: int) -> Callable[[list[bytes], int], list[bytes] | None]:
    def rewrite(argv: list[bytes], at_ms: int) -> list[bytes] | None:
        moment = _moment(argv[2], unit_ms, at_ms) if len(argv) == 4 else None
        return None if moment is None else [b"SET", argv[1], argv[3], b"PXAT", moment]

    return rewrite


def _restore(argv: list[bytes], at_ms: int) -> list[bytes] | None:
    if len(argv) < 4 or argv[2] == b"0" or b"ABSTTL" in [option.upper() for option in argv[4:]]:
        return None
    moment = _moment(argv[2], 1, at_ms)
    return None if moment is None else [*argv[:2], moment, *argv[3:], b"ABSTTL"]


_REWRITES: dict[bytes, Callable[[list[bytes], int], list[bytes] | None]] = {
    b"SET": _by_option(3),
    b"GETEX": _by_option(2),
    b"HSETEX": _by_option(2),
    b"HGETEX": _by_option(2),
    b"SETEX": _setex(1000),
    b"PSETEX": _setex(1),
    b"EXPIRE": _by_number(b"PEXPIREAT", 1000),
    b"PEXPIRE": _by_number(b"PEXPIREAT", 1),
    b"HEXPIRE": _by_number(b"HPEXPIREAT", 1000),
    b"HPEXPIRE": _by_number(b"HPEXPIREAT", 1),
    b"RESTORE": _restore,
    b"RESTORE-ASKING": _restore,
}
_LONGEST = max(map(len, _REWRITES))
