"""PSYNC: the handshake, both ways in which an RDB ends, and a command stream in which every byte counts."""

from __future__ import annotations

import pytest

from kevy_ring.errors import RemoteProtocolError, UpstreamRefused
from kevy_ring.replica.protocol import ReplicationProtocol, ResumePoint
from kevy_ring.replica.protocols.redis import RedisProtocol
from kevy_ring.replica.protocols.redis_states import MAX_DB, TRANSITIONS, RedisState, RedisToken
from kevy_ring.replica.protocols.resp import MAX_OFFSET, encode_command
from transcripts import (
    DATA,
    HANDSHAKE_REPLIES,
    MARK,
    MARKED_BODY,
    OTHER_ID,
    REDIS_STREAM,
    REDIS_STREAM_WIRE,
    REPLICATION_ID,
    converse,
    decoded,
    pieces_of,
    plain,
    recorded,
    redis_full_sync,
    redis_resume,
)

ID = REPLICATION_ID.encode()
FULL_RESYNC = b"+FULLRESYNC %s 1000\r\n" % ID
UP_TO_PSYNC = b"+PONG\r\n+OK\r\n+OK\r\n"
SYNCED = UP_TO_PSYNC + FULL_RESYNC + b"$3\r\nRDB"
CONTINUED = UP_TO_PSYNC + b"+CONTINUE\r\n"
GETACK = encode_command(b"REPLCONF", b"GETACK", b"*")
SET = encode_command(b"SET", b"k", b"v")
PING = encode_command(b"PING")


def opened(wire: bytes = b"", resume: ResumePoint | None = None) -> RedisProtocol:
    """A link that has received ``wire``."""
    protocol = RedisProtocol(resume=resume)
    assert converse(protocol, [wire]).error is None
    return protocol


def streaming(resume: ResumePoint | None = None) -> RedisProtocol:
    """A link that continues at offset 5000."""
    return opened(CONTINUED, resume or redis_resume())


def test_it_is_a_replication_protocol() -> None:
    protocol: ReplicationProtocol = RedisProtocol()
    assert protocol.name == "redis"


# Recorded from a real primary.


@pytest.mark.parametrize("name", ["redis-6.2-disk", "redis-6.2-diskless"])
@pytest.mark.parametrize("size", [1, 17, 4096])
def test_the_link_of_a_real_6_2_decodes_exactly(name: str, size: int) -> None:
    expected = decoded(name)
    protocol = RedisProtocol()
    begin, chunk, end, *frames = converse(protocol, pieces_of(recorded(name), size)).events
    assert (begin, chunk, end) == (("begin",), ("chunk", bytes.fromhex(expected["rdb"])), ("end", 0))
    assert frames == [("frame", offset, *map(bytes.fromhex, argv)) for offset, argv in expected["frames"]]
    assert protocol.received_offset == protocol.upstream_offset == expected["master_repl_offset"]
    assert protocol.resume_point == ResumePoint(expected["replication_id"], expected["master_repl_offset"], 0)
    assert protocol.last_event_offset == frames[-1][1]
    assert protocol.getack_pending


def test_the_recordings_are_one_of_each_kind() -> None:
    assert b"$EOF:" in (DATA / "redis-6.2-diskless.bin").read_bytes()
    assert b"$EOF:" not in (DATA / "redis-6.2-disk.bin").read_bytes()


# The handshake.


def test_each_request_waits_for_the_reply_before_it() -> None:
    protocol = RedisProtocol(listening_port=7000)
    asked = []
    for reply in (b"", b"\n+PONG\r\n", b"+OK\r\n", b"+OK\r\n"):
        assert protocol.receive_data(reply) == []
        asked.append(protocol.data_to_send())
    assert asked == [
        PING,
        encode_command(b"REPLCONF", b"listening-port", b"7000"),
        encode_command(b"REPLCONF", b"capa", b"eof", b"capa", b"psync2", b"version", b"9.0.0"),
        encode_command(b"PSYNC", b"?", b"-1"),
    ]
    assert not protocol.established


def test_a_returning_replica_asks_for_the_byte_after_its_last() -> None:
    protocol = opened(b"+PONG\r\n+OK\r\n", redis_resume())
    protocol.receive_data(b"+OK\r\n")
    assert protocol.data_to_send() == encode_command(b"PSYNC", ID, b"5000")


