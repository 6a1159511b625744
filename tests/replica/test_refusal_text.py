"""What error replies mean, and what the Redis protocol does with them: bytes in, facts out."""

from __future__ import annotations

import random

import pytest

from kevy_ring.errors import Refusal, RefusalKind, RemoteProtocolError, UpstreamRefused
from kevy_ring.events import Frame, SnapshotBegin, SnapshotChunk, SnapshotEnd
from kevy_ring.replica.backoff import Backoff
from kevy_ring.replica.patience import Patience
from kevy_ring.replica.protocols.rdb_position import rdb_position
from kevy_ring.replica.protocols.redis import RedisProtocol
from kevy_ring.replica.refusal import refusal_of_reply, refusal_of_sentinel

HISTORY = "0123456789abcdef0123456789abcdef01234567"
HEAD = (
    b"REDIS0010\xfa\tredis-ver\x067.0.15\xfa\nredis-bits\xc0@\xfa\x05ctime\xc2v\xef\nk\xfa\x0erepl-stream-db\xc0\x00"
    b"\xfa\x07repl-id\x28" + HISTORY.encode() + b"\xfa\x0brepl-offset\xc1\x39\x30"
)
UNKNOWN = b"-ERR unknown command 'X', with args beginning with: \r\n"


@pytest.mark.parametrize(
    ("reply", "kind", "is_permanent"),
    [
        ("WRONGPASS invalid username-password pair or user is disabled.", RefusalKind.LOGIN, True),
        ("NOAUTH Authentication required.", RefusalKind.LOGIN, True),
        ("ERR invalid password", RefusalKind.LOGIN, True),
        ("ERR Client sent AUTH, but no password is set", RefusalKind.LOGIN, True),
        ("NOPERM this user has no permissions to run the 'psync' command", RefusalKind.PERMISSION, True),
        ("DENIED Redis is running in protected mode because protected mode is enabled", RefusalKind.PROTECTED, True),
        ("ERR unknown command `PSYNC`, with args beginning with: `?`, `-1`, ", RefusalKind.COMMAND, True),
        ("LOADING Redis is loading the dataset in memory", RefusalKind.BUSY, False),
        ("MASTERDOWN Link with MASTER is down", RefusalKind.BUSY, False),
        ("NOMASTERLINK Can't SYNC while not connected with my master", RefusalKind.BUSY, False),
        ("BUSY Redis is busy running a script", RefusalKind.BUSY, False),
        ("ERR max number of clients reached", RefusalKind.BUSY, False),
        ("ERR BGSAVE failed, replication can't continue", RefusalKind.SNAPSHOT, False),
        ("ERR something that nobody has heard of", RefusalKind.OTHER, False),
    ],
)
def test_a_reply_is_known_for_what_it_is(reply: str, kind: RefusalKind, is_permanent: bool) -> None:
    found = refusal_of_reply(reply)
    assert (found.kind, found.is_permanent) == (kind, is_permanent)
    assert bool(found.remedy) == (is_permanent or kind is RefusalKind.SNAPSHOT)


@pytest.mark.parametrize(
    ("reply", "user", "who"),
    [
        ("NOPERM User repl has no permissions to run", "", "repl"),
        ("NOPERM no", "other", "other"),
        ("NOPERM no", "", "default"),
    ],
)
def test_the_rule_is_for_the_user_who_is_logged_in(reply: str, user: str, who: str) -> None:
    assert refusal_of_reply(reply, user=user).remedy == f"run ACL SETUSER {who} +psync +replconf +ping on the upstream"


def conversation(protocol: RedisProtocol, wire: bytes, seed: int) -> list[object]:
    """Feed ``wire`` in random pieces."""
    cut, events = random.Random(seed), []
    while wire:
        size = cut.choice((1, 2, 7, 40, 100_000))
        events += protocol.receive_data(wire[:size])
        protocol.data_to_send()
        wire = wire[size:]
    return events


@pytest.mark.parametrize("seed", range(8))
def test_a_server_that_knows_neither_command_is_asked_whether_it_is_a_sentinel(seed: int) -> None:
    info = b"# Sentinel\r\nsentinel_masters:1\r\nmaster0:name=the-one,status=ok,address=10.0.0.9:6379,slaves=1\r\n"
    protocol = RedisProtocol()
    conversation(protocol, b"+PONG\r\n" + UNKNOWN * 2, seed)
    assert protocol.receive_data(UNKNOWN) == []
    assert protocol.data_to_send() == b"*2\r\n$4\r\nINFO\r\n$8\r\nsentinel\r\n"
    with pytest.raises(UpstreamRefused) as caught:
        conversation(protocol, b"$%d\r\n%s\r\n" % (len(info), info), seed)
    assert caught.value.refusal.kind is RefusalKind.SENTINEL
    assert "redis://10.0.0.9:6379 (the-one)" in caught.value.refusal.remedy


@pytest.mark.parametrize("answer", [b"$0\r\n\r\n", b"-NOPERM no INFO\r\n", UNKNOWN])
def test_what_is_no_sentinel_is_refused_with_its_words_about_psync(answer: bytes) -> None:
    protocol = RedisProtocol()
    protocol.receive_data(b"+PONG\r\n" + UNKNOWN * 3)
    with pytest.raises(UpstreamRefused) as caught:
        protocol.receive_data(answer)
    assert "unknown command" in caught.value.reply
    assert caught.value.refusal.kind is RefusalKind.COMMAND


