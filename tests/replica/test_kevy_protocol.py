"""kevy's replication link, protocols 1 and 2: its events, its refusals, and its state."""

from __future__ import annotations

import pytest

from kevy_ring.errors import OffsetGap, RemoteProtocolError, UpstreamRefused
from kevy_ring.replica.protocol import ReplicationProtocol, ResumePoint
from kevy_ring.replica.protocols import kevy as kevy_module
from kevy_ring.replica.protocols.kevy import KevyProtocol
from kevy_ring.replica.protocols.kevy_states import TRANSITIONS, KevyState, KevyToken
from kevy_ring.replica.protocols.resp import MAX_OFFSET
from transcripts import bulk, converse, decoded, kevy, kevy_frame, pieces_of, plain, recorded

ACK = {1: b"+ACK 0\r\n", 2: b"+ACK 77 0\r\n"}
SNAPSHOT = b"+SNAPSHOT\r\n" + bulk(b"body") + b"+SNAPSHOT_END 5\r\n"


def opened(version: int, wire: bytes = b"", resume: ResumePoint | None = None) -> KevyProtocol:
    """A link that has received the ACK and then ``wire``."""
    protocol = kevy(version, resume)
    assert converse(protocol, [ACK[version] + wire]).error is None
    return protocol


def test_it_is_a_replication_protocol() -> None:
    protocol: ReplicationProtocol = kevy(1)
    assert protocol.name == "kevy1"
    assert kevy(2).name == "kevy2"


# Recorded from a real primary.


def test_the_frames_of_a_real_1_22_decode_exactly() -> None:
    protocol = kevy(1)
    events = converse(protocol, [recorded("kevy-1.22-frames")]).events
    expected = [("frame", offset, *map(bytes.fromhex, argv)) for offset, argv in decoded("kevy-1.22-frames")["frames"]]
    assert events == expected
    assert protocol.synced == "full"
    assert protocol.resume_point == ResumePoint("0", len(expected) - 1)


def test_the_full_sync_of_a_real_1_22_decodes_exactly() -> None:
    protocol = kevy(1)
    begin, *chunks, end = converse(protocol, pieces_of(recorded("kevy-1.22-snapshot"), 9000)).events
    assert (begin, end) == (("begin",), ("end", 360))
    assert all(kind == "chunk" for kind, _ in chunks)
    assert [len(chunk) for _, chunk in chunks[:-1]] == [65536] * 3
    body = b"".join(chunk for _, chunk in chunks)
    assert body.startswith(b"KEVYSNAP\x04")
    assert protocol.snapshot_bytes == len(body)
    assert protocol.next_offset == 360


def test_the_link_of_a_real_5_4_decodes_exactly() -> None:
    protocol = kevy(2)
    expected: list[tuple[object, ...]] = []
    for kind, *item in decoded("kevy-5.4-live"):
        match kind, item:
            case "line", ["+SNAPSHOT"]:
                expected.append(("begin",))
            case "line", [line] if line.startswith("+SNAPSHOT_END"):
                expected.append(("end", int(line.split()[1])))
            case "chunk", [body]:
                expected.append(("chunk", bytes.fromhex(body)))
            case "frame", [offset, argv]:
                expected.append(("frame", offset, *map(bytes.fromhex, argv)))
    assert converse(protocol, [recorded("kevy-5.4-live")]).events == expected
    assert protocol.resume_point == ResumePoint("4600608018879059", 116)
    assert protocol.upstream_offset == protocol.received_offset == 116


# The handshake.


def test_a_fresh_replica_asks_from_zero() -> None:
    assert kevy(1).data_to_send() == bytes_of("REPLICATE FROM 0 ID replica-1")
    assert kevy(2).data_to_send() == bytes_of("REPLICATE FROM 0 0 ID replica-1")


def bytes_of(command: str) -> bytes:
    words = command.split()
    return b"".join([b"*%d\r\n" % len(words), *(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words)])


def test_a_returning_replica_asks_for_the_offset_after_its_last() -> None:
    assert kevy(1, ResumePoint("0", 41)).data_to_send() == bytes_of("REPLICATE FROM 42 ID replica-1")
    protocol = kevy(2, ResumePoint("18446744073709551615", 41))
    assert protocol.data_to_send() == bytes_of("REPLICATE FROM 18446744073709551615 42 ID replica-1")
    assert protocol.data_to_send() == b""