@pytest.mark.parametrize(
    ("credentials", "auth"),
    [
        ({"password": "secret"}, (b"AUTH", b"secret")),
        ({"username": "replica", "password": "p\u00e4ss"}, (b"AUTH", b"replica", "p\u00e4ss".encode())),
    ],
)
@pytest.mark.parametrize("pong", [b"+PONG\r\n", b"-NOAUTH Authentication required.\r\n", b"-NOPERM no\r\n"])
def test_a_password_is_given_after_the_ping(credentials: dict[str, str], auth: tuple[bytes, ...], pong: bytes) -> None:
    protocol = RedisProtocol(**credentials)
    protocol.data_to_send()
    protocol.receive_data(pong)
    assert protocol.data_to_send() == encode_command(*auth)
    protocol.receive_data(b"+OK\r\n")
    assert protocol.data_to_send().startswith(encode_command(b"REPLCONF", b"listening-port", b"0"))


@pytest.mark.parametrize(
    "wire",
    [
        b"-NOAUTH Authentication required.\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"+PONG\r\n-NOAUTH Authentication required.\r\n",
        b"+PONG\r\n+OK\r\n-NOAUTH Authentication required.\r\n",
        UP_TO_PSYNC + b"-NOMASTERLINK Can't SYNC while not connected with my master\r\n",
        UP_TO_PSYNC + b"-NOPERM this user has no permissions\r\n",
        UP_TO_PSYNC + b"\n\n-ERR unknown command\r\n",
        UP_TO_PSYNC + FULL_RESYNC + b"\n-ERR BGSAVE failed\r\n",
    ],
)
def test_an_error_reply_that_forbids_replication_is_a_refusal_with_its_text(wire: bytes) -> None:
    protocol = RedisProtocol()
    with pytest.raises(UpstreamRefused) as refused:
        protocol.receive_data(wire)
    assert refused.value.reply == wire[wire.rindex(b"-") + 1 : -2].decode()
    assert protocol.data_to_send() == b""


def test_a_wrong_password_is_a_refusal() -> None:
    protocol = RedisProtocol(password="wrong")
    with pytest.raises(UpstreamRefused, match="WRONGPASS"):
        protocol.receive_data(b"+PONG\r\n-WRONGPASS invalid username-password pair\r\n")


def test_what_an_old_or_strict_server_does_not_know_is_no_refusal() -> None:
    wire = b"-NOPERM no ping\r\n-ERR Unrecognized REPLCONF option\r\n-ERR Unrecognized REPLCONF option\r\n"
    assert opened(wire).state is RedisState.PSYNC


def test_a_close_before_any_reply_is_known_as_a_silent_refusal() -> None:
    protocol = RedisProtocol()
    with pytest.raises(RemoteProtocolError):
        protocol.receive_eof()
    assert protocol.refused_silently


@pytest.mark.parametrize(
    "reply",
    [
        b"+FULLRESYNC\r\n",
        b"+FULLRESYNC %s\r\n" % ID,
        b"+FULLRESYNC %s -1\r\n" % ID,
        b"+FULLRESYNC %s 01\r\n" % ID,
        b"+FULLRESYNC %s 9223372036854775808\r\n" % ID,
        b"+FULLRESYNC %s 1 1\r\n" % ID,
        b"+FULLRESYNC  %s 1\r\n" % ID,
        b"+FULLRESYNC %s 1\r\n" % ID[1:],
        b"+FULLRESYNC %s 1\r\n" % (b"g" * 40),
        b"+CONTINUE x\r\n",
        b"+CONTINUE %s 1\r\n" % ID,
        b"+CONTINUE  \r\n",
        b"+CONTINUED\r\n",
        b"+OK\r\n",
        b"$3\r\nRDB",
        b"*1\r\n",
        b":1\r\n",
        b"\r\n",
        b"PONG\r\n",
    ],
)
def test_anything_but_a_right_answer_to_psync_is_refused(reply: bytes) -> None:
    protocol = opened(UP_TO_PSYNC, redis_resume())
    with pytest.raises(RemoteProtocolError):
        protocol.receive_data(reply)
    assert protocol.resume_point == redis_resume()


