"""Parsing RESP: complete replies, incomplete ones, and wrong ones, which are refused before they cost memory."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kevy_ring.errors import RemoteProtocolError
from kevy_ring.replica.protocols import resp
from kevy_ring.replica.protocols.resp import Intake, append_command, encode_bulk, encode_command, parse_decimal


def fed(wire: bytes) -> Intake:
    intake = Intake()
    intake.feed(wire)
    return intake


def take_fed_in_pieces(wire: bytes, size: int) -> list[bytes] | None:
    intake = Intake()
    for at in range(0, len(wire), size):
        if intake.feed(wire[at : at + size]):
            command = intake.take_command()
            if command is not None:
                return command
            intake.settle()
    return None


def test_a_command_is_encoded_as_a_multi_bulk_of_bulk_strings() -> None:
    assert encode_command(b"SET", b"", b"\r\n") == b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$2\r\n\r\n\r\n"


@pytest.mark.parametrize("size", [0, 511, 512, 70_000])
def test_lengths_are_written_alike_with_a_ready_line_and_without(size: int) -> None:
    head = b"$%d\r\n" % size
    body = b"x" * size
    assert encode_command(*[body] * 40) == b"*40\r\n" + (head + body + b"\r\n") * 40
    assert encode_bulk(body) == head + body + b"\r\n"


def test_commands_of_a_pipeline_are_appended_without_a_copy_of_their_arguments() -> None:
    parts: list[bytes] = []
    for argv in ([b"SET", b"k", b"v" * 1000], [b"DEL", b"k"]):
        append_command(parts, argv)
        assert parts[-2] is argv[-1]
    assert b"".join(parts) == encode_command(b"SET", b"k", b"v" * 1000) + encode_command(b"DEL", b"k")


@given(st.integers(0, 2**64 - 1))
def test_the_canonical_decimal_of_a_number_is_that_number(number: int) -> None:
    assert parse_decimal(b"%d" % number, 0, 2**64 - 1) == number


@pytest.mark.parametrize(
    "digits",
    [b"", b"-1", b"+1", b" 1", b"1 ", b"01", b"00", b"1_0", b"0x1", b"1.0", b"1e3", b"\xd9\xa1", b"1\n", b"9" * 5000],
)
def test_no_other_spelling_is_a_number(digits: bytes) -> None:
    assert parse_decimal(digits, -(10**30), 10**6000) is None


def test_a_number_out_of_range_is_none() -> None:
    assert [parse_decimal(b"%d" % number, 3, 5) for number in (2, 3, 5, 6)] == [None, 3, 5, None]


@given(st.lists(st.binary(max_size=400), min_size=1, max_size=40), st.integers(1, 600))
def test_a_command_survives_any_piece_size(argv: list[bytes], size: int) -> None:
    assert take_fed_in_pieces(encode_command(*argv), size) == argv


def test_taking_leaves_the_intake_right_behind_the_command() -> None:
    intake = fed(encode_command(b"GET", b"k") + b"*1\r\n$4")
    assert intake.take_command() == [b"GET", b"k"]
    assert intake.position == len(encode_command(b"GET", b"k"))
    assert intake.pending
    assert intake.take_command() is None
    intake.settle()
    assert intake.command_open
    assert intake.feed(b"\r\nPING\r\n")
    assert intake.take_command() == [b"PING"]
    assert not intake.pending
    assert intake.position == intake.received


@pytest.mark.parametrize(
    ("wire", "at"),
    [
        (b"*0\r\n", 0),
        (b"*-1\r\n", 0),
        (b"*+1\r\n", 0),
        (b"*01\r\n", 0),
        (b"* 1\r\n", 0),
        (b"*1 \r\n", 0),
        (b"*\r\n", 0),
        (b"*1048577\r\n", 0),
        (b"*18446744073709551616\r\n", 0),
        (b"*99999999999999999999999999999\r\n", 0),
        (b"*" + b"1" * 40, 0),
        (b"$1\r\n", 0),
        (b"x", 0),
        (b"\r", 0),
        (b"\n*1\r\n", 0),
        (b"*1\n$1\r\na\r\n", 0),
        (b"*1\r\n:", 4),
        (b"*1\r\n*", 4),
        (b"*1\r\n$-1\r\n", 4),
        (b"*1\r\n$+1\r\n", 4),
        (b"*1\r\n$01\r\n", 4),
        (b"*1\r\n$1x\r\n", 4),
        (b"*1\r\n$536870913\r\n", 4),
        (b"*1\r\n$18446744073709551620\r\n", 4),
        (b"*2\r\n$1\r\na\r\n$1\r\nbb\r\n", 11),
        (b"*1\r\n$3\r\nab\r\n\r", 4),
        (b"*1\r\n$1\r\na\n\r", 4),
    ],
)
def test_what_can_never_become_a_command_is_refused_where_it_stands(wire: bytes, at: int) -> None:
    with pytest.raises(RemoteProtocolError) as whole:
        fed(wire).take_command()
    with pytest.raises(RemoteProtocolError) as in_bytes:
        take_fed_in_pieces(wire, 1)
    assert whole.value.at == in_bytes.value.at == at
    assert whole.value.detail == in_bytes.value.detail


@pytest.mark.parametrize(
    "header", [b"*1048576\r\n", b"*1\r\n$536870912\r\n", b"*1\r\n$0\r\n", b"*1", b"*1\r\n$1\r\na\r"]
)
def test_what_may_become_a_command_is_awaited(header: bytes) -> None:
    assert fed(header).take_command() is None


def test_a_lying_length_reserves_nothing() -> None:
    tracemalloc.start()
    try:
        intake = fed(b"*1048576\r\n$536870912\r\nonly this")
        assert intake.take_command() is None
        intake.settle()
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_tiny_pieces_are_held_without_an_object_each() -> None:
    wire = b"*1\r\n$400000\r\n" + b"x" * 400_000
    tracemalloc.start()
    try:
        assert take_fed_in_pieces(wire, 2) is None
        assert tracemalloc.get_traced_memory()[1] < 4 * len(wire)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [1, 7, 65536])
def test_an_endless_line_is_refused_at_its_limit(size: int) -> None:
    intake = Intake()

    def take_more() -> None:
        if intake.feed(b"a" * size):
            assert intake.take_line() is None
            intake.settle()

    while intake.received + size < resp.MAX_LINE_BYTES + 2:
        take_more()
    with pytest.raises(RemoteProtocolError, match="more than 65536 bytes"):
        take_more()


@pytest.mark.parametrize("size", [1, 65536, 1 << 20])
def test_a_line_of_exactly_the_limit_is_taken(size: int) -> None:
    line = b"+" + b"a" * (resp.MAX_LINE_BYTES - 1)
    intake = Intake()
    taken = None
    for at in range(0, len(line) + 2, size):
        if intake.feed((line + b"\r\n")[at : at + size]):
            taken = intake.take_line()
            intake.settle()
    assert taken == line


def test_a_million_arguments_are_one_command() -> None:
    argv = take_fed_in_pieces(b"*1048576\r\n" + b"$1\r\nx\r\n" * resp.MAX_ARGUMENTS, 65536)
    assert argv is not None
    assert len(argv) == resp.MAX_ARGUMENTS


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_a_command_beyond_its_limit_is_refused_from_the_header_that_passes_it(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resp, "MAX_COMMAND_BYTES", 100)
    assert take_fed_in_pieces(encode_command(b"x" * 50, b"x" * 50), size) == [b"x" * 50] * 2
    with pytest.raises(RemoteProtocolError) as refused:
        take_fed_in_pieces(b"*3\r\n" + b"$50\r\n" + b"x" * 50 + b"\r\n$51\r\n", size)
    assert refused.value.at == 4 + 5 + 50 + 2


def test_an_error_shows_only_the_start_of_what_offended() -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        fed(b"*\xff\xfe" + b"z" * 20 + b"\r\n").take_command()
    assert "\\xff" in refused.value.detail
    assert len(refused.value.detail) < 200


def test_bulk_strings_outside_their_bounds_need_no_body_to_be_refused() -> None:
    for header in (b"$0\r\n", b"$11\r\n"):
        with pytest.raises(RemoteProtocolError):
            fed(header).take_bulk(1, 10)
    assert fed(b"$10\r\n").take_bulk(1, 10) is None


def test_dropping_frees_what_was_held_and_keeps_the_count() -> None:
    intake = fed(b"*2\r\n$3\r\nabc\r\n$9\r\n1234")
    assert intake.take_command() is None
    intake.settle()
    intake.drop()
    assert intake.received == len(b"*2\r\n$3\r\nabc\r\n$9\r\n1234")
