"""After each reconnect the fleet says whether the sync was partial or full, and the reason for a full one."""

from __future__ import annotations

import re
import secrets
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_going_on import Life
from test_runner import kevy, running, says, then_closes

from cut_proxy import CutProxy
from kevy_ring import Ring
from kevy_ring.inbox.header_words import LinkState, ProducerWord
from kevy_ring.replica.fleet import FleetEvent, FleetEventKind, Role
from kevy_ring.replica.link_words import LinkWords, full_syncs_by_reason
from kevy_ring.replica.protocol import FullSyncReason
from kevy_ring.ring import inspect_ring
from kevy_ring.testing import EmbeddedPrimary
from kevy_ring_command import RunningCommand, run_command
from kevy_wire import frames, snapshot
from live_replica import LiveReplica
from recording_sender import RecordingSender
from redis_server import RedisServer, redis_version, start_redis
from scripted_peer import ScriptedPeer

__all__ = ["redis_version", "start_redis"]  # fixtures

StartRedis = Callable[..., RedisServer]


def counts(words: dict[int, int]) -> dict[str, int]:
    return {why.value: n for why, n in full_syncs_by_reason([words.get(i, 0) for i in range(16)]).items() if n}


class Heard:
    """The notes of a runner about its syncs."""

    def __init__(self) -> None:
        self.syncs: list[tuple[str, str]] = []

    def __call__(self, how: str, text: str) -> None:
        self.syncs.append((how, text))


def test_a_gap_is_followed_by_a_full_sync_that_says_so() -> None:
    heard, sender = Heard(), RecordingSender()
    scripts = (says(frames(0, 3) + frames(7, 8)), says(snapshot(9, b"x") + frames(9, 9)))
    with ScriptedPeer(*scripts) as peer, running(kevy(peer), sender, protocol="kevy1", synced=heard):
        sender.wait_for_frames(5)
        sender.wait_until(lambda: len(heard.syncs) == 2)
    assert heard.syncs[0] == ("full", "a full sync: nothing was received into this ring before")
    how, text = heard.syncs[1]
    assert how == "full"
    assert "the data received before may be wrong" in text
    assert "offset gap: expected 4, got 7" in text
    assert counts(sender.words) == {"first": 1, "violation": 1}


def test_a_snapshot_that_was_cut_is_the_reason_of_the_next_one() -> None:
    heard, sender = Heard(), RecordingSender()
    cut = then_closes(says(b"+SNAPSHOT\r\n$3\r\nabc\r\n", 2))
    with (
        ScriptedPeer(cut, says(snapshot(9, b"x") + frames(9, 9), 2)) as peer,
        running(kevy(peer), sender, protocol="kevy2", synced=heard),
    ):
        sender.wait_for_frames(1)
        sender.wait_until(lambda: len(heard.syncs) == 2)
    assert heard.syncs[1] == ("full", "a full sync: the last snapshot was not completely received or loaded")
    assert counts(sender.words) == {"first": 1, "interrupted": 1}


def test_a_real_server_whose_backlog_is_too_short_is_named_as_the_reason(start_redis: StartRedis) -> None:
    server = start_redis("--repl-backlog-size", "16kb")
    client, heard = server.client(), Heard()
    client.set("a", 1)
    with CutProxy(server.port) as proxy, LiveReplica(f"redis://127.0.0.1:{proxy.port}", synced=heard) as replica:
        replica.wait_applied(client)
        proxy.cut()
        replica.wait_until(lambda: len(heard.syncs) == 2, "a partial sync")
        proxy.refusing = True
        proxy.cut()
        for i in range(100):
            client.set(f"too much {i}", "x" * 1000)
        proxy.refusing = False
        replica.wait_applied(client)
        replica.wait_until(lambda: len(heard.syncs) == 3, "a full sync")
        words = full_syncs_by_reason(inspect_ring(replica.sender.name).producer_words)
        assert replica.runner.sync_reason is FullSyncReason.HISTORY
    assert [how for how, _ in heard.syncs] == ["full", "partial", "full"]
    assert heard.syncs[1][1].startswith("a partial sync: it continues after offset ")
    assert "it does not know this history, or its backlog begins later" in heard.syncs[2][1]
    assert {why.value: n for why, n in words.items() if n} == {"first": 1, "history": 1}


@pytest.fixture
def primary() -> Iterator[EmbeddedPrimary]:
    with EmbeddedPrimary.start(1, 500, 6_000, rate=3_000, big_values=0, protocol=2) as primary:
        yield primary


