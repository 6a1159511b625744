"""After many kill -9 of a shard in the middle of a stream, its durable sink has every frame once, in order."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from kevy_ring import Frame, ReplicaInboxSender, Ring, SendError
from kevy_ring.cli.compare.jsonl_keys import JsonlKeys
from kevy_ring.cli.compare.key_source import KeySource
from kevy_ring.cli.compare.sqlite_keys import SqliteKeys
from kevy_ring.cli.compare.verify import compare
from kevy_ring.inbox import published_in
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard.sinks.memory import MemorySink
from shard_life import live

ROUNDS = 20
FRAMES = 30_000
AT_ONCE = 150
WAIT_S = 60.0


def command(number: int) -> list[bytes]:
    """The command at an offset. The state shows if one is applied twice or not at all."""
    key = b"%d" % (number % 13)
    return [
        [b"INCR", b"n" + key], [b"APPEND", b"s" + key, b"%d." % (number % 97)], [b"RPUSH", b"l" + key, b"%d" % number],
        [b"LPOP", b"l" + key], [b"SET", b"s" + key, b"\xff\x00"], [b"HINCRBY", b"h" + key, b"f", b"3"],
        [b"MULTI"], [b"INCR", b"n" + key], [b"SADD", b"t" + key, b"%d" % (number % 31)], [b"EXEC"],
        [b"SELECT", b"%d" % (number // 11 % 3)],
    ][number % 11]  # fmt: skip


class MemoryKeys:
    """The content of a store that was never killed."""

    expiry_slack_ms = 0

    def __init__(self) -> None:
        self.sink = MemorySink()

    def databases(self) -> list[int]:
        return self.sink.databases

    def pages(self, db: int) -> Iterator[dict[bytes, Entry]]:
        yield self.sink.keyspace(db)

    def read(self, db: int, keys: Any) -> dict[bytes, Entry]:
        return {key: entry for key, entry in self.sink.keyspace(db).items() if key in keys}


def jsonl_changes(place: Path) -> list[tuple[int, list[Any]]]:
    lines = [
        json.loads(line)
        for path in sorted(place.glob("generation-000001/changes-*"))
        for line in path.read_bytes().splitlines()
    ]
    return [(line["offset"], line["argv"]) for line in lines]


def sqlite_changes(place: Path) -> list[tuple[int, list[Any]]]:
    with closing(sqlite3.connect(place)) as connection:
        rows = connection.execute("SELECT offset, argv FROM changes ORDER BY offset").fetchall()
    return [(offset, json.loads(argv)) for offset, argv in rows]


class Lives:
    """Shard processes on one ring, one after the other."""

    def __init__(self, ring: Ring, sink_url: str, ended: Callable[[BaseProcess], BaseProcess], choose: random.Random):
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["shard_life"])
        self._ring = ring
        self._sink_url = sink_url
        self._ended = ended
        self._choose = choose
        self.begun_at: list[int | None] = []

    def begin(self) -> tuple[BaseProcess, Connection]:
        ours, theirs = self._context.Pipe()
        max_events = self._choose.choice([3, 20, 64, 1024])
        process = self._context.Process(target=live, args=(self._ring.name, self._sink_url, max_events, theirs))
        process.start()
        theirs.close()
        self._ended(process)
        assert ours.poll(WAIT_S), "a shard does not begin"
        self.begun_at.append(ours.recv())
        return process, ours


def send_until_killed(ring: Ring, process: BaseProcess, delay_s: float) -> bool:
    """Continue after the last published event, until the shard is killed (True) or has taken everything (False)."""
    killer = threading.Timer(delay_s, os.kill, (process.pid, signal.SIGKILL))
    killer.start()
    sender = ReplicaInboxSender.attach(ring.name, timeout=60)
    last = published_in(ring).offset
    try:
        for first in range(0 if last is None else last + 1, FRAMES, AT_ONCE):
            sender.send_many([Frame(at, command(at)) for at in range(first, min(first + AT_ONCE, FRAMES))])
            if sender.overflow.events > 20 * AT_ONCE:
                sender.flush(60)
        while sender.overflow.events and not sender.receiver_gone:
            sender.flush(60)
        return sender.receiver_gone
    except SendError:
        return True
    finally:
        sender.close(timeout=0)
        killer.join()
        process.join(WAIT_S)


@pytest.mark.parametrize("kind", ["jsonl", "sqlite"])
def test_every_frame_is_there_once_and_in_order_however_often_the_shard_is_killed(
    kind: str, tmp_path: Path, ended: Callable[[BaseProcess], BaseProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The fork server imports the modules once for all shards. It needs the path to find them.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    choose = random.Random(f"{kind}")
    place = tmp_path / "place"
    with Ring.create(1 << 14) as ring:
        lives = Lives(ring, f"{kind}:{place}", ended, choose)
        kills = 0
        for _ in range(ROUNDS):
            process, _ = lives.begin()
            if not send_until_killed(ring, process, choose.expovariate(1 / 0.06)):
                break
            kills += 1
        process, ours = lives.begin()
        with ReplicaInboxSender.attach(ring.name, timeout=60) as sender:
            last = published_in(ring).offset
            for first in range(0 if last is None else last + 1, FRAMES, AT_ONCE):
                sender.send_many([Frame(at, command(at)) for at in range(first, min(first + AT_ONCE, FRAMES))])
            assert sender.flush(WAIT_S)
            while ring.stats().used_bytes:
                assert process.is_alive()
                process.join(0.05)
        ours.send("end")
        process.join(WAIT_S)
        assert process.exitcode == 0
    starts = [-1 if start is None else start for start in lives.begun_at]
    assert starts == sorted(starts)
    found = (jsonl_changes if kind == "jsonl" else sqlite_changes)(place)
    assert [offset for offset, _ in found] == list(range(FRAMES))
    assert all(argv[0] == command(offset)[0].decode() for offset, argv in found)
    expected = MemoryKeys()
    for at in range(FRAMES):
        expected.sink.apply(at, command(at))
    keys: KeySource = JsonlKeys(place) if kind == "jsonl" else SqliteKeys(place)
    comparison = compare(expected, keys, is_final=True)
    assert (comparison.different, [str(each) for each in comparison.differences]) == (0, [])
    assert comparison.compared > 30
    assert kills > 1  # the machine decides how many kills fit into the stream
    print(f"\n{kind}: {kills} kills in mid-stream, {len(set(starts))} different starts")
