"""Parsing requests: multi-bulk and inline, any split, and hostile input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kevy_ring.replica.protocols.request import MAX_ARGUMENT_BYTES, MAX_ARGUMENTS, MAX_LINE_BYTES, RequestParser

HANDSHAKE = b"*5\r\n$9\r\nREPLICATE\r\n$4\r\nFROM\r\n$1\r\n0\r\n$2\r\nID\r\n$4\r\na\r\nb\r\n"
WORDS = [b"REPLICATE", b"FROM", b"0", b"ID", b"a\r\nb"]


def test_requests_come_out_at_every_split() -> None:
    whole = HANDSHAKE + b"REPLCONF ACK 12\r\n" + HANDSHAKE + b"\r\nREPLCONF  ACK 13\n"
    expected = [WORDS, [b"REPLCONF", b"ACK", b"12"], WORDS, [b"REPLCONF", b"ACK", b"13"]]
    assert RequestParser().feed(whole) == expected
    for at in range(len(whole)):
        parser = RequestParser()
        assert parser.feed(whole[:at]) + parser.feed(whole[at:]) == expected
    parser = RequestParser()
    assert [request for at in range(len(whole)) for request in parser.feed(whole[at : at + 1])] == expected


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(b"x" * MAX_LINE_BYTES, id="endless line"),
        pytest.param(b"*%d\r\n" % (MAX_ARGUMENTS + 1), id="too many arguments"),
        pytest.param(b"*99999999999999999999\r\n", id="huge count"),
        pytest.param(b"*-1\r\n", id="negative count"),
        pytest.param(b"*x\r\n", id="count of letters"),
        pytest.param(b"*1\r\n$%d\r\n" % (MAX_ARGUMENT_BYTES + 1), id="long argument"),
        pytest.param(b"*1\r\n$-1\r\n", id="negative length"),
        pytest.param(b"*1\r\nREPLICATE\r\n", id="argument without length"),
        pytest.param(b"*1\r\n$1\r\nabc", id="argument longer than its length"),
    ],
)
def test_what_is_no_request_is_malformed_for_good(hostile: bytes) -> None:
    parser = RequestParser()
    assert parser.feed(HANDSHAKE + hostile) == [WORDS]
    assert parser.malformed
    assert parser.feed(HANDSHAKE) == []


@given(st.lists(st.binary(max_size=40), max_size=12))
def test_garbage_is_never_an_exception(pieces: list[bytes]) -> None:
    parser = RequestParser()
    for piece in pieces:
        for request in parser.feed(piece):
            assert request