def test_nothing_can_be_continued_that_was_not_asked_for() -> None:
    with pytest.raises(RemoteProtocolError):
        opened(UP_TO_PSYNC).receive_data(b"+CONTINUE\r\n")


@pytest.mark.parametrize("begin", [b"+", b"-"])
def test_an_endless_reply_is_refused_at_64_kib(begin: bytes) -> None:
    protocol = RedisProtocol()
    assert protocol.receive_data(begin + b"x" * 65_536) == []
    with pytest.raises(RemoteProtocolError, match="65536"):
        protocol.receive_data(b"x")


@pytest.mark.parametrize(
    "resume",
    [
        ResumePoint("0", 5),
        ResumePoint("g" * 40, 5),
        ResumePoint(REPLICATION_ID, -1),
        ResumePoint(REPLICATION_ID, MAX_OFFSET),
        ResumePoint(REPLICATION_ID, 5, -1),
        ResumePoint(REPLICATION_ID, 5, MAX_DB + 1),
    ],
)
def test_a_resume_point_of_another_kind_is_a_mistake_of_the_caller(resume: ResumePoint) -> None:
    with pytest.raises(ValueError, match="PSYNC"):
        RedisProtocol(resume=resume)


# The table is the protocol.

WIRE = {
    RedisToken.REPLY: b"+OK\r\n",
    RedisToken.REFUSAL: b"-DENIED\r\n",
    RedisToken.FULL_RESYNC: FULL_RESYNC,
    RedisToken.CONTINUE: b"+CONTINUE\r\n",
    RedisToken.RDB_HEADER: b"$3\r\n",
    RedisToken.RDB_END: b"RDB",
    RedisToken.COMMAND: SET,
}
REACHED_BY = {
    RedisState.PING: b"",
    RedisState.AUTH: b"+PONG\r\n",
    RedisState.PORT: b"+PONG\r\n+OK\r\n",
    RedisState.CAPA: b"+PONG\r\n+OK\r\n+OK\r\n",
    RedisState.PSYNC: b"+PONG\r\n+OK\r\n+OK\r\n+OK\r\n",
    RedisState.RDB_AWAITED: b"+PONG\r\n+OK\r\n+OK\r\n+OK\r\n" + FULL_RESYNC,
    RedisState.RDB: b"+PONG\r\n+OK\r\n+OK\r\n+OK\r\n" + FULL_RESYNC + b"$3\r\n",
    RedisState.RDB_DONE: b"+PONG\r\n+OK\r\n+OK\r\n+OK\r\n" + FULL_RESYNC + b"$3\r\nRDB",
    RedisState.STREAM: b"+PONG\r\n+OK\r\n+OK\r\n+OK\r\n" + FULL_RESYNC + b"$3\r\nRDB" + SET,
}


def in_state(state: RedisState) -> RedisProtocol:
    protocol = RedisProtocol(resume=redis_resume(), password="secret")
    protocol.receive_data(REACHED_BY[state])
    assert protocol.state is state
    return protocol


@pytest.mark.parametrize("state", [state for state in REACHED_BY if state is not RedisState.RDB])
@pytest.mark.parametrize("token", WIRE)
def test_what_may_come_in_each_state_is_what_the_table_says(state: RedisState, token: RedisToken) -> None:
    protocol = in_state(state)
    outcome = converse(protocol, [WIRE[token]])
    assert protocol.state is TRANSITIONS[state].get(token, RedisState.FAILED)
    assert (outcome.error is None) == (protocol.state is not RedisState.FAILED)


@pytest.mark.parametrize("state", REACHED_BY)
def test_the_stream_may_end_where_the_table_says(state: RedisState) -> None:
    protocol = in_state(state)
    if RedisToken.END in TRANSITIONS[state]:
        protocol.receive_eof()
        assert protocol.state is RedisState.ENDED
        with pytest.raises(RemoteProtocolError, match="ENDED"):
            protocol.receive_data(SET)
    else:
        with pytest.raises(RemoteProtocolError, match=state.name):
            protocol.receive_eof()


def test_the_table_names_every_state() -> None:
    assert set(TRANSITIONS) == set(RedisState)


