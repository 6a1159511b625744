"""A sink with a filter and a limit for its changes: the place behind dropped frames survives the removal of changes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from endless_sink import FILTER, passes
from filtered_stream import apply_stream, at_offsets
from kevy_ring import replica_inbox_pair
from kevy_ring.cli.compare.jsonl_keys import JsonlKeys
from kevy_ring.cli.compare.sqlite_keys import SqliteKeys
from kevy_ring.errors import SinkError
from kevy_ring.shard import KeyFilter, Shard, filtered, run_loop, sink_from_url
from kevy_ring.shard.sinks.jsonl import JsonlSink, folding, generations
from kevy_ring.shard.sinks.options import SinkOptions
from kevy_ring.shard.sinks.retention import Retention
from kevy_ring.shard.sinks.sqlite import SqliteSink, change_log
from places import SUPPORT

DEADLINE_S = 120.0
USERS = KeyFilter(keys=[b"user:*"])
SECOND_DATABASE = [[b"SELECT", b"1"], *[[b"INCR", b"user:1"]] * 20, [b"MULTI"]]
DROPPED = [[b"SELECT", b"2"], *[[b"INCR", b"order:1"]] * 5]


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


def values(kind: str, place: Path, db: int = 0) -> dict[bytes, object]:
    keys = JsonlKeys(place) if kind == "jsonl" else SqliteKeys(place)
    keys.databases()
    return {key: entry.value for page in keys.pages(db) for key, entry in page.items()}


@pytest.mark.parametrize("by", ["an earlier process", "this process"])
def test_the_place_behind_dropped_frames_survives_a_fold(
    by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(folding, "LOOK_EVERY_S", 0)
    stream = at_offsets([*SECOND_DATABASE[:-1], *DROPPED, [b"MULTI"], [b"INCR", b"order:1"]])
    begin = len(SECOND_DATABASE) - 1
    with closing(JsonlSink(tmp_path, filter=USERS)) as sink:
        apply_stream(sink, USERS, stream[: begin if by == "this process" else len(stream)])
    for path in tmp_path.glob("generation-*/changes-*"):
        os.utime(path, (1, 1))
    sink = JsonlSink(tmp_path, filter=USERS, changes=Retention.parse("1h"))
    behind = filtered(sink, USERS)
    if by == "this process":
        for offset, argv in stream[begin:]:
            behind.apply(offset, argv)
        behind.commit()  # type: ignore[attr-defined]
    wait_until(lambda: behind.tidy() or sink.generation == 2)  # type: ignore[attr-defined]
    assert behind.removed.count == begin  # type: ignore[attr-defined]
    later = at_offsets([[b"INCR", b"order:1"]], first=stream[-1][0] + 10)
    for offset, argv in later:  # into the file that the fold has carried along
        behind.apply(offset, argv)
    behind.commit()  # type: ignore[attr-defined]
    # As after a kill: nothing is closed.
    sink._lock.close()
    assert [path.name for path in tmp_path.glob("generation-*")] == ["generation-000002"]
    assert "it holds files of others" not in caplog.text
    rest = at_offsets([[b"INCR", b"user:2"], [b"EXEC"], [b"SELECT", b"1"], [b"INCR", b"user:1"]], first=1000)
    with closing(JsonlSink(tmp_path, filter=USERS)) as again:
        assert again.stored_offset == later[-1][0]
        # The transaction, and database 2, were dropped until now.
        apply_stream(again, USERS, rest)
        assert again.stored_offset == rest[-1][0]
    assert values("jsonl", tmp_path, 1) == {b"user:1": b"21"}
    assert values("jsonl", tmp_path, 2) == {b"user:2": b"1"}


def test_a_position_that_cannot_be_carried_is_an_error_of_the_disk_and_removes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(JsonlSink(tmp_path, filter=USERS)) as sink:
        apply_stream(sink, USERS, at_offsets([*SECOND_DATABASE, *DROPPED]))
        stored = sink.stored_offset
    for path in tmp_path.glob("generation-*/changes-*"):
        os.utime(path, (1, 1))
    link = os.link

    def full(source: Path, target: Path) -> None:
        if target.name == "position.json":
            raise OSError(28, "No space left on device")
        link(source, target)

    monkeypatch.setattr(os, "link", full)
    with closing(JsonlSink(tmp_path, filter=USERS, changes=Retention.parse("1h"))) as sink:
        with pytest.raises(SinkError) as error:
            wait_until(sink.tidy)
        assert error.value.reason == "space"
    monkeypatch.undo()
    with closing(JsonlSink(tmp_path, filter=USERS)) as sink:
        assert (sink.stored_offset, generations.generations_in(tmp_path)) == (stored, [1])
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("kind", ["jsonl", "sqlite"])
def test_an_idle_shard_lets_the_sink_behind_a_filter_tidy_up(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_loop, "TIDY_INTERVAL_S", 0)
    place = tmp_path / "place"
    stream = at_offsets([*SECOND_DATABASE[:-1], *DROPPED])
    make = JsonlSink if kind == "jsonl" else SqliteSink
    with closing(make(place, filter=USERS)) as sink:
        apply_stream(sink, USERS, stream)
    for path in place.glob("generation-*/changes-*"):
        os.utime(path, (1, 1))
    now_ms = change_log._now_ms()
    monkeypatch.setattr(change_log, "_now_ms", lambda: now_ms + 7_200_000)
    sender, receiver = replica_inbox_pair()
    with closing(make(place, filter=USERS, changes=Retention.parse("1h"))) as sink:
        shard = Shard(receiver, filtered(sink, USERS))
        shard.run(lambda: sink.removed.count == len(SECOND_DATABASE) - 1)
        assert sink.stored_offset == stream[-1][0]
    sender.close(timeout=0)
    receiver.close()
    with closing(make(place, filter=USERS)) as sink:
        assert sink.stored_offset == stream[-1][0]
        apply_stream(sink, USERS, at_offsets([[b"INCR", b"user:2"]], first=1000))
    assert values(kind, place, 1) == {b"user:1": b"20"}
    assert values(kind, place, 2) == {b"user:2": b"1"}


@pytest.mark.parametrize("kind", ["jsonl", "sqlite"])
def test_under_load_and_kill_9_a_filtered_sink_continues_behind_what_it_dropped(kind: str, tmp_path: Path) -> None:
    place, choose = tmp_path / "place", random.Random(kind)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for _ in range(2):
        command = [sys.executable, str(SUPPORT / "endless_sink.py"), f"{kind}:{place}", "8KB", "filtered"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as writer:
            assert writer.stdout is not None
            after, removals, last = choose.randrange(1, 20), 0, -1
            for line in writer.stdout:
                last, removed = map(int, line.split())
                removals += removed > 0
                if removals > after:
                    break
            writer.send_signal(signal.SIGKILL)
        with closing(sink_from_url(f"{kind}:{place}", options=SinkOptions(filter=FILTER))) as sink:  # type: ignore[type-var]
            stored = sink.stored_offset  # type: ignore[attr-defined]
        assert stored >= last > 0
        assert not passes(last)
        assert values(kind, place) == {b"n": b"%d" % sum(map(passes, range(stored + 1)))}
    assert not list(tmp_path.rglob("*.removed"))
