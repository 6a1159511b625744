"""The filter of ``kevy-ring ingest``: its options, and filtered replicas of a real Redis that are compared with it."""

from __future__ import annotations

import contextlib
import random
import secrets
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from asked_options import asked
from kevy_ring.cli.command import run
from kevy_ring.cli.compare.key_source import PassingKeys
from kevy_ring.cli.compare.verify import compare
from kevy_ring.cli.ingest.options_filter import filter_asked
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.replica.upstream_url import parse_upstream
from kevy_ring.shard import KeyFilter
from kevy_ring.shard.filters.border import AcrossBorder, Border
from kevy_ring_command import RunningCommand, is_gone, run_command, wait_until
from places import SUPPORT
from random_commands import KEYS, random_command
from redis_server import RedisServer, StartServer, start_server

__all__ = ["start_server"]


# --- options ---------------------------------------------------------------------------------------------------------


def test_the_options_make_one_filter_that_reaches_the_sinks() -> None:
    found = asked(
        "redis://h", "--db", "5", "--keys", "a*", "--keys", "b*", "--exclude", "*x", "--commands", "set,DEL",
        "--commands", "zadd", "--filter", "mod:call",
    )  # fmt: skip
    assert found.sink_options.filter == KeyFilter([5], [b"a*", b"b*"], [b"*x"], [b"SET", b"DEL", b"ZADD"], "mod:call")
    assert not asked("redis://h").sink_options.filter


