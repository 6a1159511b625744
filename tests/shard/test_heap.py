"""Memory of a shard: the collector of cycles, keyspaces that were replaced, and snapshots with large keys."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from kevy_ring import Frame, ReplicaInboxReceiver, ReplicaInboxSender, Ring
from kevy_ring.events import BytesLike
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.replica.snapshots.kevysnap_writer import write_snapshot
from kevy_ring.replica.snapshots.rdb import RdbReader
from kevy_ring.replica.stop import StopSignal
from kevy_ring.shard import Shard, StagingSink, sink_from_url
from kevy_ring.shard.assembly import SnapshotAssembly
from kevy_ring.shard.shard_process import ShardProcess
from redis_server import RedisServer, redis_version, start_redis
from snapshot_events import snapshot_events, strings

__all__ = ["redis_version", "start_redis"]

seen: list[tuple[tuple[int, int, int], int]] = []
stop = StopSignal()


def look(offset: int, argv: Sequence[BytesLike]) -> None:
    """A sink that keeps the state of the collector, and ends the shard at the second frame."""
    seen.append((gc.get_threshold(), gc.get_freeze_count()))
    if offset == 2:
        stop.set()


BATCH_BYTES = 1 << 20  # of the file, in csrc/rdb


def test_the_collector_is_relaxed_inside_a_shard_process_and_nowhere_else() -> None:
    before = gc.get_threshold()
    assert gc.get_freeze_count() == 0
    with Ring.create(1 << 16) as ring:
        with ReplicaInboxSender.attach(ring.name) as sender:
            sender.send(Frame(1, [b"SET", b"k", b"v"]))
            sender.send_many([*snapshot_events(strings(a="1"), 2), Frame(2, [b"SET", b"k", b"v"])])
        ShardProcess(f"python:{__name__}:look")(ring.name, 0, stop)
    (first, frozen), (second, frozen_later) = seen
    assert first == second
    assert first[0] > before[0]
    assert min(frozen, frozen_later) > 10_000
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)


@pytest.mark.parametrize("sink_url", ["memory", "sqlite:{}/a.db"])
def test_a_keyspace_that_was_replaced_or_given_up_is_freed_without_the_collector(sink_url: str, tmp_path: Path) -> None:
    sink = sink_from_url(sink_url.format(tmp_path))
    assert isinstance(sink, StagingSink)
    chunks = list(write_snapshot(Entry(b"%d" % n, "string", b"v" * 10_000) for n in range(1000)))
    tracemalloc.start()
    gc.disable()
    try:
        for number in range(5):
            assembly = SnapshotAssembly(sink)
            assembly.begin()
            for chunk in chunks:
                assembly.feed(chunk)
            if number % 2:
                assembly.abort()
            else:
                assembly.finish(1)
            sink.apply(number + 1, [b"SET", b"k", b"v"])
        assert tracemalloc.get_traced_memory()[0] < 2 * sum(map(len, chunks))
    finally:
        gc.enable()
        tracemalloc.stop()
        sink.close()


def test_large_keys_of_an_rdb_are_handed_on_a_few_at_a_time(start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis()
    client = server.client()
    for number in range(40):
        client.hset(f"hash {number}", mapping={f"field {n}": "v" * 20 for n in range(5000)})
        client.rpush(f"list {number}", *range(1000))
    client.mset({f"string {number}": "v" for number in range(2000)})
    client.save()
    reader = RdbReader()
    body = memoryview((server.directory / "dump.rdb").read_bytes())
    groups = [
        [(entry.key, len(entry.value)) for entry in reader.feed(body[at : at + 65536])]
        for at in range(0, len(body), 65536)
    ]
    reader.finish()
    assert sum(map(len, groups)) == 2080
    # A field takes more than 15 bytes of the file, where its value is compressed. A group is at most a batch and two
    # pieces of it.
    assert max(sum(count for _, count in group) for group in groups) < 5000 + (BATCH_BYTES + 2 * 65536) // 15
    assert max(map(len, groups)) > 100


REFUSED = [
    [b"LPUSH", b"k", b"1"],
    [b"EVAL", b"return redis.call('LPUSH','k','1')", b"0"],
    [b"RESTORE", b"other", b"0", b"garbage that is long enough"],
]


@pytest.mark.parametrize("sink_url", ["memory", "sqlite:{}/a.db"])
@pytest.mark.parametrize("command", REFUSED, ids=lambda command: command[0].decode())
def test_a_refused_command_behind_a_snapshot_leaves_no_view_of_the_batch(
    sink_url: str, command: list[bytes], pair: tuple[ReplicaInboxSender, ReplicaInboxReceiver], tmp_path: Path
) -> None:
    # The error of a refused command has a traceback, which holds the frames of the code that applied it.
    sender, receiver = pair
    sender.send_many([*snapshot_events(strings(k="1"), 1), Frame(1, command)])
    sink = sink_from_url(sink_url.format(tmp_path))
    shard = Shard(receiver, sink)
    gc.disable()
    try:
        assert shard.tick() == 4
        assert shard.tick() == 0
    finally:
        gc.enable()
    assert sink.refusals.count == 1  # type: ignore[attr-defined]
    sink.close()


def test_the_first_command_of_a_sqlite_sink_leaves_no_view_of_the_batch(tmp_path: Path) -> None:
    program = (
        "import gc, sys\n"
        "gc.disable()\n"
        "from kevy_ring import Frame, replica_inbox_pair\n"
        "from kevy_ring.shard import Shard, sink_from_url\n"
        "from snapshot_events import snapshot_events, strings\n"
        "gc.collect = lambda: sys.exit('a cycle holds views')\n"
        "sender, receiver = replica_inbox_pair(1 << 20)\n"
        "sender.send_many([*snapshot_events(strings(k='1'), 1), Frame(1, [b'SET', b'k', b'2'])])\n"
        "assert Shard(receiver, sink_from_url(sys.argv[1])).tick() == 4\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    found = subprocess.run(
        [sys.executable, "-c", program, f"sqlite:{tmp_path}/a.db"],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (found.returncode, found.stderr) == (0, "")
