"""RDBs that no server has to write: with values that are not decoded."""

from __future__ import annotations

from kevy_ring.replica.snapshots.rdb import crc64

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def short(text: bytes) -> bytes:
    """A string of less than 64 bytes."""
    return bytes([len(text)]) + text


def module_value(key: bytes, name: str = "vectorset") -> bytes:
    """A key whose value belongs to the module type ``name``, of nine letters: two numbers and a string."""
    identity = 0
    for letter in name:
        identity = identity << 6 | _LETTERS.index(letter)
    value = (
        b"\x81"
        + (identity << 10 | 1).to_bytes(8, "big")
        + b"\x02\x05"
        + b"\x01\x07"
        + b"\x05"
        + short(b"text")
        + b"\x00"
    )
    return b"\x07" + short(key) + value


def database(number: int) -> bytes:
    return bytes([254, number])


def function(code: bytes) -> bytes:
    assert len(code) < 1 << 14
    return b"\xf5" + (0x4000 | len(code)).to_bytes(2, "big") + code


def rdb_of(*records: bytes, version: bytes = b"REDIS0012") -> bytes:
    body = version + b"".join(records) + b"\xff"
    return body + crc64(body).to_bytes(8, "little")
