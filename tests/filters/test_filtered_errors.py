"""``--on-error`` behind a filter: what passes follows the policy, and what does not leaves no trace."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kevy_ring import Frame, ReplicaInboxReceiver, ReplicaInboxSender, SnapshotBegin, SnapshotChunk, SnapshotEnd
from kevy_ring.errors import EventRefused, FilterRefused
from kevy_ring.shard import KeyFilter, Shard, sink_from_url
from kevy_ring.shard.refused.policy import ErrorPolicy
from kevy_ring.shard.sinks.options import SinkOptions
from kevy_ring.shard.sinks.sink import Sink
from rdb_bodies import database, function, module_value, rdb_of

Pair = tuple[ReplicaInboxSender, ReplicaInboxReceiver]
USERS = KeyFilter(keys=[b"user:*"])


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    return tmp_path / "letters.jsonl"


@pytest.fixture(params=["memory", "sqlite:{tmp}/a.db"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.param).format(tmp=tmp_path)


def made(url: str, policy: str) -> Sink:
    return sink_from_url(url, options=SinkOptions(filter=USERS, on_error=ErrorPolicy.parse(policy)))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def tick_all(shard: Shard) -> None:
    while shard.tick():
        pass


def test_a_letter_is_written_for_a_key_that_passes_and_for_no_other(url: str, letters: Path, pair: Pair) -> None:
    sender, receiver = pair
    with closing(made(url, f"dead-letter:{letters}")) as sink:
        shard = Shard(receiver, sink)
        commands = [b"SET order:1 v", b"RPUSH order:1 x", b"SELECT 3", b"MSET user:1 v order:1 v", b"RPUSH order:1 x"]
        commands += [b"RPUSH user:1 x", b"MULTI", b"RPUSH order:1 x", b"RPUSH user:1 y", b"EXEC", b"SET user:2 v"]
        sender.send_many([Frame(offset, command.split()) for offset, command in enumerate(commands)])
        tick_all(shard)
        shard.close()
        assert sender.applied_offset == len(commands) - 1
    assert [(each["db"], each["argv"]) for each in lines(letters)] == [
        (3, ["RPUSH", "user:1", "x"]),
        (3, ["RPUSH", "user:1", "y"]),
    ]


@pytest.mark.parametrize("policy", ["dead-letter", "stop"])
def test_what_cannot_be_read_of_a_snapshot_follows_the_policy_only_if_it_passes(
    url: str, policy: str, letters: Path, pair: Pair
) -> None:
    sender, receiver = pair
    library = function(b"#!lua name=lib\nredis.register_function('f', function() return 1 end)")

    def send(*names: bytes) -> None:
        body = rdb_of(library, database(0), *(module_value(name) for name in names))
        sender.send_many([SnapshotBegin(), SnapshotChunk(body), SnapshotEnd(7)])

    with closing(made(url, f"dead-letter:{letters}" if policy == "dead-letter" else policy)) as sink:
        shard = Shard(receiver, sink)
        send(b"order:1", b"order:2")
        tick_all(shard)
        assert (shard.snapshots, shard.skipped) == (1, 0)
        send(b"order:1", b"user:1")
        if policy == "stop":
            with pytest.raises(EventRefused, match=r"1 key of type .* \('user:1'\)"):
                tick_all(shard)
            return
        tick_all(shard)
        shard.close()
    assert [(each["kind"], each["key"]) for each in lines(letters)] == [("unreadable", "user:1")]


@pytest.mark.parametrize("policy", ["stop", "skip", "dead-letter"])
def test_a_command_that_cannot_be_cut_down_ends_the_run_under_every_policy(
    url: str, policy: str, letters: Path, pair: Pair
) -> None:
    sender, receiver = pair
    with closing(made(url, f"dead-letter:{letters}" if policy == "dead-letter" else policy)) as sink:
        shard = Shard(receiver, sink)
        sender.send_many([Frame(0, [b"SET", b"user:1", b"v"]), Frame(10, [b"RENAME", b"order:1", b"user:2"])])
        for _ in range(2):  # it is not passed over by the next attempt either
            with pytest.raises(FilterRefused) as error:
                tick_all(shard)
            assert (error.value.command, error.value.offset, error.value.key) == (b"RENAME", 10, b"order:1")
            assert error.value.filter == str(USERS)
        shard.close()
        assert (sender.applied_offset or 0) < 10
        assert sink.refusals.count == 0  # type: ignore[attr-defined]
    assert not letters.exists() or letters.read_bytes() == b""
