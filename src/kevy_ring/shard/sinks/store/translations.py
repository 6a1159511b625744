"""Translates commands that fakeredis does differently from Redis into commands that both do alike."""

from __future__ import annotations

from collections.abc import Callable

_GEO_BITS = 26
_GEO_LATITUDE_LIMIT = 85.05112878
_GEO_LONGITUDE_LIMIT = 180.0


def _geoadd(argv: list[bytes]) -> list[list[bytes]]:
    """As ZADD: fakeredis gives members a score of text, Redis one of 52 interleaved bits.

    https://redis.io/docs/latest/commands/geoadd/ : latitude in the even bits, longitude in the odd ones.
    """
    at = 2
    while at < len(argv) and argv[at].upper() in (b"NX", b"XX", b"CH"):
        at += 1
    triples = argv[at:]
    if not triples or len(triples) % 3:
        return [argv]
    translated = [b"ZADD", *argv[1:at]]
    for place in range(0, len(triples), 3):
        try:
            longitude, latitude = float(triples[place]), float(triples[place + 1])
        except ValueError:
            return [argv]
        if not (abs(longitude) <= _GEO_LONGITUDE_LIMIT and abs(latitude) <= _GEO_LATITUDE_LIMIT):
            return [argv]
        translated += [b"%d" % geo_score(longitude, latitude), triples[place + 2]]
    return [translated]


def geo_score(longitude: float, latitude: float) -> int:
    """The score that Redis gives a place."""
    x = int((latitude + _GEO_LATITUDE_LIMIT) / (2 * _GEO_LATITUDE_LIMIT) * (1 << _GEO_BITS))
    y = int((longitude + _GEO_LONGITUDE_LIMIT) / (2 * _GEO_LONGITUDE_LIMIT) * (1 << _GEO_BITS))
    return sum((x >> bit & 1) << 2 * bit | (y >> bit & 1) << 2 * bit + 1 for bit in range(_GEO_BITS + 1))


def _zrangestore(argv: list[bytes]) -> list[list[bytes]]:
    """fakeredis refuses a destination of another type, Redis replaces it. Only commands that worked are replicated."""
    if len(argv) < 5 or argv[1] == argv[2]:
        return [argv]
    return [[b"DEL", argv[1]], argv]


def _setex(unit: bytes) -> Callable[[list[bytes]], list[list[bytes]]]:
    """fakeredis cuts the expiry of SETEX and PSETEX to whole seconds, and not that of SET."""

    def translate(argv: list[bytes]) -> list[list[bytes]]:
        return [[b"SET", argv[1], argv[3], unit, argv[2]]] if len(argv) == 4 else [argv]

    return translate


def _restore_asking(argv: list[bytes]) -> list[list[bytes]]:
    """What a cluster's node replicates for a key that moves to it: ASKING is about the connection, not the key."""
    return [[b"RESTORE", *argv[1:]]]


TRANSLATIONS: dict[bytes, Callable[[list[bytes]], list[list[bytes]]]] = {
    b"GEOADD": _geoadd,
    b"PSETEX": _setex(b"PX"),
    b"RESTORE-ASKING": _restore_asking,
    b"SETEX": _setex(b"EX"),
    b"ZRANGESTORE": _zrangestore,
}
