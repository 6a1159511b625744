"""A protocol gives the same result for every split of a stream, also of a damaged one."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kevy_ring.errors import RemoteProtocolError
from kevy_ring.replica.protocols.resp import encode_command
from transcripts import MARK, RECORDED, REPLICATION_ID, SMALL, Transcript, converse, pieces_at, pieces_of, plain

ALL = SMALL + RECORDED
MODEST = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
MANY = settings(MODEST, max_examples=250)


def by_name(transcripts: list[Transcript]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("transcript", transcripts, ids=lambda transcript: transcript.name)


@by_name(ALL)
def test_a_whole_transcript_is_accepted_and_may_end_there(transcript: Transcript) -> None:
    protocol = transcript.open()
    outcome = converse(protocol, [transcript.wire])
    assert outcome.error is None
    assert outcome.events
    assert protocol.resume_point is not None
    protocol.receive_eof()
    assert protocol.state.name == "ENDED"


@by_name(SMALL)
def test_every_split_in_two_gives_the_same(transcript: Transcript) -> None:
    whole = converse(transcript.open(), [transcript.wire])
    for cut in range(len(transcript.wire) + 1):
        assert converse(transcript.open(), [transcript.wire[:cut], transcript.wire[cut:]]) == whole, cut


@by_name(ALL)
def test_byte_by_byte_gives_the_same(transcript: Transcript) -> None:
    assert converse(transcript.open(), pieces_of(transcript.wire, 1)) == converse(transcript.open(), [transcript.wire])


@by_name(ALL)
@pytest.mark.parametrize("size", [2, 3, 7, 64, 1000, 4096, 65536, 65537])
def test_equal_pieces_of_any_size_give_the_same(transcript: Transcript, size: int) -> None:
    whole = converse(transcript.open(), [transcript.wire])
    assert converse(transcript.open(), pieces_of(transcript.wire, size)) == whole


@by_name(ALL)
@MODEST
@given(data=st.data())
def test_random_splits_give_the_same(transcript: Transcript, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(transcript.wire)), max_size=30))
    whole = converse(transcript.open(), [transcript.wire])
    assert converse(transcript.open(), pieces_at(transcript.wire, cuts)) == whole


@by_name(SMALL)
def test_no_prefix_is_refused_and_its_end_is_told_from_a_break(transcript: Transcript) -> None:
    for length in range(len(transcript.wire)):
        protocol = transcript.open()
        outcome = converse(protocol, [transcript.wire[:length]])
        assert outcome.error is None
        with contextlib.suppress(RemoteProtocolError):
            protocol.receive_eof()
        assert (protocol.error is None) == (protocol.state.name == "ENDED")
        assert protocol.error is not None or (protocol.established and not protocol.in_snapshot)
        assert protocol.refused_silently == (length == 0)


def mutations(wire: bytes) -> st.SearchStrategy[bytes]:
    """``wire`` with one part replaced by nothing, by noise, by itself twice, or by a token of the protocol."""
    tokens = st.sampled_from(
        [b"\n", b"\r", b"-1", b"+1", b"00", b" ", b"*", b"$", b":", b"+", b"-", b"99999999999999999999999", b"\x00"]
    )
    noise = st.one_of(st.binary(max_size=8), tokens)
    at = st.integers(0, len(wire))
    return st.builds(
        lambda start, length, new, twice: wire[:start] + new + wire[start + (0 if twice else length) :],
        at,
        st.integers(0, 12),
        noise,
        st.booleans(),
    )


@by_name([transcript for transcript in ALL if len(transcript.wire) < 20_000])
@MANY
@given(data=st.data())
def test_a_damaged_transcript_fails_only_as_a_protocol_and_alike_for_every_split(
    transcript: Transcript, data: st.DataObject
) -> None:
    wire = data.draw(mutations(transcript.wire))
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=12))
    whole = converse(transcript.open(), [wire])
    assert converse(transcript.open(), pieces_at(wire, cuts)) == whole
    if len(wire) < 2_000:
        assert converse(transcript.open(), pieces_of(wire, 1)) == whole


TOKENS = [
    *(b"+PONG\r\n", b"+OK\r\n", b"\n", b"-ERR no\r\n", b"-NOAUTH\r\n", b"+CONTINUE\r\n"),
    *(b"+FULLRESYNC %s 5\r\n" % REPLICATION_ID.encode(), b"$EOF:%s\r\n" % MARK, MARK, b"$3\r\n", b"$-1\r\n", b"$0\r\n"),
    *(b"abc", b"\r\n", b"*1\r\n", b"*2\r\n", b"*0\r\n", b"*-1\r\n", b":0\r\n", b":1\r\n", b":-1\r\n", b"$3\r\nabc\r\n"),
    *(b"+ACK 0\r\n", b"+ACK 5 0\r\n", b"+SNAPSHOT\r\n", b"+SNAPSHOT_END 0\r\n", b"+PING 5 1\r\n", b"+PING 1\r\n"),
    *(encode_command(b"SELECT", b"1"), encode_command(b"SELECT", b"-1"), encode_command(b"PING"), b"*2\r\n:0\r\n"),
    *(encode_command(b"REPLCONF", b"GETACK", b"*"), encode_command(b"SET", b"k", b"v"), b"x", b"\xff"),
]


@by_name(SMALL[:2] + SMALL[3:4] + RECORDED[:1])
@MANY
@given(data=st.data())
def test_garbage_fails_only_as_a_protocol_and_alike_for_every_split(
    transcript: Transcript, data: st.DataObject
) -> None:
    start = data.draw(st.sampled_from([0, 8, 30, len(transcript.wire) // 2, len(transcript.wire)]))
    garbage = data.draw(st.one_of(st.binary(max_size=60), st.lists(st.sampled_from(TOKENS), max_size=12).map(b"".join)))
    wire = transcript.wire[:start] + garbage
    whole = converse(transcript.open(), [wire])
    assert converse(transcript.open(), pieces_of(wire, 1)) == whole
    assert converse(transcript.open(), pieces_of(wire, 5)) == whole


def first_plain_frame(protocol: str, next_offset: int, piece: bytes) -> tuple[int, tuple[Any, ...]] | None:
    """The whole frame at the start of ``piece``: its length in bytes and the event; None for anything else."""
    head = rb"" if protocol == "redis" else rb"\*2\r\n:%d\r\n" % next_offset
    match = re.match(head + rb"\*(\d+)\r\n", piece)
    if match is None:
        return None
    at = match.end()
    argv = []
    for _ in range(int(match[1])):
        header = re.compile(rb"\$(\d+)\r\n").match(piece, at)
        if header is None or len(piece) < header.end() + int(header[1]) + 2:
            return None
        argv.append(piece[header.end() : header.end() + int(header[1])])
        at = header.end() + int(header[1]) + 2
    if protocol != "redis":
        return at, ("frame", next_offset, *argv)
    return None if argv[0].upper() in (b"SELECT", b"PING", b"REPLCONF") else (at, ("frame", next_offset + at, *argv))


@by_name(ALL)
@pytest.mark.parametrize("size", [50, 1000, 65536])
def test_a_scanner_that_takes_the_plain_frames_changes_nothing(transcript: Transcript, size: int) -> None:
    whole = converse(transcript.open(), [transcript.wire])
    protocol = transcript.open()
    sent = protocol.data_to_send()
    events: list[tuple[object, ...]] = []
    scanned = 0
    piece = b""
    for fresh in pieces_of(transcript.wire, size):
        piece += fresh
        while piece:
            if protocol.frame_run_ready and (frame := first_plain_frame(protocol.name, protocol.next_offset, piece)):
                length, event = frame
                protocol.frames_scanned(length, 1, event[1])
                events.append(event)
                scanned += 1
            else:
                new, length = protocol.receive_to_frame_run(piece)
                events += map(plain, new)
                sent += protocol.data_to_send()
            piece = piece[length:]
    assert events == whole.events
    assert sent == whole.sent
    assert {name: getattr(protocol, name) for name in whole.seen} == whole.seen
    frames = sum(event[0] == "frame" for event in whole.events)
    assert scanned >= frames // 2 or size < 65536
