"""How much of its log of changes a sink keeps, and that its state and position never need what was removed."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from kevy_ring.cli.compare.jsonl_keys import JsonlKeys
from kevy_ring.cli.compare.sqlite_keys import SqliteKeys
from kevy_ring.errors import SinkError
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard import Snapshot, sink_from_url
from kevy_ring.shard.sinks.retention import Retention
from kevy_ring.shard.sinks.sqlite import SqliteSink, change_log
from places import SUPPORT

DAY_MS = 86_400_000


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ms = 1_800_000_000_000
        monkeypatch.setattr(change_log, "_now_ms", lambda: self.now_ms)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def offsets(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        return [offset for (offset,) in connection.execute("SELECT offset FROM changes ORDER BY offset")]


def apply_all(sink: SqliteSink, first: int, *commands: bytes) -> int:
    for offset, command in enumerate(commands, first):
        sink.apply(offset, command.split())
    sink.commit()
    return first + len(commands)


def values(path: Path) -> dict[bytes, object]:
    return {key: entry.value for page in SqliteKeys(path).pages(0) for key, entry in page.items()}


@pytest.mark.parametrize(
    ("text", "age", "size"),
    [
        ("forever", None, None), ("off", None, 0), ("30m", 1800, None), ("12h", 43200, None), ("7d", 604800, None),
        ("10GB", None, 10 << 30), ("500MB", None, 500 << 20), ("1kib", None, 1024), ("77B", None, 77),
    ],
)  # fmt: skip
def test_a_retention_is_an_age_a_size_or_a_word(text: str, age: int | None, size: int | None) -> None:
    retention = Retention.parse(text)
    assert (retention.max_age_s, retention.max_bytes, str(retention)) == (age, size, text)
    assert (retention.is_off, retention.is_forever) == (text == "off", text == "forever")


@pytest.mark.parametrize("text", ["", "0", "7", "0d", "0GB", "7y", "-7d", "10G", "OFF", "7d 10GB", "1.5GB"])
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is none of: off, forever, an age"):
        Retention.parse(text)


def test_changes_older_than_the_age_are_removed_and_the_keys_stay(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.db"
    with closing(SqliteSink(path, changes=Retention.parse("7d"))) as sink:
        for day in range(10):
            apply_all(sink, day, b"SET k%d v" % day)
            clock.now_ms += DAY_MS
        assert offsets(path) == [2, 3, 4, 5, 6, 7, 8, 9]
        assert sink.removed.count == 2
        clock.now_ms += 3 * DAY_MS
        sink.tidy()
        assert offsets(path) == [6, 7, 8, 9]
        assert sink.stored_offset == 9
    assert len(values(path)) == 10
    [line] = caplog.messages
    assert line.endswith("because of --changes 7d: 1 changes, 40 bytes, up to offset 0")


def test_the_log_stays_below_its_size_by_the_bytes_of_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(SqliteSink(path, changes=Retention.parse("10KB"))) as sink:
        at = 0
        for _ in range(40):
            at = apply_all(sink, at, *([b"SET k " + b"x" * 100] * 20))
            with closing(sqlite3.connect(path)) as connection:
                size = connection.execute("SELECT sum(length(argv) + 24) FROM changes").fetchone()[0]
            assert 8_000 * (at > 80) <= size <= 10_240
        assert sink.removed.size_bytes == at * (len('["SET","k",""]') + 100 + 24) - size


def test_the_file_does_not_grow_with_what_was_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    sizes = []
    with closing(SqliteSink(path, changes=Retention.parse("100KB"))) as sink:
        at = 0
        for _ in range(6):
            for _ in range(10):
                at = apply_all(sink, at, *([b"SET k " + b"x" * 100] * 100))
            sink._file.fold()
            sizes.append(path.stat().st_size)
    assert max(sizes[1:]) <= sizes[0] * 1.25
    assert sizes[0] < 400_000


def test_off_keeps_no_change_and_an_open_transaction_as_long_as_it_is_open(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    off = Retention.parse("off")
    sink = SqliteSink(path, changes=off)
    apply_all(sink, 0, b"SET a 1", b"SET b 1")
    assert offsets(path) == []
    apply_all(sink, 2, b"SET c 1", b"MULTI", b"INCR a")
    apply_all(sink, 5, b"INCR b")
    assert offsets(path) == [3, 4, 5]
    # As after a kill: the sink is not closed.
    sink._file.close()
    sink._lock.close()
    with closing(SqliteSink(path, changes=off)) as again:
        assert again.stored_offset == 5
        apply_all(again, 6, b"EXEC", b"INCR c")
    assert offsets(path) == []
    assert values(path) == {b"a": b"2", b"b": b"2", b"c": b"2"}


def test_a_long_log_is_cut_in_steps_and_the_shorter_retention_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.db"
    with closing(SqliteSink(path)) as sink:
        apply_all(sink, 0, *([b"SET k v"] * 5000))
    with closing(SqliteSink(path, changes=Retention.parse("off"))) as sink:
        assert len(offsets(path)) == 5000
        sink.tidy()
        assert len(offsets(path)) == 3000
        apply_all(sink, 5000, b"SET k w")
        assert len(offsets(path)) == 1000
        for _ in range(2):
            sink.tidy()
    assert offsets(path) == []
    assert values(path) == {b"k": b"w"}
    assert [line for line in caplog.messages if "because of --changes off: 2,000 changes" in line]


def test_a_file_of_the_version_before_opens_and_its_changes_count_from_the_upgrade(
    tmp_path: Path, clock: Clock
) -> None:
    path = tmp_path / "a.db"
    with closing(SqliteSink(path)) as sink:
        apply_all(sink, 0, b"SET a 1", b"SET b 1")
    with closing(sqlite3.connect(path)) as old:
        old.executescript(
            """CREATE TABLE before ("offset" INTEGER PRIMARY KEY, db INTEGER NOT NULL, argv TEXT NOT NULL);
            INSERT INTO before SELECT "offset", db, argv FROM changes; DROP TABLE changes;
            ALTER TABLE before RENAME TO changes;"""
        )
    with closing(SqliteSink(path, changes=Retention.parse("1d"))) as sink:
        assert sink.stored_offset == 1
        apply_all(sink, 2, b"SET c 1")
        assert offsets(path) == [0, 1, 2]
        clock.now_ms += DAY_MS + 1
        apply_all(sink, 3, b"SET d 1")
    assert offsets(path) == [3]
    assert len(values(path)) == 4


def test_a_transaction_that_fails_removes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.db"
    with closing(SqliteSink(path, changes=Retention.parse("200B"))) as sink:
        apply_all(sink, 0, *([b"SET k vvvvvvvvvvvvvvvvvv"] * 3))
        before = offsets(path)
        monkeypatch.setattr(sink._file, "move", lambda *positions: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            apply_all(sink, 3, *([b"SET k w"] * 10))
        monkeypatch.undo()
        assert (offsets(path), sink.removed.count, sink.stored_offset) == (before, 0, 2)
        apply_all(sink, 3, *([b"SET k w"] * 10))
        assert sink.stored_offset == 12
        assert len(offsets(path)) * (len('["SET","k","w"]') + 24) <= 200


def test_a_snapshot_begins_the_size_again(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(SqliteSink(path, changes=Retention.parse("400B"))) as sink:
        apply_all(sink, 0, *([b"SET k w"] * 20))
        snapshot = Snapshot("rdb", 30, 0, 1)
        snapshot.held.append(Entry(b"a", "string", b"1", None, 0))
        sink.load(snapshot)
        apply_all(sink, 31, *([b"SET k w"] * 5))
    assert offsets(path) == [31, 32, 33, 34, 35]


def test_a_position_of_another_process_is_still_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(SqliteSink(path, changes=Retention.parse("off"))) as sink:
        apply_all(sink, 0, b"SET a 1")
        with closing(sqlite3.connect(path)) as other:
            other.execute("UPDATE position SET offset = 7")
            other.commit()
        with pytest.raises(SinkError, match="another process has written to it"):
            apply_all(sink, 1, b"SET a 2")


@pytest.mark.parametrize("kind", ["jsonl", "sqlite"])
def test_under_load_and_kill_9_nothing_is_lost_and_the_log_stays_short(kind: str, tmp_path: Path) -> None:
    """The program applies INCR once for each offset, so the value of the key is the offset plus one."""
    place = tmp_path / "place"
    choose = random.Random(kind)
    last = -1
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for _ in range(2 if kind == "jsonl" else 4):
        command = [sys.executable, str(SUPPORT / "endless_sink.py"), f"{kind}:{place}", "20KB"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as writer:
            assert writer.stdout is not None
            # Kill it while it removes: some commits after the first removal.
            after = choose.randrange(1, 40)
            removals = 0
            for line in writer.stdout:
                last, removed = map(int, line.split())
                removals += removed > 0
                if removals > after:
                    break
            writer.send_signal(signal.SIGKILL)
        sink = sink_from_url(f"{kind}:{place}")
        with closing(sink):  # type: ignore[type-var]
            stored = sink.stored_offset  # type: ignore[attr-defined]
        keys = JsonlKeys(place) if kind == "jsonl" else SqliteKeys(place)
        keys.databases()
        [found] = [entry.value for page in keys.pages(0) for entry in page.values()]
        assert int(found) == stored + 1 > last
    if kind == "sqlite":
        assert 300 < len(offsets(place)) <= 20 * 1024 // 36
        assert offsets(place)[-1] == stored