def test_protocol_1_starts_afresh_from_a_point_within_a_generation() -> None:
    protocol = kevy(1, ResumePoint("77", 41))
    assert protocol.data_to_send() == bytes_of("REPLICATE FROM 0 ID replica-1")
    assert protocol.resume_point is None


@pytest.mark.parametrize(
    "resume",
    [
        ResumePoint("a" * 40, 5),
        ResumePoint("18446744073709551616", 5),
        ResumePoint("-1", 5),
        ResumePoint("7", -1),
        ResumePoint("7", MAX_OFFSET),
    ],
)
def test_a_resume_point_of_another_kind_is_a_mistake_of_the_caller(resume: ResumePoint) -> None:
    with pytest.raises(ValueError, match="kevy"):
        kevy(2, resume)


def test_versions_and_ids_that_cannot_be_are_mistakes_of_the_caller() -> None:
    with pytest.raises(ValueError, match="3"):
        KevyProtocol(version=3, replica_id="r")
    with pytest.raises(ValueError, match="id"):
        KevyProtocol(version=1, replica_id="")


@pytest.mark.parametrize("version", [1, 2])
def test_an_error_line_instead_of_the_ack_is_a_refusal(version: int) -> None:
    protocol = kevy(version)
    with pytest.raises(UpstreamRefused) as refused:
        protocol.receive_data(b"-ERR not a primary \xff\r\n")
    assert refused.value.reply == "ERR not a primary \\xff"
    assert protocol.error is refused.value
    assert not protocol.established
    assert not protocol.refused_silently


@pytest.mark.parametrize("version", [1, 2])
def test_a_close_before_any_reply_is_known_as_a_silent_refusal(version: int) -> None:
    protocol = kevy(version)
    with pytest.raises(RemoteProtocolError):
        protocol.receive_eof()
    assert protocol.refused_silently


def test_a_close_in_the_middle_of_the_reply_is_no_refusal() -> None:
    protocol = kevy(2)
    protocol.receive_data(b"+")
    with pytest.raises(RemoteProtocolError):
        protocol.receive_eof()
    assert not protocol.refused_silently


@pytest.mark.parametrize("version", [1, 2])
def test_an_ack_for_an_offset_that_was_not_asked_for_is_no_gap(version: int) -> None:
    protocol = kevy(version)
    ack = b"+ACK 999\r\n" if version == 1 else b"+ACK 77 999\r\n"
    assert converse(protocol, [ack + kevy_frame(0, b"PING")]).events == [("frame", 0, b"PING")]