@pytest.mark.parametrize(("sink", "reason"), [("memory", FullSyncReason.STORE), ("jsonl", None)])
def test_a_shard_that_died_is_followed_by_a_full_sync_only_where_its_sink_keeps_no_position(
    primary: EmbeddedPrimary, tmp_path: Path, sink: str, reason: FullSyncReason | None
) -> None:
    own = f"jsonl:{tmp_path}" if sink == "jsonl" else sink
    life = Life(primary.url, own, resumable=sink == "jsonl")

    def synced() -> list[FleetEvent]:
        return [event for event in life.events if event.kind is FleetEventKind.SYNCED]

    with life.fleet:
        life.wait_for(lambda: bool(synced()) and life.applied() > 600)
        life.kill(Role.SHARD)
        life.wait_for(lambda: len(synced()) == 2)
    first, second = synced()
    assert (first.synced, first.full_reason) == ("full", FullSyncReason.FIRST)
    assert (second.synced, second.full_reason) == ("full" if reason else "partial", reason)
    assert ("the sink keeps no position" if reason else "where an earlier process ended") in str(second)


def test_the_run_says_in_one_line_how_each_reconnect_went(start_redis: StartRedis) -> None:
    server = start_redis()
    client = server.client()
    client.set("a", 1)
    with RunningCommand("ingest", server.url, "--sink", "null", "--json") as command:
        command.read_until(lambda found: found["type"] == "progress" and found["shards"][0]["snapshots"] == 1)
        assert client.client_kill_filter(_type="replica") == 1
        said = command.read_until(lambda found: found["type"] == "note" and "shard 0: linked" in found["text"])
        assert re.search(
            "linked, a partial sync: it continues after offset .*, where the last link ended", said["text"]
        )
        server.restart(forgets=True)
        said = command.read_until(lambda found: found["type"] == "note" and "shard 0: linked" in found["text"])
        assert "linked, a full sync: the upstream does not continue after offset " in said["text"]
        command.read_until(lambda found: found["type"] == "progress")  # the summary is of a sample after the note
        command.signal(signal.SIGTERM)
        done = command.finish()
    (shard,) = done.summary["runs"][0]["shards"]
    assert shard["partial_syncs"] == 1
    assert shard["full_syncs_by_reason"] == {"first": 1, "history": 1}


def test_the_counts_of_a_ring_go_on_with_the_next_runner_process(tmp_path: Path) -> None:
    with EmbeddedPrimary.start(1, 300, 4_000, rate=3_000, big_values=0, protocol=2) as primary:
        life = Life(primary.url, f"jsonl:{tmp_path}", resumable=True)
        with life.fleet:
            life.wait_for(lambda: life.applied() > primary.first_offset(0))
            life.kill(Role.RUNNER)
            life.wait_for(lambda: len(life.syncs) == 2)
            life.wait_for(lambda: life.applied() == primary.final_offset(0))
            ring = life.fleet.status()[0].ring
    assert life.syncs == ["full", "partial"]
    assert ring is not None
    assert [ring.producer_words[word] for word in (ProducerWord.FULL_SYNCS, ProducerWord.PARTIAL_SYNCS)] == [1, 1]
    assert {why: n for why, n in full_syncs_by_reason(ring.producer_words).items() if n} == {FullSyncReason.FIRST: 1}


def test_a_ring_that_has_synced_in_an_earlier_run_is_not_said_to_have_never_synced(
    start_redis: StartRedis, tmp_path: Path
) -> None:
    server = start_redis()
    server.client().set("a", 1)
    arguments = [
        "ingest",
        server.url,
        "--name",
        f"synced{secrets.token_hex(4)}",
        "--sink",
        f"jsonl:{tmp_path}",
        "--json",
    ]
    try:
        assert run_command(*arguments, "--until-caught-up").code == 0
        server.client().set("b", 1)
        again = run_command(*arguments, "--until-caught-up")
        (shard,) = again.summary["runs"][0]["shards"]
        assert [shard["full_syncs"], shard["partial_syncs"]] == [0, 1]  # counted in this run, not in the ring
        server.stop()
        with RunningCommand(*arguments) as command:
            command.read_until(lambda found: found["type"] == "note" and "no link: connect: " in found["text"])
            command.signal(signal.SIGTERM)
            missed = command.finish()
        # The run may end before a runner has tried to connect.
        at_once = run_command(*arguments, "--duration", "0.05")
    finally:
        Ring.attach(f"{arguments[3]}-0").remove()
    assert [missed.code, at_once.code] == [1, 1]
    assert f"{server.url}: the link was down at the end: connect: " in missed.err
    assert f"{server.url}: the link was down at the end: " in at_once.err


def test_a_counter_that_is_full_stays_and_spoils_no_other() -> None:
    sender = RecordingSender()
    words = LinkWords(sender)
    for reason in FullSyncReason:
        words._by_reason[reason] = 1 << 40
        words.publish_state(LinkState.STREAMING)
        assert counts(sender.words)[reason.value] == (1 << 21) - 1
    assert set(counts(sender.words)) == {reason.value for reason in FullSyncReason}
    assert sender.word(8) == LinkState.STREAMING
