"""The runner with scripted primaries over real sockets: resume, refusals, gaps, hostile input, stops."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

import pytest

from kevy_ring.events import Frame, SnapshotBegin, SnapshotChunk, SnapshotEnd
from kevy_ring.inbox.header_words import ProducerWord
from kevy_ring.replica.backoff import Backoff
from kevy_ring.replica.patience import Patience
from kevy_ring.replica.protocol import ResumePoint
from kevy_ring.replica.runner import LinkState, Runner, RunnerExit
from kevy_ring.replica.runner.feed import empty_snapshot
from kevy_wire import asked_from, frame, frames, snapshot, snapshot_start, take_request
from recording_sender import RecordingSender
from scripted_peer import PeerConnection, Script, ScriptedPeer

DEADLINE_S = 120.0
PASSWORD = "open-sesame"


class RunningRunner:
    """A runner in its own thread. ``finish`` stops it and returns the result of ``run``."""

    def __init__(self, url: str, sender: RecordingSender, **options: object) -> None:
        self.notices: list[tuple[LinkState, str]] = []
        usual = options.pop("backoff", None) or Backoff(0.001, 0.02)
        options.setdefault("patience", Patience(usual, Backoff(0.001, 0.02), Backoff(0.001, 0.02)))
        options.setdefault("notify", lambda state, text: self.notices.append((state, text)))
        self.runner = Runner(url, sender, **options)  # type: ignore[arg-type]
        self.exits: list[RunnerExit] = []
        self.thread = threading.Thread(target=lambda: self.exits.append(self.runner.run()), daemon=True)
        self.thread.start()

    def join(self) -> RunnerExit:
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive(), "the runner did not end"
        return self.exits[0]

    def finish(self) -> RunnerExit:
        self.runner.stop.set()
        return self.join()


@contextlib.contextmanager
def running(url: str, sender: RecordingSender, **options: object) -> Iterator[RunningRunner]:
    runner = RunningRunner(url, sender, **options)
    try:
        yield runner
    finally:
        runner.finish()


def kevy(peer: ScriptedPeer) -> str:
    return f"kevy://127.0.0.1:{peer.port}"


def says(wire: bytes, version: int = 1, *, asked: list[tuple[int, int]] | None = None) -> Script:
    """A primary of one version that refuses the other's handshake, accepts its own, writes ``wire`` and stays."""

    def script(connection: PeerConnection) -> None:
        request = asked_from(take_request(connection))
        if asked is not None:
            asked.append(request)
        if request[0] != version:
            return
        generation = b"7 " if version == 2 else b""
        connection.send(b"+ACK %s%d\r\n" % (generation, request[1]) + wire)
        connection.stay()

    return script


def then_closes(script: Script) -> Script:
    """The same script, but the link is cut instead of held."""

    def cut(connection: PeerConnection) -> None:
        connection.stay = lambda: None  # type: ignore[method-assign]
        script(connection)

    return cut


# --- following -------------------------------------------------------------------------------------------------


def test_frames_of_protocol_1_arrive_in_order_after_a_snapshot_that_empties_the_store() -> None:
    sender = RecordingSender()
    with ScriptedPeer(says(frames(0, 99))) as peer, running(kevy(peer), sender, protocol="kevy1"):
        got = sender.wait_for_frames(100)
    assert got == [Frame(o, [b"SET", b"k%d" % o, b"v"]) for o in range(100)]
    assert sender.events[:3] == empty_snapshot()


def test_a_snapshot_and_the_frames_after_it_arrive_as_they_were_sent() -> None:
    sender = RecordingSender()
    wire = snapshot(40, b"one", b"two") + frames(40, 42)
    with ScriptedPeer(says(wire, 2)) as peer, running(kevy(peer), sender):
        sender.wait_for_frames(3)
    assert sender.events[:4] == [SnapshotBegin(), SnapshotChunk(b"one"), SnapshotChunk(b"two"), SnapshotEnd(40)]
    assert sender.offsets == [40, 41, 42]


def test_a_stream_that_comes_byte_by_byte_is_the_same_stream() -> None:
    def slowly(connection: PeerConnection) -> None:
        take_request(connection)
        connection.send_by_bytes(b"+ACK 7 0\r\n" + snapshot(5, b"body") + b"+PING 7 5\r\n" + frames(5, 6))
        connection.stay()

    sender = RecordingSender()
    with ScriptedPeer(slowly) as peer, running(kevy(peer), sender, protocol="kevy2"):
        sender.wait_for_frames(2)
    assert sender.last_snapshot == b"body"
    assert sender.offsets == [5, 6]