# The RDB.


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("size", [1, 40, 41, 65_535, 65_536, 65_537, 65_575, 65_576, 65_577, 200_000])
def test_an_rdb_is_passed_on_in_chunks_of_at_most_64_kib(marked: bool, size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    protocol = RedisProtocol()
    wire = redis_full_sync(body[:size], marked=marked)
    begin, *chunks, end = converse(protocol, pieces_of(wire, 1000)).events
    assert (begin, end) == (("begin",), ("end", 1000))
    assert b"".join(chunk for _, chunk in chunks) == body[:size]
    assert {len(chunk) for _, chunk in chunks[:-1]} <= {65_536}
    assert 0 < len(chunks[-1][1]) <= 65_536
    assert protocol.snapshot_bytes == size
    assert protocol.snapshot_total == (None if marked else size)
    assert protocol.synced == "full"


@pytest.mark.parametrize("cut", range(1, 41))
def test_the_mark_is_found_wherever_it_is_split(cut: int) -> None:
    wire = redis_full_sync(MARKED_BODY, marked=True)
    at = wire.rindex(MARK) + cut
    events = converse(RedisProtocol(), [wire[:at], wire[at:] + SET]).events
    assert events[1:] == [("chunk", MARKED_BODY), ("end", 1000), ("frame", 1000 + len(SET), b"SET", b"k", b"v")]


@pytest.mark.parametrize("newlines", [b"", b"\n", b"\n\n\n"])
def test_newlines_around_the_rdb_do_not_count_as_bytes_of_the_stream(newlines: bytes) -> None:
    wire = UP_TO_PSYNC + newlines + FULL_RESYNC + newlines + b"$EOF:" + MARK + b"\r\nRDB" + MARK + newlines + SET
    for size in (1, len(wire)):
        assert converse(RedisProtocol(), pieces_of(wire, size)).events[-1][:2] == ("frame", 1000 + len(SET))


def test_a_newline_instead_of_the_reply_to_psync_means_that_a_snapshot_is_prepared() -> None:
    protocol = opened(b"\n" + UP_TO_PSYNC)
    assert (protocol.state, protocol.is_preparing) == (RedisState.PSYNC, False)
    protocol.receive_data(b"\n")
    assert (protocol.is_preparing, protocol.established) == (True, False)


def test_a_newline_within_the_stream_is_garbage() -> None:
    with pytest.raises(RemoteProtocolError):
        streaming().receive_data(b"\n" + SET)


@pytest.mark.parametrize(
    "header",
    [
        b"$0\r\n",
        b"$-1\r\n",
        b"$+3\r\n",
        b"$03\r\n",
        b"$ 3\r\n",
        b"$9223372036854775808\r\n",
        b"$99999999999999999999\r\n",
        b"$EOF:\r\n",
        b"$EOF:" + MARK[1:] + b"\r\n",
        b"$EOF:" + MARK + b"x\r\n",
        b"$eof:" + MARK + b"\r\n",
        b"$" + b"1" * 60,
        b"*1\r\n",
        b"REDIS0011",
        b"\r\n$3\r\n",
    ],
)
def test_anything_but_a_right_rdb_header_is_refused(header: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        opened(UP_TO_PSYNC + FULL_RESYNC).receive_data(header)


def test_a_link_lost_before_the_end_of_the_rdb_leaves_nothing_to_resume_from() -> None:
    protocol = RedisProtocol(resume=redis_resume())
    for wire in (UP_TO_PSYNC, FULL_RESYNC, b"$3\r\n", b"RD"):
        before = protocol.resume_point
        protocol.receive_data(wire)
    assert before is None
    assert protocol.in_snapshot
    with pytest.raises(RemoteProtocolError):
        protocol.receive_eof()
    assert protocol.resume_point is None


def test_an_rdb_as_long_as_an_i64_is_announced_without_being_held() -> None:
    protocol = opened(UP_TO_PSYNC + FULL_RESYNC + b"$9223372036854775807\r\n")
    assert protocol.snapshot_total == MAX_OFFSET
    assert [plain(event) for event in protocol.receive_data(b"x" * 65_536)] == [("chunk", b"x" * 65_536)]


# The command stream.


@pytest.mark.parametrize("marked", [True, False])
def test_a_frame_has_the_byte_offset_after_its_command(marked: bool) -> None:
    protocol = RedisProtocol()
    events = converse(protocol, [redis_full_sync(MARKED_BODY, marked=marked) + REDIS_STREAM_WIRE]).events
    expected = []
    offset = 1000
    for argv in REDIS_STREAM:
        offset += len(encode_command(*argv))
        if argv[0].upper() not in (b"PING", b"REPLCONF"):
            expected.append(("frame", offset, *argv))
    assert events[3:] == expected
    assert protocol.received_offset == protocol.upstream_offset == offset
    assert protocol.last_event_offset == expected[-1][1] < offset
    assert protocol.resume_point == ResumePoint(REPLICATION_ID, offset, 11)


def test_going_on_counts_from_the_resume_point_and_keeps_the_database() -> None:
    protocol = RedisProtocol(resume=redis_resume(db=3))
    assert converse(protocol, [HANDSHAKE_REPLIES + b"+CONTINUE\r\n" + SET]).events == [
        ("frame", 4999 + len(SET), b"SET", b"k", b"v")
    ]
    assert protocol.synced == "partial"
    assert protocol.resume_point == ResumePoint(REPLICATION_ID, 4999 + len(SET), 3)


def test_a_new_replication_id_is_adopted_when_going_on() -> None:
    protocol = opened(UP_TO_PSYNC + b"+CONTINUE %s\r\n" % OTHER_ID.encode(), redis_resume(db=3))
    assert protocol.resume_point == ResumePoint(OTHER_ID, 4999, 3)


def test_a_full_sync_selects_database_zero() -> None:
    protocol = opened(SYNCED, redis_resume(db=3))
    assert protocol.resume_point == ResumePoint(REPLICATION_ID, 1000, 0)
    protocol.receive_data(encode_command(b"SELECT", b"7"))
    assert protocol.resume_point == ResumePoint(REPLICATION_ID, 1023, 7)


def test_half_a_command_is_received_but_not_resumed_from() -> None:
    protocol = streaming()
    protocol.receive_data(SET + SET[:-1])
    assert protocol.received_offset == 4999 + len(SET)
    assert protocol.upstream_offset == 4999 + 2 * len(SET) - 1
    with pytest.raises(RemoteProtocolError):
        protocol.receive_eof()
    assert protocol.resume_point == ResumePoint(REPLICATION_ID, 4999 + len(SET), 0)


@pytest.mark.parametrize(
    "argv",
    [
        (b"SELECT",),
        (b"SELECT", b"-1"),
        (b"SELECT", b"x"),
        (b"select", b"01"),
        (b"SELECT", b"2147483648"),
        (b"SELECT", b"1", b"2"),
    ],
)
def test_a_select_of_no_database_is_refused(argv: tuple[bytes, ...]) -> None:
    protocol = streaming()
    assert list(map(plain, protocol.receive_data(SET + encode_command(*argv)))) == [
        ("frame", 4999 + len(SET), b"SET", b"k", b"v")
    ]
    assert isinstance(protocol.error, RemoteProtocolError)
    assert protocol.error.at == len(CONTINUED) + len(SET)
    assert protocol.resume_point == ResumePoint(REPLICATION_ID, 4999 + len(SET), 0)


@pytest.mark.parametrize(
    "unit", [b"PING\r\n", b"+OK\r\n", b"-ERR no\r\n", b"$3\r\nabc\r\n", b":1\r\n", b"*0\r\n", b"*-1\r\n"]
)
def test_anything_but_a_command_in_the_stream_is_refused(unit: bytes) -> None:
    protocol = streaming()
    protocol.receive_data(SET)
    with pytest.raises(RemoteProtocolError):
        protocol.receive_data(unit)
    assert protocol.resume_point == ResumePoint(REPLICATION_ID, 4999 + len(SET), 0)


def test_an_offset_beyond_an_i64_is_refused() -> None:
    protocol = streaming(ResumePoint(REPLICATION_ID, MAX_OFFSET - len(SET)))
    assert len(protocol.receive_data(SET)) == 1
    assert protocol.received_offset == MAX_OFFSET
    assert protocol.resume_point is None
    with pytest.raises(RemoteProtocolError, match="beyond"):
        protocol.receive_data(SET)


# Acknowledgements.


def test_nothing_is_acknowledged_before_the_sync_is_agreed() -> None:
    assert opened(UP_TO_PSYNC, redis_resume()).acknowledge(4999) == b""


@pytest.mark.parametrize("wire", [b"", b"\n", b"$3\r\n", b"$3\r\nRD", b"$EOF:" + MARK + b"\r\nRDB"])
def test_a_replica_that_loads_acknowledges_nothing_yet_but_is_not_silent(wire: bytes) -> None:
    protocol = opened(UP_TO_PSYNC + FULL_RESYNC + wire, redis_resume())
    assert protocol.acknowledge(4999) == encode_command(b"REPLCONF", b"ACK", b"0")


def test_the_applied_offset_is_acknowledged_but_never_more_than_was_received() -> None:
    protocol = streaming()
    protocol.receive_data(SET + SET)
    one, two = 4999 + len(SET), 4999 + 2 * len(SET)
    for applied, acknowledged in [(None, 0), (4999, 4999), (one, one), (two, two), (10**9, two)]:
        assert protocol.acknowledge(applied) == encode_command(b"REPLCONF", b"ACK", b"%d" % acknowledged)


def test_pings_after_the_last_applied_frame_count_as_applied() -> None:
    protocol = streaming()
    protocol.receive_data(SET + PING + PING)
    applied = 4999 + len(SET)
    assert protocol.last_event_offset == applied
    assert protocol.acknowledge(applied) == encode_command(b"REPLCONF", b"ACK", b"%d" % (applied + 2 * len(PING)))
    assert protocol.acknowledge(applied - 1) == encode_command(b"REPLCONF", b"ACK", b"%d" % (applied - 1))


def test_getack_is_answered_with_the_offset_before_its_own_bytes() -> None:
    protocol = streaming()
    assert protocol.receive_data(SET + GETACK)[1:] == []
    assert protocol.getack_pending
    before = 4999 + len(SET)
    assert protocol.received_offset == before + len(GETACK)
    assert protocol.acknowledge(before) == encode_command(b"REPLCONF", b"ACK", b"%d" % before)
    assert not protocol.getack_pending
    assert protocol.acknowledge(before) == encode_command(b"REPLCONF", b"ACK", b"%d" % (before + len(GETACK)))


def test_getack_is_answered_with_less_when_less_is_applied() -> None:
    protocol = streaming()
    protocol.receive_data(SET + SET + encode_command(b"replconf", b"getack", b"*"))
    assert protocol.getack_pending
    assert protocol.acknowledge(5000) == encode_command(b"REPLCONF", b"ACK", b"5000")


def test_other_talk_about_the_link_is_not_passed_on() -> None:
    protocol = streaming()
    assert protocol.receive_data(PING + encode_command(b"REPLCONF") + encode_command(b"REPLCONF", b"X", b"1")) == []
    assert not protocol.getack_pending


# The seam for a scanner.


def test_a_frame_run_is_ready_only_between_commands_of_the_stream() -> None:
    protocol = RedisProtocol()
    for wire, ready in [
        (UP_TO_PSYNC, False),
        (FULL_RESYNC, False),
        (b"$3\r\nRDB", False),
        (b"\n" + SET, True),
        (SET[:1], False),
        (SET[1:12], False),
        (SET[12:], True),
    ]:
        protocol.receive_data(wire)
        assert protocol.frame_run_ready is ready, wire


def test_scanned_frames_count_as_received() -> None:
    protocol = streaming()
    assert protocol.next_offset == 4999
    protocol.frames_scanned(100, 3, 5099)
    assert protocol.received_offset == protocol.last_event_offset == protocol.upstream_offset == 5099
    assert converse(protocol, [SET]).events == [("frame", 5099 + len(SET), b"SET", b"k", b"v")]


@pytest.mark.parametrize(("consumed", "frames", "last_offset"), [(100, 0, 5099), (100, 1, 5098), (100, 1, 5100)])
def test_a_scanner_that_cannot_be_right_is_refused(consumed: int, frames: int, last_offset: int) -> None:
    with pytest.raises(ValueError, match="cannot follow"):
        streaming().frames_scanned(consumed, frames, last_offset)
