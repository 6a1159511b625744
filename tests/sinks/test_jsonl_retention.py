"""What a jsonl sink removes: old generations, and old changes that a new snapshot of the same state has folded in."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from full_disk import files_of_at_most
from kevy_ring.cli.compare.jsonl_keys import JsonlKeys
from kevy_ring.errors import SinkError
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard import KeyFilter, Snapshot, filtered
from kevy_ring.shard.sinks.jsonl import JsonlSink, fold, folding, generations
from kevy_ring.shard.sinks.memory import MemorySink
from kevy_ring.shard.sinks.retention import Retention
from kevy_ring.shard.snapshot import LeftOut, SkippedKey
from keyspaces import comparable, differences
from random_commands import random_command

DEADLINE_S = 120.0
NOTHING = LeftOut()


class FoldInThread:
    """Stands for the process of a fold, whose start takes a second."""

    stdin = None

    def __init__(self, arguments: list[str], **options: object) -> None:
        self.returncode: int | None = None
        self._orders = json.loads(arguments[-1])
        self._output = b""
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        orders, code = self._orders, 0
        try:
            made = fold.Fold(Path(orders.pop("generation")), orders["upto"])
            made.write(Path(orders.pop("to")), **orders)
            self._output = json.dumps(made.facts).encode()
        except SinkError as error:
            self._output, code = str(error).encode(), 1
        self.returncode = code

    def poll(self) -> int | None:
        return self.returncode

    def kill(self) -> None:
        pass

    def communicate(self) -> tuple[bytes, None]:
        self._thread.join()
        return self._output, None


@pytest.fixture
def real_fold() -> None:
    """Folds are processes, as for a user."""


@pytest.fixture(autouse=True)
def _eager(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "real_fold" not in request.fixturenames:
        monkeypatch.setattr(folding.subprocess, "Popen", FoldInThread)
    monkeypatch.setattr(folding, "LOOK_EVERY_S", 0)
    monkeypatch.setattr(folding, "_LEAST_ROTATE_BYTES", 100)


def snapshot(offset: int, *names: bytes, left_out: LeftOut = NOTHING) -> Snapshot:
    made = Snapshot("rdb", offset, 0, len(names), len(left_out.keys), left_out=left_out)
    made.held.extend(Entry(name, "string", b"of the snapshot", None, 0) for name in names)
    return made


def numbers(directory: Path) -> list[int]:
    return generations.generations_in(directory)


def apply_all(sink: JsonlSink, first: int, *commands: bytes) -> int:
    for offset, command in enumerate(commands, first):
        sink.apply(offset, command.split())
    sink.commit()
    return first + len(commands)


def values(directory: Path, db: int = 0) -> dict[bytes, Any]:
    keys = JsonlKeys(directory)
    keys.databases()
    return {key: entry.value for page in keys.pages(db) for key, entry in page.items()}


def change_lines(directory: Path) -> list[dict[str, Any]]:
    current = generations.path_of(directory, numbers(directory)[-1])
    return [
        json.loads(line)
        for path in generations.numbered(current, generations.CHANGES).values()
        for line in path.read_bytes().splitlines()
    ]


def tidy_until(sink: JsonlSink, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        sink.tidy()
        time.sleep(0.01)


# ------------------------------------------------------------------------------------------------------- generations


def test_the_last_generations_stay_and_older_ones_go(tmp_path: Path) -> None:
    with closing(JsonlSink(tmp_path, keep_generations=2)) as sink:
        for at in range(5):
            sink.load(snapshot(10 * at, b"k%d" % at))
            apply_all(sink, 10 * at + 1, b"SET a 1")
            assert numbers(tmp_path) == [at, at + 1][-min(at + 1, 2) :]
    assert values(tmp_path) == {b"k4": b"of the snapshot", b"a": b"1"}


def test_by_default_all_generations_stay(tmp_path: Path) -> None:
    with closing(JsonlSink(tmp_path)) as sink:
        for at in range(4):
            sink.load(snapshot(10 * at, b"k"))
    assert numbers(tmp_path) == [1, 2, 3, 4]
    with closing(JsonlSink(tmp_path, keep_generations=1)):
        assert numbers(tmp_path) == [4]


def test_a_generation_goes_with_the_position_that_its_filter_stored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = KeyFilter(keys=[b"user:*"])
    with closing(JsonlSink(tmp_path, keep_generations=1, filter=kept)) as sink:
        filtering = filtered(sink, kept)
        for number in (1, 2):
            sink.load(snapshot(number * 10, b"user:1"))
            filtering.apply(number * 10 + 1, [b"SET", b"order:1", b"dropped"])
            filtering.commit()
            assert (tmp_path / f"generation-{number:06}" / "position.json").exists()
    assert sorted(path.name for path in tmp_path.glob("generation-*")) == ["generation-000002"]
    assert "files of others" not in caplog.text


def test_files_of_others_are_never_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(JsonlSink(tmp_path)) as sink:
        sink.load(snapshot(1, b"a"))
        sink.load(snapshot(2, b"b"))
    (tmp_path / "generation-000001" / "notes.txt").write_text("mine")
    (tmp_path / "generation-000001" / "changes-000001.jsonl.bak").write_text("mine too")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "changes-000001.jsonl").write_text("not here\n")
    (tmp_path / "generation-000000").symlink_to(elsewhere)
    for _ in range(2):
        with closing(JsonlSink(tmp_path, keep_generations=1)):
            pass
    assert sorted(path.name for path in (tmp_path / "generation-000001.removed").iterdir()) == [
        "changes-000001.jsonl.bak",
        "notes.txt",
    ]
    assert (elsewhere / "changes-000001.jsonl").read_text() == "not here\n"
    assert "it holds files of others (changes-000001.jsonl.bak, notes.txt)" in caplog.text


def test_a_removal_that_was_killed_is_ended_by_the_next_start(tmp_path: Path) -> None:
    with closing(JsonlSink(tmp_path)) as sink:
        sink.load(snapshot(1, b"a"))
        sink.load(snapshot(2, b"b"))
    (tmp_path / "generation-000001").rename(tmp_path / "generation-000001.removed")
    with closing(JsonlSink(tmp_path)) as sink:
        assert sink.stored_offset == 2
    assert not (tmp_path / "generation-000001.removed").exists()


# -------------------------------------------------------------------------------------------------------------- folds


@pytest.mark.usefixtures("real_fold")
def test_old_changes_are_folded_and_the_state_and_the_position_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    skipped = LeftOut(keys=(SkippedKey(3, b"stream", "stream"),), functions=(b"lib",))
    with closing(JsonlSink(tmp_path, changes=Retention.parse("4KB"))) as sink:
        sink.load(snapshot(0, b"old", left_out=skipped))
        at = apply_all(sink, 1, b"SELECT 3", b"XADD stream * a 1")
        for _ in range(100):
            at = apply_all(sink, at, b"INCR n", b"RPUSH l x")
        tidy_until(sink, lambda: sink.generation > 1)
        assert sink.stored_offset == at - 1
        at = apply_all(sink, at, b"INCR n")
    assert numbers(tmp_path) == [sink.generation]
    with closing(JsonlSink(tmp_path)) as again:
        assert again.stored_offset == at - 1
        assert again._stored.db == 3
    assert values(tmp_path, 3) == {b"n": b"101", b"l": [b"x"] * 100}
    assert values(tmp_path, 0) == {b"old": b"of the snapshot"}
    offsets = [line["offset"] for line in change_lines(tmp_path)]
    assert offsets == list(range(offsets[0], at))
    assert offsets[0] > 50
    current = generations.path_of(tmp_path, sink.generation)
    last = [json.loads(line) for line in (current / "snapshot-000001.jsonl").read_bytes().splitlines()][-3:]
    assert [line["snapshot"] for line in last] == ["skipped", "skipped function", "end"]
    assert "because of --changes 4KB" in caplog.text
    assert sink.removed.count == offsets[0] - 1
    assert f"up to offset {offsets[0] - 1}" in caplog.text or sink.generation > 3


def test_the_log_stays_near_its_size_under_load(tmp_path: Path) -> None:
    with closing(JsonlSink(tmp_path, changes=Retention.parse("20KB"))) as sink:
        at, folds = 0, 0
        deadline = time.monotonic() + DEADLINE_S
        while sink.generation < 5:
            assert time.monotonic() < deadline
            at = apply_all(sink, at, *([b"SET k%d " % (at % 50) + b"x" * 50] * 5))
            time.sleep(0.005)
        folds = sink.generation - 1
        tidy_until(sink, lambda: sum(len(json.dumps(line)) for line in change_lines(tmp_path)) < 20 * 1024)
    assert folds >= 4
    assert sum(len(json.dumps(line)) for line in change_lines(tmp_path)) < 20 * 1024
    assert len(values(tmp_path)) <= 50


def test_changes_are_folded_by_their_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(JsonlSink(tmp_path, changes=Retention.parse("8s"))) as sink:
        apply_all(sink, 0, b"SET a 1")
        for path in tmp_path.glob("generation-*/changes-*"):
            os.utime(path, (1, 1))
        sink._changes._begun_at -= 2  # type: ignore[union-attr]
        apply_all(sink, 1, b"SET b 1")
        for path in tmp_path.glob("generation-000001/changes-000001.jsonl"):
            os.utime(path, (1, 1))
        tidy_until(sink, lambda: sink.generation > 1)
    assert [line["argv"] for line in change_lines(tmp_path)] == [["SET", "b", "1"]]
    assert values(tmp_path) == {b"a": b"1", b"b": b"1"}


def test_a_sink_that_gets_nothing_removes_what_an_earlier_run_kept(tmp_path: Path) -> None:
    with closing(JsonlSink(tmp_path)) as sink:
        apply_all(sink, 0, b"SELECT 2", b"SET a 1")
    for path in tmp_path.glob("generation-*/changes-*"):
        os.utime(path, (1, 1))
    with closing(JsonlSink(tmp_path, changes=Retention.parse("1h"))) as sink:
        tidy_until(sink, lambda: sink.generation > 1)
        assert sink.stored_offset == 1
    assert change_lines(tmp_path) == []
    with closing(JsonlSink(tmp_path)) as sink:
        assert (sink.stored_offset, sink._stored.db) == (1, 2)
        apply_all(sink, 2, b"SET b 1")
    assert values(tmp_path, 2) == {b"a": b"1", b"b": b"1"}


def test_off_folds_every_full_file(tmp_path: Path) -> None:
    with closing(JsonlSink(tmp_path, changes=Retention.parse("off"), rotate_bytes=1000)) as sink:
        at = 0
        for _ in range(100):
            at = apply_all(sink, at, b"INCR n")
        tidy_until(sink, lambda: sum(len(json.dumps(line)) for line in change_lines(tmp_path)) <= 1100)
        assert values(tmp_path) == {b"n": b"100"}


def test_off_waits_until_the_changes_are_worth_a_snapshot(tmp_path: Path) -> None:
    """Otherwise each file of changes would cost a copy of a large keyspace."""
    with closing(JsonlSink(tmp_path, changes=Retention.parse("off"), rotate_bytes=1000)) as sink:
        sink.load(snapshot(0, *(b"k%d" % at for at in range(100))))
        size = sum(path.stat().st_size for path in tmp_path.glob("generation-*/snapshot-*"))
        at = 1
        while not sink._folding._process and sink.generation == 1:
            at = apply_all(sink, at, b"INCR n")
        written = sum(path.stat().st_size for path in tmp_path.glob("generation-*/changes-*"))
        assert size / 2 <= written <= size / 2 + 3000


def test_an_open_transaction_stays_as_lines(tmp_path: Path) -> None:
    with closing(JsonlSink(tmp_path, changes=Retention.parse("1KB"), rotate_bytes=200)) as sink:
        at = 0
        for _ in range(30):
            at = apply_all(sink, at, b"INCR n")
        multi = at
        at = apply_all(sink, at, b"MULTI", *([b"INCR n"] * 40))
        tidy_until(sink, lambda: sink.generation > 1)
        assert change_lines(tmp_path)[0]["offset"] <= multi
        apply_all(sink, at, b"EXEC")
        assert values(tmp_path) == {b"n": b"70"}


def test_a_change_that_cannot_be_run_is_never_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(JsonlSink(tmp_path, changes=Retention.parse("500B"))) as sink:
        at = apply_all(sink, 0, b"UNKNOWN.TO.THE.STORE k v")
        for _ in range(50):
            at = apply_all(sink, at, b"SET k v")
        tidy_until(sink, lambda: "no change was removed" in caplog.text)
        assert sink.generation == 1
    assert len(change_lines(tmp_path)) == at
    assert "the store cannot run the change at offset 0 (b'UNKNOWN.TO.THE.STORE')" in caplog.text


def test_a_full_disk_ends_the_fold_and_removes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(JsonlSink(tmp_path)) as sink:
        sink.load(snapshot(0, *(b"k%d" % at for at in range(50))))
        at = 1
        for _ in range(50):
            at = apply_all(sink, at, b"INCR n")
    with closing(JsonlSink(tmp_path, changes=Retention.parse("500B"))) as sink:
        at = apply_all(sink, at, b"INCR n")
        with files_of_at_most(2000):
            tidy_until(sink, lambda: "no change was removed" in caplog.text)
        assert (sink.generation, len(change_lines(tmp_path))) == (1, at - 1)
        assert not list(tmp_path.glob("*.partial"))
        sink._folding._next_at = 0.0  # the pause after a failure is over
        tidy_until(sink, lambda: sink.generation > 1)
    assert values(tmp_path)[b"n"] == b"51"


@pytest.mark.usefixtures("real_fold")
def test_random_commands_with_folds_and_kills_give_what_one_store_has(tmp_path: Path) -> None:
    """Each life ends as by kill -9, at any moment of a fold."""
    choose = random.Random(7)
    memory = MemorySink()
    at, folds = 0, 0
    for _ in range(6):
        sink = JsonlSink(tmp_path, changes=Retention.parse("3KB"))
        assert sink.stored_offset == (at - 1 if at else None)
        begun = sink.generation
        for _ in range(choose.randrange(20, 60)):
            for _ in range(5):
                command = random_command(choose)
                if memory._store.in_transaction or command[0] in (b"MULTI", b"EXEC", b"DISCARD"):
                    continue
                memory_refused = memory.refusals.count
                memory.apply(at, command)
                if memory.refusals.count == memory_refused:  # an upstream sends only what it has applied
                    sink.apply(at, command)
                    at += 1
            sink.commit()
            time.sleep(0.003)
        folds += sink.generation - begun
        process = sink._folding._process
        if process is not None and choose.random() < 0.5:
            os.kill(process.pid, signal.SIGKILL)
        # As after a kill: nothing is closed, and the fold loses its parent.
        if process is not None and process.stdin is not None:
            process.stdin.close()
            process.wait()
        sink._changes.close()  # type: ignore[union-attr]
        sink._lock.close()
    assert folds >= 1
    keys = JsonlKeys(tmp_path)
    for db in sorted({*memory.databases, *keys.databases()}):
        held = {key: entry for page in keys.pages(db) for key, entry in page.items()}
        assert differences(comparable(memory.keyspace(db)), comparable(held)) == []


@pytest.mark.parametrize("step", ["before the new name", "before the old generation goes"])
def test_a_sink_killed_around_the_change_of_generations_is_whole(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*arguments: object) -> None:
        raise KeyboardInterrupt

    with closing(JsonlSink(tmp_path)) as before:
        at = 0
        for _ in range(50):
            at = apply_all(before, at, b"INCR n")
    sink = JsonlSink(tmp_path, changes=Retention.parse("500B"))
    if step == "before the new name":
        monkeypatch.setattr(sink, "_rename", die)
    else:
        monkeypatch.setattr(folding, "remove_generation", die)
    with pytest.raises(KeyboardInterrupt):
        at = apply_all(sink, at, b"INCR n")
        tidy_until(sink, lambda: False)
    sink._lock.close()
    monkeypatch.undo()
    with closing(JsonlSink(tmp_path)) as again:
        assert again.stored_offset == at - 1
        assert numbers(tmp_path) == [1 if step == "before the new name" else 2]
        apply_all(again, at, b"INCR n")
    assert values(tmp_path) == {b"n": b"52"}
    assert not list(tmp_path.glob("*.partial"))


def test_a_snapshot_ends_a_fold(tmp_path: Path) -> None:
    with closing(JsonlSink(tmp_path, changes=Retention.parse("500B"))) as sink:
        at = 0
        while sink._folding._process is None:
            at = apply_all(sink, at, b"INCR n")
        generation = sink.generation
        sink.load(snapshot(at + 10, b"a"))
        assert sink.generation == generation + 1
        apply_all(sink, at + 11, b"SET b 1")
    assert values(tmp_path) == {b"a": b"of the snapshot", b"b": b"1"}
    assert not list(tmp_path.glob("*.partial"))