def test_a_sentinel_without_primaries_names_none() -> None:
    found = refusal_of_sentinel(b"# Sentinel\r\nsentinel_masters:0\r\n")
    assert found is not None
    assert "watches no primary" in found.remedy
    assert refusal_of_sentinel(b"# Replication\r\nrole:master\r\n") is None


def test_a_user_without_replconf_is_refused_at_once() -> None:
    protocol = RedisProtocol(username="repl")
    with pytest.raises(UpstreamRefused) as caught:
        protocol.receive_data(b"+PONG\r\n-NOPERM this user has no permissions to run the 'replconf' command\r\n")
    assert caught.value.refusal.remedy == "run ACL SETUSER repl +psync +replconf +ping on the upstream"


def test_an_alert_of_tls_as_the_first_byte_is_known() -> None:
    with pytest.raises(UpstreamRefused) as caught:
        RedisProtocol().receive_data(b"\x15\x03\x03\x00\x02\x02\x46")
    assert caught.value.refusal.remedy == "the port speaks TLS: use rediss://"


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("tail", [b"", b"x" * 70_000])
def test_an_rdb_that_answers_a_renamed_psync_gives_the_position_itself(seed: int, tail: bytes) -> None:
    rdb = HEAD + b"\xff" + bytes(8) + tail
    protocol = RedisProtocol(psync_command="SECRET")
    assert b"PSYNC" not in protocol._requests[protocol.state] + b"".join(protocol._requests.values())
    wire = b"+PONG\r\n+OK\r\n+OK\r\n$%d\r\n" % len(rdb) + rdb + b"*1\r\n$7\r\nFLUSHDB\r\n"
    events = conversation(protocol, wire, seed)
    assert isinstance(events[0], SnapshotBegin)
    assert b"".join(event.data for event in events if isinstance(event, SnapshotChunk)) == rdb
    assert events[-2:] == [SnapshotEnd(12345), Frame(12345 + 17, [b"FLUSHDB"])]
    assert (protocol.upstream_id, protocol.synced) == (HISTORY, "full")


def test_an_rdb_without_a_position_cannot_be_followed() -> None:
    protocol = RedisProtocol(psync_command="SECRET")
    with pytest.raises(UpstreamRefused) as caught:
        protocol.receive_data(b"+PONG\r\n+OK\r\n+OK\r\n$18\r\nREDIS0010\xff" + bytes(8))
    assert caught.value.refusal.kind is RefusalKind.COMMAND
    assert "no position" in caught.value.refusal.remedy


def test_an_rdb_that_answers_psync_by_its_own_name_is_a_violation() -> None:
    with pytest.raises(RemoteProtocolError):
        RedisProtocol().receive_data(b"+PONG\r\n+OK\r\n+OK\r\n$18\r\n")


def test_a_position_is_read_from_any_beginning_that_holds_it_and_from_no_other() -> None:
    assert rdb_position(HEAD) == (HISTORY, 12345)
    assert all(rdb_position(HEAD[:size]) is None for size in range(len(HEAD)))
    assert rdb_position(HEAD.replace(b"\xc1\x39\x30", b"\x0a9876543210")) == (HISTORY, 9876543210)
    assert rdb_position(HEAD.replace(b"\xc1\x39\x30", b"\xc3\x01\x01\x00")) is None


# --- how long it waits -----------------------------------------------------------------------------------------


def exact(first_s: float, longest_s: float) -> Backoff:
    class Highest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    return Backoff(first_s, longest_s, source=Highest())


def test_permanent_refusals_are_waited_for_up_to_five_minutes_and_failed_snapshots_from_five_seconds() -> None:
    refused = Refusal(RefusalKind.LOGIN, is_permanent=True)
    patience = Patience()
    delays = [patience.next_delay("WRONGPASS", refused) for _ in range(40)]
    assert delays[0] <= 2
    assert all(delay <= 300 for delay in delays)
    assert min(delays[20:]) >= 150
    failed = Refusal(RefusalKind.SNAPSHOT)
    delays = [patience.next_delay(f"at byte {n}", failed) for n in range(40)]
    assert max(delays[:2]) < 5 <= delays[2] <= 10
    assert min(delays[20:]) >= 150


def test_a_second_attempt_confirms_a_refusal_and_a_lost_link_between_begins_anew() -> None:
    refused = Refusal(RefusalKind.LOGIN, is_permanent=True)
    patience = Patience(exact(0.25, 10), exact(1, 300))

    def is_confirmed(problem: str, refusal: Refusal | None) -> bool:
        patience.next_delay(problem, refusal)
        return patience.refusal is not None and patience.refusal.is_confirmed

    assert not is_confirmed("WRONGPASS", refused)
    assert not is_confirmed("connection refused", None)
    assert not is_confirmed("WRONGPASS", refused)
    assert is_confirmed("WRONGPASS", refused)
    patience.worked()
    assert not is_confirmed("WRONGPASS", refused)
    assert is_confirmed("a certificate", Refusal(RefusalKind.TLS, is_permanent=True))


def test_unknown_replies_are_permanent_only_when_they_stay_the_same() -> None:
    patience = Patience()
    other = Refusal(RefusalKind.OTHER)
    for words in ("one", "two", "three", "three"):
        patience.next_delay(words, other)
        assert patience.refusal is not None
        assert not patience.refusal.is_permanent
    patience.next_delay("three", other)
    assert patience.refusal.is_confirmed
    for _ in range(20):
        patience.next_delay("LOADING", Refusal(RefusalKind.BUSY))
        assert not patience.refusal.is_permanent
