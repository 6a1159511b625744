"""The promises that several sinks make, tested for each of them. Tests of one sink only are in the sink's own file."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import cli_sinks
from draining import drain
from full_disk import files_of_at_most
from kevy_ring import Frame, ReplicaInboxReceiver, ReplicaInboxSender
from kevy_ring.cli.compare.jsonl_keys import JsonlKeys
from kevy_ring.cli.compare.redis_keys import RedisKeys
from kevy_ring.cli.compare.sqlite_keys import SqliteKeys
from kevy_ring.errors import SinkError
from kevy_ring.events import SnapshotBegin
from kevy_ring.replica.snapshots.entry import Entry, Stream
from kevy_ring.shard import BatchSink, ResumableSink, Shard, Sink, Snapshot, StagingSink, sink_from_url
from kevy_ring.shard.sinks.redis.target_mark import is_mark
from keyspaces import comparable, differences
from redis_server import VERSIONS, RedisServer, find_redis
from snapshot_events import kevysnap, snapshot_events, strings

Pair = tuple[ReplicaInboxSender, ReplicaInboxReceiver]

ALL = ["null", "memory", "jsonl", "sqlite", "redis", "python"]
#: Sinks whose keys can be read back.
STORES = ["memory", "jsonl", "sqlite", "redis"]
#: Sinks that run the commands, or let a server run them.
RUNNING = ["memory", "sqlite", "redis"]
RESUMABLE = ["jsonl", "sqlite"]
STAGING = ["null", "memory", "jsonl", "sqlite", "redis"]

pytestmark = pytest.mark.ring_bytes(4 << 20)


@dataclass
class Place:
    """The place where a sink of one kind writes, and its content."""

    kind: str
    path: Path
    server: RedisServer | None = None
    sinks: list[Any] = field(default_factory=list)

    def open(self) -> Any:
        """A sink that writes there. It is closed at the end of the test."""
        urls = {
            "python": f"python:{cli_sinks.__name__}:counting",
            "jsonl": f"jsonl:{self.path}",
            "sqlite": self._sqlite,
        }
        url = self.server.url if self.server is not None else urls.get(self.kind, self.kind)
        self.sinks.append(sink_from_url(url))
        return self.sinks[-1]

    @property
    def _sqlite(self) -> str:
        return f"sqlite:{self.path}"

    def keys(self, db: int = 0) -> dict[bytes, Entry]:
        """The keys of one database, read without the sink."""
        if self.kind == "memory":
            found: dict[bytes, Entry] = self.sinks[-1].keyspace(db)
            return found
        source: Any
        if self.server is not None:
            source = RedisKeys(self.server.url)
        else:
            source = (JsonlKeys if self.kind == "jsonl" else SqliteKeys)(self.path)
        source.databases()
        found = {key: entry for page in source.pages(db) for key, entry in page.items() if not is_mark(key)}
        if self.server is not None:
            source.close()
        return found

    def databases(self) -> list[int]:
        """The databases that hold keys, without the database that holds only marks."""
        return [db for db in (0, 1, 3, 4, 7, 14, 15) if self.keys(db)]

    def values(self, db: int = 0) -> dict[bytes, Any]:
        return {key: entry.value for key, entry in self.keys(db).items()}


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    kind, _, version = request.param.partition("-")
    server = RedisServer(find_redis(version), tmp_path / "redis") if version else None
    made = Place(kind, tmp_path / "place", server)
    yield made
    for sink in made.sinks:
        sink.close()
    if server is not None:
        server.stop()


def of(*kinds: str) -> Callable[..., Any]:
    """Run a test for the sinks of these kinds, and for `redis` with each version of the server."""
    versions = [f"redis-{version}" for version in VERSIONS if "redis" in kinds]
    return pytest.mark.parametrize("place", [*(kind for kind in kinds if kind != "redis"), *versions], indirect=True)


def frames(*commands: bytes, first: int = 0) -> list[Frame]:
    return [Frame(offset, command.split()) for offset, command in enumerate(commands, first)]


def apply_all(sink: Sink, *commands: bytes, first: int = 0) -> None:
    for frame in frames(*commands, first=first):
        sink.apply(frame.offset, frame.argv)


# -------------------------------------------------------------------------------------------------- capabilities


@of(*ALL)
def test_it_has_what_its_kind_promises(place: Place) -> None:
    sink = place.open()
    assert isinstance(sink, Sink)
    assert sink.durable is (place.kind in ("jsonl", "sqlite", "redis"))
    assert isinstance(sink, BatchSink) is (place.kind != "python")
    assert isinstance(sink, StagingSink) is (place.kind in STAGING)
    assert isinstance(sink, ResumableSink) is (place.kind in RESUMABLE)


@of(*ALL)
def test_a_second_close_does_nothing(place: Place) -> None:
    sink = place.open()
    sink.apply(0, [b"SET", b"a", b"1"])
    sink.flush()
    sink.close()
    sink.close()


# -------------------------------------------------------------------------------------------------------- frames


@of(*STORES)
def test_frames_are_applied_in_order_and_marked_when_they_are_there(place: Place, pair: Pair) -> None:
    sender, receiver = pair
    shard = Shard(receiver, place.open(), max_events=100)
    binary = bytes(range(256)) * 5
    sent = [Frame(at, [b"APPEND", b"k%d" % (at % 7), b"%d," % at]) for at in range(1000)]
    sender.send_many([*sent, Frame(1000, [b"SET", binary, binary]), Frame(1001, [b"SET", b"", b""])])
    drain(shard)
    shard.close()
    expected = {b"k%d" % n: b"".join(b"%d," % at for at in range(n, 1000, 7)) for n in range(7)}
    assert place.values() == {**expected, binary: binary, b"": b""}
    assert sender.applied_offset == 1001


@of(*STORES)
def test_arguments_that_are_views_may_die_after_the_call(place: Place) -> None:
    sink = place.open()
    memory = bytearray(b"SETkv")
    view = memoryview(memory)
    sink.apply(0, [view[:3], view[3:4], view[4:]])
    memory[:] = b"xxxxx"
    sink.flush()
    assert place.values() == {b"k": b"v"}


@of(*RUNNING)
def test_a_transaction_takes_effect_at_its_exec_and_is_not_marked_before(place: Place, pair: Pair) -> None:
    sender, receiver = pair
    sink = place.open()
    shard = Shard(receiver, sink)
    sender.send_many(frames(b"SELECT 3", b"SET a 1", b"MULTI", b"INCR a", b"SELECT 4", b"SET b 1"))
    drain(shard)
    shard.close()
    assert place.values(3) == {b"a": b"1"}
    assert place.values(4) == {}
    if place.kind != "sqlite":  # it keeps the open transaction, so that its next process may mark its offset
        assert sink.in_transaction
        assert sender.applied_offset is None
    sender.send_many(frames(b"EXEC", b"INCR b", b"MULTI", b"SET b 9", b"DISCARD", first=6))
    drain(shard)
    shard.close()
    assert not getattr(sink, "in_transaction", False)
    assert place.values(3) == {b"a": b"2"}
    assert place.values(4) == {b"b": b"2"}
    assert sender.applied_offset == 10
    assert sink.refusals.count == 0


@of(*RUNNING)
def test_a_refused_command_is_counted_and_the_first_is_kept(place: Place, pair: Pair) -> None:
    sender, receiver = pair
    sink = place.open()
    shard = Shard(receiver, sink)
    sender.send_many(frames(b"SET a 1", b"LPOP none", b"RPUSH a x", b"NOSUCH a", b"SET"))
    drain(shard)
    sink.flush()
    assert sink.refusals.count == 3
    first = sink.refusals.first
    assert (first.offset, first.command) == (2, b"RPUSH")
    assert "WRONGTYPE" in first.reply
    assert place.values() == {b"a": b"1"}
    sender.send_many(frames(b"MULTI", b"RPUSH a x", b"SET b 1", b"EXEC", b"SET c 1", first=5))
    drain(shard)
    shard.close()
    assert (sink.refusals.count, sink.refusals.first) == (4, first)
    assert sorted(place.keys()) == [b"a", b"b", b"c"]
    assert sender.applied_offset == 9


# ----------------------------------------------------------------------------------------------------- snapshots

EVERY_TYPE = [
    Entry(b"string", "string", b"\x00\xff\r\n"),
    Entry(b"hash", "hash", {b"f": b"1", b"": b"2"}),
    Entry(b"list", "list", [b"b", b"a", b"b"]),
    Entry(b"set", "set", {b"x", b"y"}),
    Entry(b"zset", "zset", {b"a": 1.5, b"b": float("inf")}),
    Entry(b"expires", "string", b"v", 4_000_000_000_123),
    Entry(b"stream", "stream", Stream((7, 1), (6, 0), 4, [(5, 1, [(b"a", b"1")]), (7, 1, [(b"b", b"")])])),
]


@of(*STORES)
def test_a_snapshot_replaces_all_that_was_there_once_it_is_whole(place: Place, pair: Pair) -> None:
    sender, receiver = pair
    sink = place.open()
    shard = Shard(receiver, sink)
    *most, end = snapshot_events(kevysnap(EVERY_TYPE), 50, 64)
    sender.send_many([*frames(b"SET old 1", b"SELECT 7", b"SET older 1", b"MULTI", b"SET never 1"), *most])
    drain(shard)
    assert (place.values(), place.values(7)) == ({b"old": b"1"}, {b"older": b"1"})
    # A snapshot ends the selected database and the open transaction.
    sender.send_many([end, Frame(50, [b"APPEND", b"string", b"!"])])
    drain(shard)
    shard.close()
    after = [*EVERY_TYPE[1:], Entry(b"string", "string", b"\x00\xff\r\n!")]
    assert differences(comparable({entry.key: entry for entry in after}), comparable(place.keys())) == []
    assert place.databases() == [0]
    assert sender.applied_offset == 50
    refusals = getattr(sink, "refusals", None)
    assert refusals is None or refusals.count == 0


@pytest.mark.parametrize("end", ["another", "close"])
@of(*STORES)
def test_half_a_snapshot_changes_nothing(place: Place, pair: Pair, end: str) -> None:
    sender, receiver = pair
    sink = place.open()
    shard = Shard(receiver, sink)
    *most, _ = snapshot_events(strings(new="2"), 40)
    sender.send_many([Frame(100, [b"SET", b"old", b"1"]), *most, *([SnapshotBegin()] if end == "another" else [])])
    drain(shard)
    shard.close()
    assert place.values() == {b"old": b"1"}
    apply_all(sink, b"SET other 1", first=101)
    sink.flush()
    assert place.values() == {b"old": b"1", b"other": b"1"}
    if place.kind in RESUMABLE:
        assert sink.stored_offset == 101


@of(*STAGING)
def test_a_snapshot_whose_sender_is_gone_counts_as_unfinished(place: Place, pair: Pair) -> None:
    sender, receiver = pair
    shard = Shard(receiver, place.open())
    sender.send_many([Frame(0, [b"SET", b"a", b"1"]), *snapshot_events(strings(b="1"), 8)[:-1]])
    sender.close()
    result = shard.run(lambda: False)
    assert result.snapshot_unfinished
    assert (result.frames, result.snapshots, result.applied_offset) == (1, 0, 0)
    if place.kind in STORES:
        assert place.values() == {b"a": b"1"}


# --------------------------------------------------------------------------------------------- resumable sinks


@of(*RESUMABLE)
def test_the_offset_is_stored_with_the_data_and_not_before(place: Place) -> None:
    sink = place.open()
    assert sink.stored_offset is None
    apply_all(sink, b"SET a 1")
    assert (sink.stored_offset, place.keys()) == (None, {})
    sink.commit()
    assert (sink.stored_offset, place.values()) == (0, {b"a": b"1"})
    apply_all(sink, b"SET a 2", first=1)
    sink.rollback()
    assert (sink.stored_offset, place.values()) == (0, {b"a": b"1"})
    apply_all(sink, b"APPEND a 3", first=1)
    sink.close()
    again = place.open()
    assert (again.stored_offset, place.values()) == (1, {b"a": b"13"})


@pytest.mark.parametrize(("kind", "ack", "stored"), [("kevysnap", 8, 7), ("kevysnap", 0, None), ("rdb", 8, 8)])
@of(*RESUMABLE)
def test_behind_a_snapshot_it_goes_on_where_that_stands(place: Place, kind: Any, ack: int, stored: int | None) -> None:
    sink = place.open()
    apply_all(sink, b"SELECT 4", b"SET a 1", b"MULTI", first=50)
    sink.load(Snapshot(kind, ack, 0, 0))
    assert (sink.stored_offset, place.keys(), place.keys(4)) == (stored, {}, {})
    sink.close()
    again = place.open()
    assert again.stored_offset == stored
    apply_all(again, b"SET b 1", first=60)
    again.commit()
    assert (place.values(), place.values(4)) == ({b"b": b"1"}, {})


@of(*RESUMABLE)
def test_a_second_writer_is_refused_by_the_pid_of_the_first_and_touches_nothing(place: Place, tmp_path: Path) -> None:
    first = place.open()
    first.apply(0, [b"SET", b"a", b"1"])
    first.flush()
    if place.kind == "jsonl":
        first.stage()
        assert (place.path / "generation-000002.partial").is_dir()
    before = sorted((path, path.stat().st_size) for path in tmp_path.rglob("*"))
    with pytest.raises(SinkError, match=f"process {os.getpid()} writes there") as raised:
        place.open()
    assert raised.value.reason == "locked"
    assert sorted((path, path.stat().st_size) for path in tmp_path.rglob("*")) == before
    first.close()
    again = place.open()
    assert again.stored_offset == 0
    again.close()
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith("lock")]


@of(*RESUMABLE)
def test_a_full_disk_is_a_typed_error_and_nothing_is_half_applied(place: Place, pair: Pair, tmp_path: Path) -> None:
    sender, receiver = pair
    sink = place.open()
    shard = Shard(receiver, sink, flush_interval_s=0.0, max_events=100)
    sender.send_many([Frame(at, [b"APPEND", b"k%d" % (at % 7), b"x"]) for at in range(50)])
    drain(shard)
    before = place.keys()
    largest = max((path.stat().st_size, path) for path in tmp_path.rglob("*") if path.is_file())
    sender.send_many([Frame(at, [b"APPEND", b"k%d" % (at % 7), b"x" * 5000]) for at in range(50, 150)])
    for _ in range(2):
        with files_of_at_most(largest[0] + 20_000), pytest.raises(SinkError) as raised:
            shard.tick()
        assert raised.value.reason in ("space", "io")
        assert str(place.path) in str(raised.value)
        if place.kind == "jsonl":
            assert (raised.value.reason, raised.value.errno) == ("space", errno.EFBIG)
            assert str(largest[1]) in str(raised.value)
            assert largest[1].stat().st_size == largest[0]
            assert len(largest[1].read_bytes().splitlines()) == 50
        assert place.keys() == before
        assert (sink.stored_offset, shard.applied_offset, sender.applied_offset) == (49, 49, 49)
    drain(shard)
    sink.close()
    sizes = [sum(1 if at < 50 else 5000 for at in range(n, 150, 7)) for n in range(7)]
    assert place.values() == {b"k%d" % n: b"x" * size for n, size in enumerate(sizes)}
    assert (sink.stored_offset, sender.applied_offset) == (149, 149)