@pytest.mark.parametrize(
    ("version", "line"),
    [
        (1, b"+ACK\r\n"),
        (1, b"+ACK 77 0\r\n"),
        (1, b"+ACK -1\r\n"),
        (1, b"+ACK 01\r\n"),
        (1, b"+ACK +1\r\n"),
        (1, b"+ACK  1\r\n"),
        (1, b"+ACK 1 \r\n"),
        (1, b"+ACK 9223372036854775808\r\n"),
        (1, b"+ack 0\r\n"),
        (1, b"+OK\r\n"),
        (1, b"+ACK 1\n\r\n"),
        (2, b"+ACK 0\r\n"),
        (2, b"+ACK 18446744073709551616 0\r\n"),
        (2, b"+ACK 77 9223372036854775808\r\n"),
        (2, b"+ACK 77 0 0\r\n"),
        (2, b"\n+ACK 77 0\r\n"),
        (2, b"HTTP/1.1 400 Bad Request\r\n"),
    ],
)
def test_anything_but_a_right_ack_ends_the_handshake(version: int, line: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        kevy(version).receive_data(line)


# The table is the protocol.

WIRE = {
    KevyToken.ACK: b"+ACK 77 0\r\n",
    KevyToken.SNAPSHOT: b"+SNAPSHOT\r\n",
    KevyToken.CHUNK: bulk(b"x"),
    KevyToken.SNAPSHOT_END: b"+SNAPSHOT_END 1\r\n",
    KevyToken.PING: b"+PING 77 1\r\n",
    KevyToken.FRAME: kevy_frame(0, b"PING"),
    KevyToken.REFUSAL: b"-ERR\r\n",
}
REACHED_BY = {
    KevyState.HANDSHAKE: b"",
    KevyState.ACCEPTED: b"+ACK 77 0\r\n",
    KevyState.SNAPSHOT: b"+ACK 77 0\r\n+SNAPSHOT\r\n",
    KevyState.LIVE: b"+ACK 77 0\r\n+SNAPSHOT\r\n+SNAPSHOT_END 0\r\n",
}


@pytest.mark.parametrize("state", REACHED_BY)
@pytest.mark.parametrize("token", WIRE)
def test_what_may_come_in_each_state_is_what_the_table_says(state: KevyState, token: KevyToken) -> None:
    protocol = kevy(2)
    protocol.receive_data(REACHED_BY[state])
    assert protocol.state is state
    outcome = converse(protocol, [WIRE[token]])
    assert protocol.state is TRANSITIONS[state].get(token, KevyState.FAILED)
    assert (outcome.error is None) == (protocol.state is not KevyState.FAILED)


@pytest.mark.parametrize("state", REACHED_BY)
def test_the_stream_may_end_where_the_table_says(state: KevyState) -> None:
    protocol = kevy(2)
    protocol.receive_data(REACHED_BY[state])
    if KevyToken.END in TRANSITIONS[state]:
        protocol.receive_eof()
        assert protocol.state is KevyState.ENDED
        with pytest.raises(RemoteProtocolError, match="ENDED"):
            protocol.receive_data(WIRE[KevyToken.PING])
    else:
        with pytest.raises(RemoteProtocolError, match=state.name):
            protocol.receive_eof()


def test_the_table_names_every_state() -> None:
    assert set(TRANSITIONS) == set(KevyState)


# Live frames.


def test_frames_of_protocol_1_and_2_are_the_same() -> None:
    wire = kevy_frame(0, b"SET", b"k", b"") + kevy_frame(1, b"x" * 100_000)
    for version in (1, 2):
        protocol = kevy(version)
        events = converse(protocol, [ACK[version] + wire]).events
        assert events == [("frame", 0, b"SET", b"k", b""), ("frame", 1, b"x" * 100_000)]


@pytest.mark.parametrize(("got", "expected"), [(5, 3), (2, 3), (0, 3), (MAX_OFFSET, 3)])
def test_a_gap_in_offsets_is_refused_and_needs_a_full_sync(got: int, expected: int) -> None:
    protocol = opened(1, b"".join(kevy_frame(offset, b"PING") for offset in range(3)))
    with pytest.raises(OffsetGap) as gap:
        protocol.receive_data(kevy_frame(got, b"PING"))
    assert (gap.value.expected, gap.value.got) == (expected, got)
    assert protocol.resume_point is None
    assert protocol.received_offset == 2


def test_the_frames_before_a_gap_are_not_lost() -> None:
    protocol = opened(1)
    assert list(map(plain, protocol.receive_data(kevy_frame(0, b"A") + kevy_frame(2, b"B")))) == [("frame", 0, b"A")]
    assert isinstance(protocol.error, OffsetGap)
    for _ in range(2):
        with pytest.raises(OffsetGap):
            protocol.receive_data(kevy_frame(1, b"B"))
    with pytest.raises(OffsetGap):
        protocol.receive_eof()


def test_a_fresh_link_must_start_at_offset_zero() -> None:
    with pytest.raises(OffsetGap):
        opened(1).receive_data(kevy_frame(1, b"PING"))


def test_a_resumed_link_must_go_on_where_it_stopped() -> None:
    protocol = opened(1, kevy_frame(42, b"PING"), ResumePoint("0", 41))
    assert protocol.synced == "partial"
    assert protocol.resume_point == ResumePoint("0", 42)
    with pytest.raises(OffsetGap):
        opened(1, resume=ResumePoint("0", 41)).receive_data(kevy_frame(41, b"PING"))


def test_garbage_leaves_the_resume_point_at_the_last_whole_frame() -> None:
    protocol = opened(1, kevy_frame(0, b"A") + b"*2\r\n:1\r\n*1\r\n$1\r\n")
    with pytest.raises(RemoteProtocolError):
        protocol.receive_data(b"BAD")
    assert protocol.resume_point == ResumePoint("0", 0)
    assert protocol.state is KevyState.FAILED


def test_offsets_end_at_the_largest_i64() -> None:
    last = kevy_frame(MAX_OFFSET, b"LAST")
    protocol = opened(1, b"+SNAPSHOT\r\n+SNAPSHOT_END %d\r\n" % MAX_OFFSET + last)
    assert protocol.received_offset == MAX_OFFSET
    assert protocol.resume_point is None
    with pytest.raises(RemoteProtocolError):
        protocol.receive_data(kevy_frame(MAX_OFFSET + 1, b"NO"))


@pytest.mark.parametrize(
    "unit",
    [
        b"*3\r\n:0\r\n*1\r\n$4\r\nPING\r\n",
        b"*1\r\n:0\r\n",
        b"*02\r\n:0\r\n",
        b"*2\r\n$1\r\n0\r\n*1\r\n$4\r\nPING\r\n",
        b"*2\r\n:-1\r\n",
        b"*2\r\n:+0\r\n",
        b"*2\r\n:00\r\n",
        b"*2\r\n: 0\r\n",
        b"*2\r\n:9223372036854775808\r\n",
        b"*2\r\n:0\r\n$4\r\nPING\r\n",
        b"*2\r\n:0\r\n*0\r\n",
        b"*2\r\n:0\r\n*-1\r\n",
        b"*2\r\n:0\r\n*1048577\r\n",
        b"*2\r\n:0\r\n*1\r\n$-1\r\n",
        b"*2\r\n:0\r\n*1\r\n$536870913\r\n",
        b"*2\r\n:0\r\n*1\r\n$3\r\nPING\r\n",
        b"*2\r\n:0\r\n*1\r\n$5\r\nPING\r\n*",
        b":0\r\n",
        b"PING\r\n",
        b"\r\n",
        b"\n",
    ],
)
def test_a_malformed_frame_is_refused(unit: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        opened(2).receive_data(unit)


@pytest.mark.parametrize("begin", [b"+", b"-", b"+ACK ", b"+PING 77 "])
@pytest.mark.parametrize("size", [1, 100, 65536])
def test_an_endless_control_line_is_refused_at_256_bytes(begin: bytes, size: int) -> None:
    protocol = opened(2)
    line = begin + b"1" * 70_000
    allowed = 257 // size * size
    assert converse(protocol, pieces_of(line[:allowed], size)).error is None
    with pytest.raises(RemoteProtocolError, match="256"):
        protocol.receive_data(line[allowed : allowed + size])


def test_an_error_line_in_the_stream_is_shown() -> None:
    with pytest.raises(RemoteProtocolError, match="out of memory"):
        opened(1, kevy_frame(0, b"A")).receive_data(b"-ERR out of memory\r\n")


# Snapshots.


def test_a_snapshot_sets_the_offset_of_the_next_frame() -> None:
    protocol = opened(1, SNAPSHOT)
    assert protocol.received_offset == protocol.last_event_offset == 4
    assert protocol.resume_point == ResumePoint("0", 4)
    assert protocol.synced == "full"
    assert converse(protocol, [kevy_frame(5, b"A")]).events == [("frame", 5, b"A")]


def test_a_snapshot_may_take_the_offset_back_and_nothing_else_may() -> None:
    protocol = opened(1, SNAPSHOT + kevy_frame(5, b"A") + b"+SNAPSHOT\r\n+SNAPSHOT_END 2\r\n" + kevy_frame(2, b"B"))
    assert protocol.received_offset == 2
    with pytest.raises(OffsetGap):
        protocol.receive_data(kevy_frame(2, b"B"))


def test_a_snapshot_of_nothing_yet_leaves_nothing_to_resume_from() -> None:
    protocol = opened(2, b"+SNAPSHOT\r\n+SNAPSHOT_END 0\r\n")
    assert protocol.received_offset is None
    assert protocol.resume_point is None
    assert protocol.acknowledge(None) == b"REPLCONF ACK 0\r\n"


@pytest.mark.parametrize("version", [1, 2])
def test_a_link_lost_in_a_snapshot_leaves_nothing_to_resume_from(version: int) -> None:
    protocol = kevy(version, ResumePoint("0", 41))
    assert protocol.resume_point == ResumePoint("0", 41)
    protocol.receive_data(ACK[version])
    assert protocol.resume_point == ResumePoint("0", 41)
    protocol.receive_data(b"+SNAPSHOT\r\n" + bulk(b"half"))
    assert protocol.in_snapshot
    assert protocol.snapshot_bytes == 4
    assert protocol.resume_point is None
    with pytest.raises(RemoteProtocolError):
        protocol.receive_eof()
    assert protocol.resume_point is None


@pytest.mark.parametrize("size", [1, 65_535, 65_536])
def test_a_chunk_within_bounds_is_passed_on_whole(size: int) -> None:
    events = converse(opened(1, b"+SNAPSHOT\r\n"), pieces_of(bulk(b"c" * size), 1000)).events
    assert events == [("chunk", b"c" * size)]


@pytest.mark.parametrize("length", ["0", "65537", "-1", "+1", "01", " 1", "1 ", "", "99999999999999999999", "0x10"])
def test_a_chunk_out_of_bounds_is_refused_from_its_header(length: str) -> None:
    with pytest.raises(RemoteProtocolError):
        opened(1, b"+SNAPSHOT\r\n").receive_data(b"$%s\r\n" % length.encode())


@pytest.mark.parametrize("chunk", [b"$3\r\nabcd\r\n", b"$3\r\nab\r\n+", b"$3\nabc\r\n"])
def test_a_chunk_that_does_not_end_where_it_says_is_refused(chunk: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        opened(1, b"+SNAPSHOT\r\n").receive_data(chunk)


@pytest.mark.parametrize(
    "intruder",
    [
        kevy_frame(0, b"PING"),
        b"*",
        b":0\r\n",
        b"+SNAPSHOT\r\n",
        b"+ACK 0\r\n",
        b"+SNAPSHOT_END\r\n",
        b"+SNAPSHOT_END -1\r\n",
        b"+SNAPSHOT_END 9223372036854775808\r\n",
        b"+SNAPSHOT_END 1 2\r\n",
        b"+PING 5\r\n",
        b"-ERR\r\n",
    ],
)
def test_nothing_but_chunks_and_the_end_may_stand_inside_a_snapshot(intruder: bytes) -> None:
    protocol = opened(1, b"+SNAPSHOT\r\n" + bulk(b"x"))
    with pytest.raises(RemoteProtocolError):
        protocol.receive_data(intruder)
    assert protocol.resume_point is None


def test_a_snapshot_beyond_its_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kevy_module.MAX_SNAPSHOT_BYTES == 16 * 2**30
    monkeypatch.setattr(kevy_module, "MAX_SNAPSHOT_BYTES", 100_000)
    protocol = opened(1, b"+SNAPSHOT\r\n" + bulk(b"x" * 60_000))
    with pytest.raises(RemoteProtocolError):
        protocol.receive_data(b"$40001\r\n")
    protocol = opened(1, b"+SNAPSHOT\r\n" + bulk(b"x" * 60_000) + bulk(b"x" * 40_000))
    with pytest.raises(RemoteProtocolError, match="100000"):
        protocol.receive_data(b"$")


# Generations and pings.


def test_protocol_1_knows_no_ping() -> None:
    with pytest.raises(RemoteProtocolError):
        opened(1).receive_data(b"+PING 5\r\n")


def test_the_generation_is_adopted_at_once_when_starting_from_zero() -> None:
    protocol = opened(2, kevy_frame(0, b"A"))
    assert protocol.resume_point == ResumePoint("77", 0)


def test_the_generation_is_adopted_only_at_the_end_of_a_snapshot_otherwise() -> None:
    protocol = opened(2, b"+PING 77 1000\r\n", ResumePoint("5", 41))
    assert protocol.resume_point == ResumePoint("5", 41)
    assert protocol.acknowledge(41) == b"REPLCONF ACK 0\r\n"
    protocol.receive_data(SNAPSHOT)
    assert protocol.resume_point == ResumePoint("77", 4)
    assert protocol.synced == "full"


def test_frames_of_another_generation_do_not_join_up_without_a_snapshot() -> None:
    protocol = opened(2, resume=ResumePoint("5", 41))
    with pytest.raises(RemoteProtocolError, match="generation 77"):
        protocol.receive_data(kevy_frame(42, b"A"))
    assert protocol.resume_point is None


@pytest.mark.parametrize("where", [b"", b"+SNAPSHOT\r\n", kevy_frame(0, b"A"), SNAPSHOT])
def test_a_ping_of_another_generation_breaks_the_link(where: bytes) -> None:
    protocol = opened(2, where)
    before = protocol.resume_point
    with pytest.raises(RemoteProtocolError, match="generation 78"):
        protocol.receive_data(b"+PING 78 1\r\n")
    assert protocol.resume_point == before


@pytest.mark.parametrize("ping", [b"+PING 0 9\r\n", b"+PING 9\r\n", b"+PING 77 9\r\n"])
def test_a_ping_tells_the_upstreams_offset_and_asks_for_an_acknowledgement(ping: bytes) -> None:
    protocol = opened(2, kevy_frame(0, b"A"))
    assert protocol.upstream_offset is None
    assert not protocol.getack_pending
    assert protocol.receive_data(ping) == []
    assert protocol.upstream_offset == 8
    assert protocol.received_offset == 0
    assert protocol.getack_pending
    protocol.acknowledge(0)
    assert not protocol.getack_pending


def test_the_upstream_is_never_behind_what_was_received() -> None:
    protocol = opened(2, b"+PING 77 1\r\n" + kevy_frame(0, b"A") + kevy_frame(1, b"B"))
    assert protocol.upstream_offset == 1


def test_a_ping_of_an_empty_primary_tells_no_offset() -> None:
    assert opened(2, b"+PING 77 0\r\n").upstream_offset is None


def test_a_ping_from_before_a_snapshot_says_nothing_after_it() -> None:
    protocol = opened(2, b"+PING 77 1000\r\n" + SNAPSHOT)
    assert protocol.upstream_offset is None


@pytest.mark.parametrize(
    "ping", [b"+PING\r\n", b"+PING -1\r\n", b"+PING 77 9223372036854775808\r\n", b"+PING 1 2 3\r\n"]
)
def test_a_malformed_ping_is_refused(ping: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        opened(2).receive_data(ping)


# Acknowledgements.


def test_protocol_2_acknowledges_the_offset_wanted_next() -> None:
    protocol = opened(2, b"".join(kevy_frame(offset, b"A") for offset in range(3)))
    assert protocol.acknowledge(1) == b"REPLCONF ACK 2\r\n"
    assert protocol.acknowledge(None) == b"REPLCONF ACK 0\r\n"


def test_what_was_not_received_is_never_acknowledged() -> None:
    assert opened(2, kevy_frame(0, b"A")).acknowledge(10**6) == b"REPLCONF ACK 1\r\n"


def test_nothing_is_acknowledged_in_a_snapshot_or_outside_a_conversation() -> None:
    protocol = kevy(2, ResumePoint("77", 41))
    assert protocol.acknowledge(41) == b""
    protocol.receive_data(ACK[2])
    assert protocol.acknowledge(41) == b"REPLCONF ACK 42\r\n"
    protocol.receive_data(b"+SNAPSHOT\r\n")
    assert protocol.acknowledge(41) == b"REPLCONF ACK 0\r\n"
    converse(protocol, [b"garbage"])
    assert protocol.acknowledge(41) == b""


def test_protocol_1_has_no_acknowledgement() -> None:
    assert opened(1, kevy_frame(0, b"A")).acknowledge(0) == b""


# The seam for a scanner.


def test_a_frame_run_is_ready_only_between_frames_of_a_live_stream() -> None:
    protocol = kevy(1)
    assert not protocol.frame_run_ready
    for wire, ready in [
        (ACK[1], False),
        (SNAPSHOT[:-1], False),
        (SNAPSHOT[-1:], True),
        (b"*", False),
        (kevy_frame(5, b"A", b"B")[1:-4], False),
        (kevy_frame(5, b"A", b"B")[-4:], True),
        (b"+SNAPSHOT\r\n", False),
    ]:
        protocol.receive_data(wire)
        assert protocol.frame_run_ready is ready, wire


def test_scanned_frames_count_as_received() -> None:
    protocol = opened(1, kevy_frame(0, b"A"))
    protocol.frames_scanned(1000, 9, 9)
    assert protocol.resume_point == ResumePoint("0", 9)
    assert converse(protocol, [kevy_frame(10, b"B")]).events == [("frame", 10, b"B")]


@pytest.mark.parametrize(("frames", "last_offset"), [(0, 0), (2, 1), (1, 2), (-1, -1)])
def test_a_scanner_that_cannot_be_right_is_refused(frames: int, last_offset: int) -> None:
    with pytest.raises(ValueError, match="cannot follow"):
        opened(1, kevy_frame(0, b"A")).frames_scanned(100, frames, last_offset)


def test_a_scanner_outside_a_frame_run_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot follow"):
        opened(1).frames_scanned(100, 1, 0)
