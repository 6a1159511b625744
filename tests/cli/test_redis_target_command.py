"""The kevy-ring command with a Redis target that it must not destroy: it refuses to start, or ends the run."""

from __future__ import annotations

import json

import pytest

from cut_proxy import CutProxy
from kevy_ring.cli.command import run
from kevy_ring.shard.sinks.redis.target_mark import MARK, is_mark
from kevy_ring_command import Finished, RunningCommand, run_command, wait_until
from redis_server import RedisServer, StartServer, start_server

__all__ = ["start_server"]


def keys(server: RedisServer, db: int = 0) -> set[bytes]:
    return {key for key in server.client(db=db).keys("*") if not is_mark(key)}


def follow(upstream: RedisServer, target: RedisServer | str, *options: str) -> Finished:
    url = target if isinstance(target, str) else target.url
    return run_command("ingest", upstream.url, "--sink", url, "--until-caught-up", "--json", *options)


def streaming(found: dict[str, object]) -> bool:
    shards = found.get("shards")
    return found["type"] == "progress" and isinstance(shards, list) and shards[0]["snapshots"] == 1


def test_the_followed_server_as_a_sink_is_one_line_and_nothing_happens(
    start_server: StartServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server = start_server()
    server.client().set("mine", 1)
    for name in (server.url, f"redis://user:secret@localhost:{server.port}"):
        if "secret" in name:
            server.client().acl_setuser("user", enabled=True, passwords=["+secret"], commands=["+@all"], keys=["*"])
        assert run(["ingest", server.url, "--sink", name, "--replace-target", "--until-caught-up"]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("kevy-ring: sink redis://")
        assert "is the followed server" in err
        assert err.count("\n") == 1
        assert "secret" not in err
    assert server.client().keys("*") == [b"mine"]


def test_foreign_keys_are_one_line_and_the_option_that_it_names_replaces_them(
    start_server: StartServer, capsys: pytest.CaptureFixture[str]
) -> None:
    upstream, target = start_server(), start_server()
    upstream.client().set("a", 1)
    target.client().mset({"x": 1, "y": 1})
    target.client(db=5).set("z", 1)
    assert run(["ingest", upstream.url, "--sink", target.url, "--until-caught-up"]) == 1
    _, err = capsys.readouterr()
    assert "it holds 3 keys (2 in database 0, 1 in database 5)" in err
    assert err.count("\n") == 1
    assert (keys(target), keys(target, 5)) == ({b"x", b"y"}, {b"z"})
    done = follow(upstream, target, "--replace-target")
    assert done.code == 0, done.err
    assert (keys(target), keys(target, 5)) == ({b"a"}, set())


def test_the_next_run_needs_no_option_and_verifies_and_the_mark_is_no_key_of_it(start_server: StartServer) -> None:
    upstream, target = start_server(), start_server()
    for number in range(30):
        upstream.client(db=number % 3).set(f"k{number}", 1)
    assert follow(upstream, target).code == 0
    upstream.client().set("later", 1)
    done = follow(upstream, target, "--verify")
    assert done.code == 0, done.err
    comparison = done.summary["runs"][0]["comparison"]
    assert (comparison["keys"], comparison["different"]) == (31, 0)
    assert target.client().exists(MARK)
    assert json.loads(target.client().get(MARK) or b"")["keys"] == {"0": 11, "1": 10, "2": 10}
    # The same server as an upstream, into another kind of sink.
    done = run_command("ingest", target.url, "--sink", "memory", "--verify", "--json")
    assert done.code == 0, done.err
    assert done.summary["runs"][0]["comparison"]["keys"] == 31


def test_another_upstream_and_keys_added_since_are_refused(
    start_server: StartServer, capsys: pytest.CaptureFixture[str]
) -> None:
    upstream, other, target = start_server(), start_server(), start_server()
    upstream.client().set("a", 1)
    assert follow(upstream, target).code == 0
    assert run(["ingest", other.url, "--sink", target.url, "--until-caught-up"]) == 1
    assert f"a replica of {upstream.url} and not of {other.url}" in capsys.readouterr().err
    target.client().set("theirs", 1)
    assert run(["ingest", upstream.url, "--sink", target.url, "--until-caught-up"]) == 1
    assert "at least 1 of them added since" in capsys.readouterr().err
    assert keys(target) == {b"a", b"theirs"}


@pytest.mark.parametrize("who", ["the target", "a target that takes writes", "the upstream"])
def test_a_failover_that_makes_one_a_replica_of_the_other_ends_the_run(start_server: StartServer, who: str) -> None:
    upstream, target = start_server(), start_server("--replica-read-only", "no" if "writes" in who else "yes")
    upstream.client().set("a", 1)
    with RunningCommand("ingest", upstream.url, "--sink", target.url, "--json") as running:
        running.read_until(streaming)
        wait_until(lambda: keys(target) == {b"a"})
        replica, primary = (upstream, target) if who == "the upstream" else (target, upstream)
        replica.client().execute_command("REPLICAOF", "127.0.0.1", str(primary.port))
        if who != "the upstream":
            wait_until(lambda: replica.client().info("replication")["master_link_status"] == "up")
            for number in range(3):
                wait_until(lambda number=number: bool(primary.client().set(f"b{number}", 1)))  # type: ignore[misc]
                wait_until(lambda: replica.client().info("replication")["master_sync_in_progress"] == 0)
        while running.is_running():
            if who != "the upstream":
                primary.client().incr("n")
            running.wait(0.2)
        done = running.finish()
    assert done.code == 1
    assert "the followed server" in done.err or "it is a replica of 127.0.0.1" in done.err
    assert b"a" in keys(primary)


def test_the_followed_server_behind_a_proxy_that_hides_who_it_is_is_found_by_its_mark(
    start_server: StartServer,
) -> None:
    server = start_server()
    server.client().mset({"mine": 1, "and mine": 1})
    server.client().execute_command("ACL", "SETUSER", "blind", "on", ">pw", "~*", "&*", "+@all", "-info")
    with CutProxy(server.port) as proxy:
        url = f"redis://blind:pw@127.0.0.1:{proxy.port}"
        blind = run_command("ingest", server.url, "--sink", url, "--until-caught-up", "--replace-target")
        assert blind.code == 1
        assert "--allow-unchecked-target" in blind.err
        assert server.client().dbsize() == 2
        done = follow(server, url, "--replace-target", "--allow-unchecked-target")
    assert done.code == 1
    assert "come back in the stream" in done.err
    assert keys(server) == {b"mine", b"and mine"}
    assert set(server.client().info("keyspace")) <= {"db0", "db15"}


def test_a_loop_over_a_third_server_ends_the_run_that_closes_it(start_server: StartServer) -> None:
    first, second, third = start_server(), start_server(), start_server()
    first.client().mset({"a": 1, "b": 1})
    with (
        RunningCommand("ingest", first.url, "--sink", second.url, "--json") as one,
        RunningCommand("ingest", second.url, "--sink", third.url, "--json") as two,
    ):
        one.read_until(streaming)
        two.read_until(streaming)
        wait_until(lambda: keys(third) == {b"a", b"b"})
        with RunningCommand("ingest", third.url, "--sink", first.url, "--replace-target", "--json") as three:
            ended = []
            wait_until(lambda: bool(ended.extend(r for r in (one, two, three) if not r.is_running()) or ended))
            done = ended[0].finish()
    assert done.code == 1
    assert "come back in the stream" in done.err
    for server in (first, second, third):
        assert keys(server) == {b"a", b"b"}


def test_the_embedded_upstream_replaces_its_own_replica_and_nothing_else(
    start_server: StartServer, capsys: pytest.CaptureFixture[str]
) -> None:
    target = start_server()
    into = ("ingest", "--keys", "40", "--ops", "400", "--shards", "2", "--sink", f"{target.url}/{{shard}}")
    for _ in range(2):
        done = run_command(*into, "--json")
        assert done.code == 0, done.err
        assert done.summary["verified"]
    held = target.client(db=1).dbsize()
    target.client(db=1).set("theirs", 1)
    assert run(into) == 1
    assert f"it holds {held - 1} keys ({held - 1} in database 1)" in capsys.readouterr().err
    assert run(["ingest", "--keys", "40", "--ops", "400", "--shards", "1", "--sink", f"{target.url}/7"]) == 0


def test_the_options_of_a_redis_target_are_refused_for_another_sink(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--replace-target", "--allow-unchecked-target", "--target-import-mode"):
        assert run(["ingest", "redis://127.0.0.1:1", "--sink", "null", option]) == 2
        assert "are for a redis:// sink" in capsys.readouterr().err