def test_the_handshake_names_the_replica() -> None:
    requests: list[list[bytes]] = []

    def note(connection: PeerConnection) -> None:
        requests.append(take_request(connection))
        connection.stay()

    sender = RecordingSender()
    with ScriptedPeer(note) as peer, running(kevy(peer), sender, replica_id="replica-9"):
        sender.wait_until(lambda: bool(requests))
    assert requests == [[b"REPLICATE", b"FROM", b"0", b"0", b"ID", b"replica-9"]]


# --- acknowledging ---------------------------------------------------------------------------------------------


def test_protocol_2_is_told_the_applied_position_again_and_again_and_on_each_ping() -> None:
    def primary(connection: PeerConnection) -> None:
        take_request(connection)
        connection.send(b"+ACK 7 0\r\n" + snapshot(10, b"x") + frames(10, 12))
        connection.take_until(b"REPLCONF ACK 13\r\n")
        for _ in range(3):
            connection.take_until(b"REPLCONF ACK 13\r\n")
        connection.send(b"+PING 7 13\r\n")
        connection.take_until(b"REPLCONF ACK 13\r\n")
        finished.set()
        connection.stay()

    finished = threading.Event()
    sender = RecordingSender()
    with ScriptedPeer(primary) as peer, running(kevy(peer), sender):
        assert finished.wait(DEADLINE_S)


def test_nothing_is_acknowledged_while_the_shard_is_still_loading() -> None:
    def primary(connection: PeerConnection) -> None:
        take_request(connection)
        connection.send(b"+ACK 7 0\r\n" + snapshot(10, b"x") + frames(10, 12))
        for _ in range(3):
            lines.append(connection.take_until(b"\r\n"))
        loaded.set()
        connection.take_until(b"REPLCONF ACK 11\r\n")
        finished.set()
        connection.stay()

    lines: list[bytes] = []
    loaded, finished = threading.Event(), threading.Event()
    sender = RecordingSender(applies=False)
    sender.applied_offset = 999  # the offset of an earlier history
    with ScriptedPeer(primary) as peer, running(kevy(peer), sender):
        assert loaded.wait(DEADLINE_S)
        sender.applied_offset, sender.loading = 10, False
        assert finished.wait(DEADLINE_S)
    assert set(lines) == {b"REPLCONF ACK 0\r\n"}


def test_protocol_1_is_never_sent_anything_after_the_handshake() -> None:
    def primary(connection: PeerConnection) -> None:
        take_request(connection)
        connection.send(b"+ACK 0\r\n" + frames(0, 2))
        connection.read_to_end()
        said.append(connection.received)

    said: list[bytes] = []
    sender = RecordingSender()
    with ScriptedPeer(primary) as peer:
        with running(kevy(peer), sender, protocol="kevy1"):
            sender.wait_for_frames(3)
            sender.wait_until(lambda: sender.word(ProducerWord.RECEIVED_OFFSET) == 3)
        sender.wait_until(lambda: bool(said))
    assert said == [b""]


# --- choosing the protocol -------------------------------------------------------------------------------------


def test_an_upstream_that_closes_protocol_2_without_a_byte_is_asked_in_protocol_1_and_so_from_then_on() -> None:
    asked: list[tuple[int, int]] = []
    sender = RecordingSender()
    with (
        ScriptedPeer(
            says(b"", 1, asked=asked),
            then_closes(says(frames(0, 4), 1, asked=asked)),
            says(frames(5, 6), 1, asked=asked),
        ) as peer,
        running(kevy(peer), sender, backoff=Backoff(0.01, 0.02)),
    ):
        sender.wait_for_frames(7)
    assert asked == [(2, 0), (1, 0), (1, 5)]
    assert sender.offsets == list(range(7))


def test_a_reset_instead_of_a_close_is_a_refusal_too() -> None:
    asked: list[tuple[int, int]] = []

    def reset(connection: PeerConnection) -> None:
        asked.append(asked_from(take_request(connection)))
        connection.reset()

    sender = RecordingSender()
    with ScriptedPeer(reset, says(frames(0, 0), 1, asked=asked)) as peer, running(kevy(peer), sender):
        sender.wait_for_frames(1)
    assert asked == [(2, 0), (1, 0)]


