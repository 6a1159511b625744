"""Runs that cannot succeed. A run with an end exits with 1 and prints the reason and the remedy."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kevy_ring.cli.command import run
from kevy_ring.cli.ingest.cluster_look import cluster_text
from kevy_ring.cli.ingest.goal import ForDuration, UntilStopped
from kevy_ring.inbox.header_words import LinkState
from kevy_ring.replica.upstream_url import parse_upstream
from kevy_ring.shard.sinks.redis.target_mark import is_mark
from kevy_ring_command import RunningCommand, run_command, wait_until
from places import SUPPORT
from progress_of import progress_of
from redis_server import RedisServer, find_redis


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(find_redis("7.0"), tmp_path / "redis", "--enable-debug-command", "local")
    yield server
    server.stop()


@pytest.mark.parametrize("end", [["--until-caught-up"], ["--duration", "600"], ["--verify"]])
def test_a_run_with_an_end_ends_with_the_reason_and_the_remedy_of_a_refusal(
    redis_server: RedisServer, end: list[str]
) -> None:
    redis_server.client().execute_command("ACL", "SETUSER", "reader", "on", ">open-sesame", "+ping")
    done = run_command(
        "ingest", f"redis://reader:open-sesame@127.0.0.1:{redis_server.port}", "--sink", "memory", "--json", *end
    )
    assert done.code == 1
    where = f"redis://reader:***@127.0.0.1:{redis_server.port}"
    assert done.err.startswith(f"kevy-ring: shard 0: {where} cannot be followed: NOPERM ")
    assert "run ACL SETUSER reader +psync +replconf +ping on the upstream" in done.err
    assert done.summary["problem"] in done.err


def test_a_run_without_an_end_waits_for_the_remedy_and_goes_on(redis_server: RedisServer) -> None:
    client = redis_server.client()
    client.set("a", 1)
    client.execute_command("ACL", "SETUSER", "reader", "on", ">open-sesame", "+ping")
    url = f"redis://reader:open-sesame@127.0.0.1:{redis_server.port}"
    with RunningCommand("ingest", url, "--sink", "memory", "--json") as running:
        running.read_until(lambda found: found["type"] == "note" and "+psync +replconf +ping" in found["text"])
        client.execute_command("ACL", "SETUSER", "reader", "+psync", "+replconf")
        running.read_until(lambda found: found["type"] == "progress" and found["shards"][0]["snapshots"] == 1)
        running.signal(signal.SIGTERM)
        assert running.finish().code == 0


def test_an_upstream_that_is_never_there_ends_a_run_that_somebody_waits_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = run_command("ingest", f"redis://127.0.0.1:{port}", "--until-caught-up", "--give-up-after", "1")
    assert done.code == 1
    assert f"shard 0: redis://127.0.0.1:{port} was not followed for 1.00 s (--give-up-after): " in done.err


@pytest.mark.parametrize("reason", ["connect: refused", "connect: refused."])
def test_the_words_about_a_missing_link_begin_with_its_reason(reason: str) -> None:
    shard = replace(progress_of(LinkState.WAITING, full_syncs=0, link_age_s=75.0), link_text=reason)
    said = UntilStopped().missed([shard])
    assert said is not None
    assert " never synced: connect: refused; no link since " in said


def test_a_sink_that_fails_three_times_in_a_row_with_the_same_words_ends_a_run_without_an_end(
    redis_server: RedisServer,
) -> None:
    redis_server.client().set("a", 1)
    done = run_command("ingest", redis_server.url, "--sink", "python:cli_sinks:unloadable", path=[SUPPORT])
    assert done.code == 1
    words = "shard 0: its process failed 3 times in a row for the same reason: RuntimeError: no snapshot for me"
    assert done.err.splitlines()[-1].endswith(f"failed, exit code 1: {words}")
    assert done.err.count("exited with code 1") == 3


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (LinkState.HANDSHAKE, "connected, waiting for an answer to the handshake"),
        (LinkState.CONNECTING, "connecting"),
    ],
)
def test_never_synced_names_the_upstream_its_state_and_since_when(state: LinkState, words: str) -> None:
    said = UntilStopped().missed([progress_of(state, full_syncs=0, link_age_s=12.0)])
    assert said is not None
    start, since, age = said.partition(" never synced: no link since ")[0], said.split("since ")[1][:8], said[-200:]
    assert start == "shard 0: redis://replica-0.example:6379"
    assert since.count(":") == 2
    assert age.endswith(f" (12.0 s), last state: {words}")


@pytest.mark.parametrize("state", list(LinkState))
def test_a_kept_ring_without_a_link_in_this_run_fails_whatever_state_an_earlier_run_left(state: LinkState) -> None:
    earlier = progress_of(state, full_syncs=3)
    assert earlier.ring is not None
    said = ForDuration(1.0).missed([replace(earlier, words_before=earlier.ring.producer_words)])
    assert said is not None
    assert said.startswith("shard 0: redis://replica-0.example:6379: the link was down at the end: no link since ")


def test_the_name_of_the_protocol_is_never_the_reason_of_a_missing_link() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        with RunningCommand("ingest", url, "--sink", "null", "--json") as running:
            running.read_until(lambda line: line["type"] == "progress" and line["shards"][0]["link"] == "handshake")
            running.signal(signal.SIGTERM)
            done = running.finish()
    assert done.code == 1
    assert f"{url} never synced: no link since " in done.err
    assert "last state: connected, waiting for an answer to the handshake" in done.err


# --- databases, names, clusters --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["kevy://h:1", "--verify", "--data-url", "redis://h/5"], "names database 5"),
        (["redis://h", "--psync-command", "two words"], "--psync-command: "),
    ],
)
def test_what_an_upstream_cannot_be_asked_for_is_exit_code_2_with_the_reason(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ingest", *arguments]) == 2
    err = capsys.readouterr().err
    assert words in err
    if "database" in words:
        assert "a replica follows all databases of its upstream: remove the number from the URL" in err


def test_valkey_urls_are_other_names_for_an_upstream_its_keys_and_a_sink(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    redis_server.client().mset({f"key:{n}": n for n in range(100)})
    target = RedisServer(find_redis("6.2"), tmp_path / "target")
    try:
        upstream, sink = (server.url.replace("redis://", "valkey://") for server in (redis_server, target))
        done = run_command("ingest", upstream, "--sink", sink, "--verify", "--data-url", upstream, "--json")
        assert (done.code, done.err) == (0, "")
        assert done.summary["runs"][0]["comparison"]["keys"] == 100
        assert len([key for key in target.client().scan_iter() if not is_mark(key)]) == 100
    finally:
        target.stop()


def test_valkeys_is_tls() -> None:
    assert parse_upstream("valkeys://user:secret@h/").redacted == "rediss://user:***@h:6379"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[list[RedisServer]]:
    """Two primaries that share all slots."""
    nodes = [RedisServer(find_redis("7.0"), tmp_path / f"node-{i}", "--cluster-enabled", "yes") for i in range(2)]
    try:
        for node, first, last in zip(nodes, (0, 8000), (7999, 16383), strict=True):
            node.client().execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
        nodes[0].client().execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[1].port)
        for node in nodes:
            wait_until(lambda node=node: node.client().cluster("info")["cluster_state"] == "ok")  # type: ignore[misc]
        yield nodes
    finally:
        for node in nodes:
            node.stop()


def notes(found: list[dict[str, Any]]) -> list[str]:
    return [each["text"] for each in found if each["type"] == "note"]


def test_a_node_of_a_cluster_is_followed_with_a_warning_that_names_the_others(cluster: list[RedisServer]) -> None:
    one, other = cluster
    done = run_command("ingest", one.url, "--sink", "null", "--until-caught-up", "--json")
    assert done.code == 0
    (warning,) = [text for text in notes(done.objects) if "cluster" in text]
    assert warning == (
        f"{one.url} is one node of a cluster: only the keys of its slots (0-7999) are followed; "
        f"give a URL for each of the other primaries too: 127.0.0.1:{other.port}"
    )
    both = run_command("ingest", one.url, other.url, "--sink", "null", "--until-caught-up", "--json")
    assert both.code == 0
    assert not [text for text in notes(both.objects) if "cluster" in text]


def test_where_the_user_may_not_ask_about_a_cluster_the_run_says_that_it_is_not_known(
    redis_server: RedisServer,
) -> None:
    rules = ("on", ">open-sesame", "+psync", "+replconf", "+ping")
    redis_server.client().execute_command("ACL", "SETUSER", "reader", *rules)
    url = f"redis://reader:open-sesame@127.0.0.1:{redis_server.port}"
    done = run_command("ingest", url, "--sink", "null", "--until-caught-up", "--json")
    assert done.code == 0
    assert any("cannot tell whether this is one node of a cluster" in text for text in notes(done.objects))


CLUSTER = """\
aaa 127.0.0.1:7001@17001,host-1 master - 0 1 1 connected 0-5460
bbb 127.0.0.1:7002@17002,host-2 myself,slave aaa 0 1 1 connected
ccc 127.0.0.1:7003@17003 master - 0 1 2 connected 5461-10922 [93->-aaa]
ddd [::1]:7004@17004 master,fail - 0 1 3 disconnected 10923-16383
eee 127.0.0.1:7005@17005 master - 0 1 4 connected
fff 127.0.0.1:7006@17006 slave ccc 0 1 2 connected
"""


def test_a_replica_in_a_cluster_has_the_slots_of_its_primary_and_empty_nodes_are_not_named() -> None:
    upstream = parse_upstream("redis://h:7002")
    said = cluster_text(upstream, CLUSTER, set())
    assert said is not None
    assert "its slots (0-5460) are followed" in said
    assert said.endswith("other primaries too: 127.0.0.1:7003, [::1]:7004")
    assert cluster_text(upstream, CLUSTER, {("127.0.0.1", 7003), ("[::1]", 7004)}) is None
    assert cluster_text(upstream, CLUSTER.splitlines()[1] + "\n", set()) is None