@pytest.mark.parametrize("url", ["redis://h/5", "valkey://h:1/5", "redis://h?db=5", "unix:///run/redis.sock?db=5"])
def test_a_database_in_the_url_of_an_upstream_is_the_option_db(url: str) -> None:
    found = asked(url)
    assert found.sink_options.filter == asked(url, "--db", "5").sink_options.filter == KeyFilter([5])
    assert not found.follow.upstreams[0].names_db
    assert asked("redis://h/0").sink_options.filter == KeyFilter([0])
    assert (
        asked("kevy://h:1", "--verify", "--sink", "memory", "--data-url", "redis://h/0", "--db", "0").sources[0].db == 0
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["redis://h/5", "--db", "6"], "redis://h:6379/5 names database 5, and --db names 6: remove one of the two"),
        (["redis://h/5", "redis://h/6"], "names database 5, and another upstream does not"),
        (["redis://h/5", "redis://g"], "give --db N, or run the command once for each"),
        (["kevy://h:1", "--db", "5"], "kevy://h:1 has only database 0, and --db names 5"),
        (["redis://h", "--commands", "SET,STE"], "no server has a command 'STE'"),
        (["redis://h", "--commands", " , "], "--commands names no command"),
        (["redis://h", "--filter", "module"], "'module' is not of the form MODULE:CALLABLE"),
        (["redis://h", "--keys", ""], "a glob must not be empty"),
        (
            ["redis://h", "--commands", "SET", "--verify", "--sink", "memory"],
            "--verify compares keys, and with --commands",
        ),
        (["--keys", "user:*"], "without a URL, --keys is the number of keys in the snapshot"),
        (["--keys", "10", "--exclude", "a*"], "--db, --exclude, --commands and --filter need a URL"),
    ],
)
def test_options_that_cannot_be_followed_are_exit_code_2_with_the_reason(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ingest", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_bytes_that_are_no_text_reach_the_filter_as_the_shell_has_them() -> None:
    upstream = (parse_upstream("redis://h"),)
    made = filter_asked(upstream, databases=(), keys=("\udcff*", "é"), exclude=(), commands=(), function="")
    assert made.keys == ("é".encode(), b"\xff*")


# --- replicas --------------------------------------------------------------------------------------------------------


def write_across(server: RedisServer, chosen: KeyFilter, seed: str, count: int, *, streams: bool = True) -> None:
    """Random commands with keys on both sides of the filter, without those that it refuses."""
    choose, border, db = random.Random(seed), Border(chosen), 0
    connection = server.client().connection_pool.get_connection()
    while count:
        argv, to = random_command(choose), choose.randrange(3)
        if choose.random() < 0.15:
            copy = [b"COPY", choose.choice(KEYS), choose.choice(KEYS), b"DB", b"%d" % to, b"REPLACE"]
            argv = choose.choice([[b"SELECT", b"%d" % to], copy])
        try:
            border.inside(db, argv)
        except AcrossBorder:
            continue
        if not streams and argv[0].startswith(b"X"):
            continue  # a snapshot cannot be read with them
        db = to if argv[0] == b"SELECT" else db
        connection.send_command(*argv)
        with contextlib.suppress(redis.ResponseError):
            connection.read_response()
        count -= 1
    connection.disconnect()


def streaming(found: dict[str, Any]) -> bool:
    shards = found.get("shards")
    return found["type"] == "progress" and bool(shards) and shards[0]["snapshots"] == 1


SINKS = {
    "memory": "memory",
    "jsonl": "jsonl:{folder}/lines",
    "one database of redis": "redis://127.0.0.1:{port}/7",
}
REPLICAS = {
    "memory": KeyFilter(function="cli_filters:is_even"),
    "jsonl": KeyFilter(databases=[1, 2], exclude=[b"k[13]"]),
    "one database of redis": KeyFilter(databases=[2], keys=[b"k[0-6]"]),
}


def arguments_of(chosen: KeyFilter) -> list[str]:
    words = [["--db", str(db)] for db in chosen.databases]
    words += [["--keys", glob.decode()] for glob in chosen.keys] + [
        ["--exclude", glob.decode()] for glob in chosen.exclude
    ]
    words += [["--filter", chosen.function]] if chosen.function else []
    return [word for pair in words for word in pair]


@pytest.mark.parametrize("name", SINKS)
def test_a_filtered_sink_has_the_keys_of_the_upstream_that_pass(
    name: str, start_server: StartServer, tmp_path: Path
) -> None:
    chosen, upstream = REPLICAS[name], start_server()
    port = start_server().port if "redis" in name else 0
    sink = SINKS[name].format(folder=tmp_path, port=port)
    write_across(upstream, chosen, f"{name} before", 300, streams=False)
    arguments = ["ingest", upstream.url, *arguments_of(chosen), "--sink", sink, "--verify", "--json"]
    with RunningCommand(*arguments, path=[SUPPORT], until_told=True) as running:
        running.read_until(streaming)
        write_across(upstream, chosen, name, 1500)
        running.end_duration()
        done = running.finish()
    (found,) = done.summary["runs"]
    assert found["comparison"]["different"] == 0, found["comparison"]
    assert found["comparison"]["keys"] > 5
    (shard,) = found["shards"]
    assert shard["frames_filtered"] > 20
    assert shard["restarts"] == 0, [each for each in done.objects if each["type"] == "note"]
    assert shard["frames"] > 100
    assert done.code == 0, done.err


def test_verify_finds_a_key_that_passes_and_is_missing_and_one_that_is_too_much() -> None:
    one = {key: Entry(key, "string", b"v") for key in (b"user:1", b"user:2", b"order:1")}
    other = {key: Entry(key, "string", b"v") for key in (b"user:1", b"user:3", b"order:1")}
    chosen = KeyFilter(keys=[b"user:*"])
    result = compare(PassingKeys(PlainKeys(one), chosen), PlainKeys(other), is_final=True)
    assert sorted(difference.key for difference in result.differences) == [b"order:1", b"user:2", b"user:3"]
    assert result.compared == 1


class PlainKeys:
    """A key source of one database."""

    expiry_slack_ms = 0

    def __init__(self, keys: dict[bytes, Entry]) -> None:
        self._keys = keys

    def databases(self) -> list[int]:
        return [0]

    def pages(self, db: int) -> Iterator[dict[bytes, Entry]]:
        yield self._keys

    def read(self, db: int, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        return {key: self._keys[key] for key in keys if key in self._keys}


def test_a_command_across_the_border_ends_the_run_with_its_name_and_what_to_do(start_server: StartServer) -> None:
    upstream = start_server()
    upstream.client().mset({"user:1": 1, "order:1": 1})
    with RunningCommand("ingest", upstream.url, "--keys", "user:*", "--sink", "memory", "--json") as running:
        running.read_until(streaming)
        upstream.client().rename("order:1", "user:2")
        done = running.finish()
    assert done.code == 1
    assert "the filter --keys 'user:*' cannot apply RENAME at offset " in done.err
    assert "'user:2' passes the filter and gets its value from 'order:1', which does not pass" in done.err
    assert "Give a filter with all of these keys or with none of them, and a new place for the sink" in done.err


def test_a_killed_run_continues_with_the_same_filter_and_refuses_another(
    start_server: StartServer, tmp_path: Path
) -> None:
    upstream, name = start_server(), f"filter{secrets.token_hex(4)}"
    client = upstream.client()
    client.mset({f"{kind}:{number}": number for kind in ("user", "order") for number in range(50)})
    into = ["ingest", upstream.url, "--sink", f"sqlite:{tmp_path}/keys.db", "--name", name, "--json"]
    try:
        with RunningCommand(*into, "--keys", "user:*") as running:
            running.read_until(streaming)
            client.mset({"user:a": 1, "order:a": 1})
            client.set("order:b", 1)
            running.read_until(lambda found: found["type"] == "progress" and found["shards"][0]["frames"] >= 1)
            pids = [running.pid, *running.children()]
            running.signal(signal.SIGKILL)
            wait_until(lambda: all(map(is_gone, pids)))
        client.mset({"user:b": 2, "order:c": 2})
        refused = run_command(*into, "--keys", "order:*")
        assert refused.code == 1
        assert "filled with the filter --keys 'user:*', and this run has --keys 'order:*'" in refused.err
        done = run_command(*into, "--keys", "user:*", "--verify")
        assert done.code == 0, done.err
        assert done.summary["runs"][0]["comparison"]["keys"] == 52
    finally:
        for file in Path("/dev/shm").glob(f"{name}*"):
            file.unlink()