def test_an_upstream_of_protocol_2_is_never_asked_in_protocol_1() -> None:
    asked: list[tuple[int, int]] = []
    sender = RecordingSender()
    with (
        ScriptedPeer(then_closes(says(snapshot(3, b"x"), 2, asked=asked)), says(frames(3, 3), 2, asked=asked)) as peer,
        running(kevy(peer), sender),
    ):
        sender.wait_for_frames(1)
    assert asked == [(2, 0), (2, 3)]


def test_a_few_closes_of_what_worked_are_a_restart_and_not_a_refusal() -> None:
    asked: list[tuple[int, int]] = []

    def close(connection: PeerConnection) -> None:
        asked.append(asked_from(take_request(connection)))

    sender = RecordingSender()
    with (
        ScriptedPeer(
            then_closes(says(snapshot(3, b"x"), 2, asked=asked)), close, close, says(frames(3, 3), 2, asked=asked)
        ) as peer,
        running(kevy(peer), sender),
    ):
        sender.wait_for_frames(1)
    assert asked == [(2, 0), (2, 3), (2, 3), (2, 3)]


def test_an_upstream_that_was_replaced_by_an_older_version_is_found_again_with_a_full_sync() -> None:
    asked: list[tuple[int, int]] = []
    sender = RecordingSender()
    with (
        ScriptedPeer(
            then_closes(says(snapshot(3, b"x"), 2, asked=asked)), says(snapshot(9, b"y") + frames(9, 9), 1, asked=asked)
        ) as peer,
        running(kevy(peer), sender),
    ):
        sender.wait_for_frames(1)
    assert asked == [(2, 0), (2, 3), (2, 3), (2, 3), (1, 0)]
    assert sender.last_snapshot == b"y"


def test_a_protocol_that_was_asked_for_is_never_changed() -> None:
    def refuse(connection: PeerConnection) -> None:
        if connection.read_some().startswith(b"*"):  # and not a probe for TLS
            asked.append(asked_from(take_request(connection)))

    asked: list[tuple[int, int]] = []
    sender = RecordingSender()
    with ScriptedPeer(refuse) as peer, running(kevy(peer), sender, protocol="kevy2") as running_one:
        sender.wait_until(lambda: len(asked) >= 4)
        sender.wait_until(lambda: "kevy2 without a byte" in running_one.runner.last_problem)
    assert set(asked) == {(2, 0)}


@pytest.mark.parametrize(("url", "protocol"), [("kevy://h:1", "redis"), ("redis://h", "kevy2"), ("kevy://h:1", "3")])
def test_a_protocol_that_the_address_cannot_speak_is_refused(url: str, protocol: str) -> None:
    with pytest.raises(ValueError, match="cannot speak"):
        Runner(url, RecordingSender(), protocol=protocol)


def test_a_resume_point_of_the_other_kind_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="PSYNC"):
        Runner("redis://h", RecordingSender(), resume=ResumePoint("7", 3))


# --- lost links ------------------------------------------------------------------------------------------------


def test_a_cut_link_is_resumed_from_the_frame_after_the_last_one() -> None:
    asked: list[tuple[int, int]] = []
    sender = RecordingSender()
    with (
        ScriptedPeer(then_closes(says(frames(0, 9), asked=asked)), says(frames(10, 19), asked=asked)) as peer,
        running(kevy(peer), sender, protocol="kevy1"),
    ):
        sender.wait_for_frames(20)
        sender.wait_until(lambda: sender.word(ProducerWord.PARTIAL_SYNCS) == 1)
    assert asked == [(1, 0), (1, 10)]
    assert sender.offsets == list(range(20))
    assert sender.count(SnapshotBegin) == 1
    assert sender.word(ProducerWord.RECONNECTS) == 1
    assert sender.word(ProducerWord.FULL_SYNCS) == 1


def test_a_link_cut_at_any_byte_of_the_stream_loses_and_doubles_nothing() -> None:
    stream = frames(0, 2)
    ends = [len(frames(0, o)) for o in range(3)]

    def cut_after(count: int) -> Script:
        return then_closes(says(stream[:count]))

    for count in range(0, len(stream), 3):
        asked: list[tuple[int, int]] = []
        whole = sum(end <= count for end in ends)
        sender = RecordingSender()
        with (
            ScriptedPeer(cut_after(count), says(frames(whole, 4), asked=asked)) as peer,
            running(kevy(peer), sender, protocol="kevy1"),
        ):
            sender.wait_for_frames(5)
        assert asked == [(1, whole)]
        assert sender.offsets == list(range(5))


