"""Counting replies: every split gives the same counts and errors."""

from __future__ import annotations

import pytest

from kevy_ring.errors import RemoteProtocolError
from kevy_ring.shard.sinks.redis.replies import ReplyScanner

LINES = b"+OK\r\n:12\r\n:-1\r\n-ERR no\r\n+QUEUED\r\n-WRONGTYPE x y\r\n"
MIXED = b"".join(
    (
        *(b"+OK\r\n", b"$3\r\n\r\n-\r\n", b"$-1\r\n", b"$0\r\n\r\n", b"*-1\r\n", b"*0\r\n"),
        *(b"*3\r\n:1\r\n*2\r\n+a\r\n-ERR in\r\n$2\r\n*9\r\n", b":7\r\n", b"-ERR out\r\n"),
    )
)


def scan(wire: bytes, piece_bytes: int) -> tuple[int, list[tuple[int, str]]]:
    scanner = ReplyScanner()
    errors = []
    for at in range(0, len(wire), piece_bytes):
        errors += scanner.feed(wire[at : at + piece_bytes])
    return scanner.complete, errors


@pytest.mark.parametrize("piece_bytes", range(1, 30))
def test_every_split_counts_the_same(piece_bytes: int) -> None:
    assert scan(LINES, piece_bytes) == (6, [(3, "ERR no"), (5, "WRONGTYPE x y")])
    assert scan(MIXED, piece_bytes) == (9, [(6, "ERR in"), (8, "ERR out")])


def test_what_is_not_whole_is_not_counted() -> None:
    for wire in (b"", b"+OK", b"+OK\r", b"$3\r\nab", b"$3\r\nabc\r", b"*1\r\n", b"*2\r\n:1\r\n"):
        assert scan(wire, 100) == (0, [])


@pytest.mark.parametrize("wire", [b"OK\r\n", b"+OK\r\nxx\r\n", b"\r\n", b"$x\r\n", b"*-2\r\n", b"$1\r\na\r\n!\r\n"])
def test_what_is_no_reply_is_an_error(wire: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        scan(wire, 100)