def test_a_handshake_cut_at_any_byte_is_tried_again() -> None:
    wire = b"+ACK 7 0\r\n" + snapshot(2, b"x")

    def cut_after(count: int) -> Script:
        def script(connection: PeerConnection) -> None:
            take_request(connection)
            connection.send(wire[:count])

        return script

    cuts = [cut_after(count) for count in range(1, len(wire))]
    sender = RecordingSender()
    with ScriptedPeer(*cuts, says(snapshot(2, b"x") + frames(2, 2), 2)) as peer, running(kevy(peer), sender):
        sender.wait_for_frames(1)
    assert sender.last_snapshot == b"x"
    assert sender.word(ProducerWord.RECONNECTS) == len(cuts)


def test_a_link_cut_in_a_snapshot_starts_the_snapshot_again() -> None:
    asked: list[tuple[int, int]] = []
    sender = RecordingSender()
    with (
        ScriptedPeer(
            then_closes(says(snapshot_start(b"half"), 2, asked=asked)),
            says(snapshot(9, b"all", b"of it") + frames(9, 9), 2, asked=asked),
        ) as peer,
        running(kevy(peer), sender),
    ):
        sender.wait_for_frames(1)
    assert asked == [(2, 0), (2, 0)]
    assert sender.count(SnapshotBegin) == 2
    assert sender.count(SnapshotEnd) == 1
    assert sender.last_snapshot == b"allof it"


def test_a_runner_that_is_given_a_resume_point_goes_on_there() -> None:
    asked: list[tuple[int, int]] = []
    sender = RecordingSender()
    with (
        ScriptedPeer(says(frames(51, 52), 2, asked=asked)) as peer,
        running(kevy(peer), sender, resume=ResumePoint("7", 50)) as running_one,
    ):
        sender.wait_for_frames(2)
    assert asked == [(2, 51)]
    assert sender.events == [Frame(51, [b"SET", b"k51", b"v"]), Frame(52, [b"SET", b"k52", b"v"])]
    assert running_one.runner.resume_point == ResumePoint("7", 52)


# --- violations ------------------------------------------------------------------------------------------------


def test_a_gap_drops_the_link_and_asks_for_everything() -> None:
    asked: list[tuple[int, int]] = []
    sender = RecordingSender()
    with (
        ScriptedPeer(
            says(frames(0, 4) + frames(6, 7), asked=asked), says(snapshot(9, b"new") + frames(9, 9), asked=asked)
        ) as peer,
        running(kevy(peer), sender, protocol="kevy1") as running_one,
    ):
        sender.wait_until(lambda: 9 in sender.offsets)
    assert asked == [(1, 0), (1, 0)]
    assert sender.offsets == [0, 1, 2, 3, 4, 9]
    assert sender.last_snapshot == b"new"
    assert "expected 5, got 6" in running_one.runner.last_problem


def test_a_stream_that_starts_at_0_again_after_a_gap_empties_the_store_first() -> None:
    sender = RecordingSender()
    with (
        ScriptedPeer(says(frames(0, 1) + frames(5, 5)), says(frames(0, 2))) as peer,
        running(kevy(peer), sender, protocol="kevy1"),
    ):
        sender.wait_for_frames(5)
    assert sender.events[5:8] == empty_snapshot()
    assert sender.offsets == [0, 1, 0, 1, 2]


def test_a_ping_of_another_generation_is_the_end_of_continuity() -> None:
    asked: list[tuple[int, int]] = []
    sender = RecordingSender()
    with (
        ScriptedPeer(
            says(snapshot(3, b"x") + frames(3, 3) + b"+PING 8 4\r\n", 2, asked=asked), says(b"", 2, asked=asked)
        ) as peer,
        running(kevy(peer), sender),
    ):
        sender.wait_until(lambda: len(asked) == 2)
    assert asked == [(2, 0), (2, 0)]


HOSTILE = {
    "a length that lies": b"*2\r\n:0\r\n*1\r\n$3\r\nabcdef\r\n",
    "a negative length": b"*2\r\n:0\r\n*1\r\n$-5\r\n",
    "a huge length": b"*2\r\n:0\r\n*1\r\n$99999999999999999999\r\n",
    "a huge count": b"*2\r\n:0\r\n*99999999\r\n",
    "a negative count": b"*2\r\n:0\r\n*-1\r\n",
    "an empty command": b"*2\r\n:0\r\n*0\r\n",
    "a negative offset": b"*2\r\n:-1\r\n*1\r\n$1\r\nx\r\n",
    "a huge offset": b"*2\r\n:18446744073709551616\r\n*1\r\n$1\r\nx\r\n",
    "an endless line": b"+" + b"A" * 100_000,
    "an endless number": b"*2\r\n:" + b"1" * 100_000,
    "a chunk over 64 KiB": snapshot_start(b"x" * 65_537),
    "an empty chunk": snapshot_start(b""),
    "a frame inside a snapshot": snapshot_start(b"x") + frame(0, b"SET", b"k", b"v"),
    "a chunk outside a snapshot": b"$1\r\nx\r\n",
    "a snapshot inside a snapshot": snapshot_start(b"x") + b"+SNAPSHOT\r\n",
    "an end without a snapshot": b"+SNAPSHOT_END 5\r\n",
    "a snapshot's end with a lie": snapshot_start(b"x") + b"+SNAPSHOT_END -5\r\n",
    "a second acknowledgement": b"+ACK 0\r\n",
    "a line nobody knows": b"+HELLO\r\n",
    "bytes from another world": b"\x16\x03\x01\x02\x00\x01",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_primary_is_dropped_and_asked_for_a_full_sync(case: str) -> None:
    asked: list[tuple[int, int]] = []
    sender = RecordingSender()
    with (
        ScriptedPeer(says(HOSTILE[case], asked=asked), says(snapshot(9, b"good") + frames(9, 9), asked=asked)) as peer,
        running(kevy(peer), sender, protocol="kevy1"),
    ):
        sender.wait_for_frames(1)
    assert asked == [(1, 0), (1, 0)]
    assert sender.offsets == [9]
    assert sender.last_snapshot == b"good"


@pytest.mark.parametrize(
    "reply", [b"*1\r\n", b"HTTP/1.1 503 \r\n", b"+" + b"A" * 1000, b"+ACK -1 0\r\n", b"+ACK x\r\n"]
)
def test_a_handshake_answered_with_nonsense_is_tried_again_and_keeps_its_place(reply: bytes) -> None:
    def nonsense(connection: PeerConnection) -> None:
        take_request(connection)
        connection.send(reply)
        connection.stay()

    asked: list[tuple[int, int]] = []
    sender = RecordingSender()
    with (
        ScriptedPeer(nonsense, says(frames(51, 51), 2, asked=asked)) as peer,
        running(kevy(peer), sender, resume=ResumePoint("7", 50)),
    ):
        sender.wait_for_frames(1)
    assert asked == [(2, 51)]


@pytest.mark.parametrize("start", [b"", b"+ACK 7 0\r\n", b"+ACK 7 0\r\n" + snapshot_start(b"x")])
def test_a_primary_that_falls_silent_is_given_up(start: bytes) -> None:
    def silence(connection: PeerConnection) -> None:
        take_request(connection)
        connection.send(start)
        connection.stay()

    sender = RecordingSender()
    with (
        ScriptedPeer(silence, says(snapshot(9, b"good") + frames(9, 9), 2)) as peer,
        running(kevy(peer), sender, silence_s=0.3) as running_one,
    ):
        sender.wait_for_frames(1)
        assert any("fell silent" in text for _, text in running_one.notices)


# --- refusals --------------------------------------------------------------------------------------------------


def test_a_refusal_in_words_is_retried_keeps_its_place_and_is_kept_for_display() -> None:
    def refuse(connection: PeerConnection) -> None:
        asked.append(asked_from(take_request(connection)))
        connection.send(b"-LOADING not yet\r\n")
        connection.stay()

    asked: list[tuple[int, int]] = []
    sender = RecordingSender()
    with (
        ScriptedPeer(refuse, refuse, says(frames(51, 51), 2, asked=asked)) as peer,
        running(kevy(peer), sender, resume=ResumePoint("7", 50)) as running_one,
    ):
        sender.wait_for_frames(1)
        assert running_one.runner.last_problem == "LOADING not yet"
        assert (LinkState.REFUSED, "LOADING not yet") in running_one.notices
    assert asked == [(2, 51)] * 3


@pytest.mark.parametrize("reply", [b"-NOAUTH Authentication required", b"-NOMASTERLINK no", b"-ERR unknown command"])
def test_a_redis_refusal_is_retried(reply: bytes) -> None:
    def refuse(connection: PeerConnection) -> None:
        connection.read_until(b"PING\r\n")
        connection.send(reply + b"\r\n")
        connection.stay()

    sender = RecordingSender()
    with ScriptedPeer(refuse) as peer, running(f"redis://127.0.0.1:{peer.port}", sender) as running_one:
        peer.wait_for_connections(3)
        assert running_one.runner.last_problem.partition(";")[0] == reply[1:].decode()


def test_no_password_is_logged_or_noticed_though_the_upstream_says_it(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(connection: PeerConnection) -> None:
        connection.read_until(PASSWORD.encode() + b"\r\n")
        connection.send(b"-WRONGPASS not " + PASSWORD.encode() + b"\r\n")

    def refuse_later(connection: PeerConnection) -> None:
        connection.read_until(PASSWORD.encode() + b"\r\n")
        connection.send(b"+OK\r\n")
        connection.read_until(b"PING\r\n")
        connection.send(b"-NOPERM " + PASSWORD.encode() + b" may not\r\n")

    def nonsense_later(connection: PeerConnection) -> None:
        connection.read_until(PASSWORD.encode() + b"\r\n")
        connection.send(b"+OK\r\n")
        connection.read_until(b"PING\r\n")
        connection.send(b"*" + PASSWORD.encode() + b"\r\n")

    caplog.set_level(logging.DEBUG)
    sender = RecordingSender()
    with (
        ScriptedPeer(refuse, refuse_later, nonsense_later, refuse) as peer,
        running(f"redis://repl:{PASSWORD}@127.0.0.1:{peer.port}", sender) as running_one,
    ):
        peer.wait_for_connections(5)
    assert running_one.notices
    assert PASSWORD not in caplog.text + repr(running_one.notices) + repr(running_one.runner.upstream)
    assert "***" in caplog.text


# --- ending ----------------------------------------------------------------------------------------------------


def test_a_stop_ends_a_runner_that_is_blocked_in_a_read() -> None:
    sender = RecordingSender()
    with ScriptedPeer(says(snapshot(1, b"x"), 2)) as peer:
        runner = RunningRunner(kevy(peer), sender)
        sender.wait_until(lambda: sender.word(ProducerWord.LINK_STATE) == LinkState.STREAMING)
        assert runner.finish() is RunnerExit.STOPPED
    assert sender.word(ProducerWord.LINK_STATE) == LinkState.STOPPED


def test_a_stop_ends_a_runner_that_waits_for_its_next_attempt() -> None:
    sender = RecordingSender()
    with ScriptedPeer(says(b"-no\r\n")) as peer:
        runner = RunningRunner(kevy(peer), sender, backoff=Backoff(500, 500))
        sender.wait_until(lambda: any(state is LinkState.WAITING for state, _ in runner.notices))
        assert runner.finish() is RunnerExit.STOPPED


def test_a_stop_ends_a_runner_in_a_flood() -> None:
    def flood(connection: PeerConnection) -> None:
        take_request(connection)
        connection.send(b"+ACK 0\r\n")
        offset = 0
        while True:
            connection.send(frames(offset, offset + 999))
            offset += 1000

    sender = RecordingSender()
    with ScriptedPeer(flood) as peer:
        runner = RunningRunner(kevy(peer), sender, protocol="kevy1")
        sender.wait_for_frames(5000)
        assert runner.finish() is RunnerExit.STOPPED


def test_a_runner_that_was_stopped_before_it_ran_connects_to_nobody() -> None:
    with ScriptedPeer(PeerConnection.stay) as peer:
        runner = Runner(kevy(peer), RecordingSender())
        runner.stop.set()
        assert runner.run() is RunnerExit.STOPPED
        assert not peer.connections


def test_a_send_that_finds_the_receiver_gone_ends_the_runner() -> None:
    def primary(connection: PeerConnection) -> None:
        take_request(connection)
        connection.send(b"+ACK 0\r\n")
        gone.wait(DEADLINE_S)
        connection.send(frames(0, 0))
        connection.stay()

    gone = threading.Event()
    sender = RecordingSender()
    with ScriptedPeer(primary) as peer:
        runner = RunningRunner(kevy(peer), sender, protocol="kevy1")
        peer.wait_for_connections(1)
        sender.receiver_gone = True
        gone.set()
        assert runner.join() is RunnerExit.RECEIVER_GONE
    assert sender.word(ProducerWord.LINK_STATE) == LinkState.RECEIVER_GONE
    assert sender.events == []


def test_a_receiver_that_goes_while_nothing_comes_ends_the_runner() -> None:
    sender = RecordingSender()
    with ScriptedPeer(says(snapshot(1, b"x"), 2)) as peer:
        runner = RunningRunner(kevy(peer), sender)
        sender.wait_until(lambda: sender.word(ProducerWord.LINK_STATE) == LinkState.STREAMING)
        sender.receiver_gone = True
        assert runner.join() is RunnerExit.RECEIVER_GONE


def test_a_receiver_that_goes_while_the_runner_waits_ends_it() -> None:
    sender = RecordingSender()
    with ScriptedPeer(says(b"-no\r\n")) as peer:
        runner = RunningRunner(kevy(peer), sender, backoff=Backoff(500, 500))
        sender.wait_until(lambda: any(state is LinkState.WAITING for state, _ in runner.notices))
        sender.receiver_gone = True
        assert runner.join() is RunnerExit.RECEIVER_GONE


# --- the live view ---------------------------------------------------------------------------------------------


def test_the_words_of_the_live_view_follow_the_link() -> None:
    def primary(connection: PeerConnection) -> None:
        take_request(connection)
        connection.send(b"+ACK 7 0\r\n" + snapshot_start(b"12345"))
        half_seen.wait(DEADLINE_S)
        connection.send(b"$3\r\n678\r\n+SNAPSHOT_END 10\r\n" + frames(10, 12) + b"+PING 7 20\r\n")
        connection.stay()

    half_seen = threading.Event()
    sender = RecordingSender()
    with ScriptedPeer(primary) as peer, running(kevy(peer), sender):
        sender.wait_until(lambda: sender.word(ProducerWord.LINK_STATE) == LinkState.SNAPSHOT)
        sender.wait_until(lambda: sender.word(ProducerWord.SNAPSHOT_BYTES) == 5)
        assert sender.word(ProducerWord.RECEIVED_OFFSET) == 0
        half_seen.set()
        sender.wait_until(lambda: sender.word(ProducerWord.LINK_STATE) == LinkState.STREAMING)
        sender.wait_until(lambda: sender.word(ProducerWord.RECEIVED_OFFSET) == 13)
        sender.wait_until(lambda: sender.word(ProducerWord.UPSTREAM_OFFSET) == 20)
        sender.wait_until(lambda: sender.word(ProducerWord.SNAPSHOT_BYTES) == 8)
    assert sender.word(ProducerWord.FULL_SYNCS) == 1
    assert sender.word(ProducerWord.PARTIAL_SYNCS) == 0


def test_redis_pings_do_not_keep_received_and_upstream_apart() -> None:
    def primary(connection: PeerConnection) -> None:
        for request in (b"PING\r\n", b"listening-port", b"9.0.0\r\n"):
            connection.take_until(request)
            connection.send(b"+OK\r\n")
        connection.take_until(b"PSYNC")
        connection.send(b"+FULLRESYNC " + b"a" * 40 + b" 100\r\n$4\r\nRDB!")
        connection.send(b"*1\r\n$4\r\nINCR\r\n" + b"*1\r\n$4\r\nPING\r\n" * 2)
        connection.take_until(b"REPLCONF\r\n$3\r\nACK\r\n$3\r\n142\r\n")
        finished.set()
        connection.stay()

    finished = threading.Event()
    sender = RecordingSender()
    with ScriptedPeer(primary) as peer, running(f"redis://127.0.0.1:{peer.port}", sender) as running_one:
        sender.wait_for_frames(1)
        assert finished.wait(DEADLINE_S), "all is applied, so the pings after it are acknowledged too"
        sender.wait_until(lambda: sender.word(ProducerWord.UPSTREAM_OFFSET) == 115)
        assert sender.word(ProducerWord.RECEIVED_OFFSET) == 115
        assert sender.word(ProducerWord.SNAPSHOT_TOTAL) == 4
    assert running_one.runner.resume_point == ResumePoint("a" * 40, 142)
