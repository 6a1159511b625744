"""The sqlite sink: its tables after every batch, after opening them again, and after failures."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections import deque
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from draining import drain
from kevy_ring import Frame, ReplicaInboxReceiver, ReplicaInboxSender
from kevy_ring.cli.compare.difference import is_expired
from kevy_ring.cli.compare.sqlite_keys import SqliteKeys
from kevy_ring.cli.failure import Failure
from kevy_ring.errors import SinkError
from kevy_ring.replica.snapshots.entry import Entry, Stream, StreamGroup
from kevy_ring.shard import Shard, Snapshot
from kevy_ring.shard.sinks.memory import MemorySink
from kevy_ring.shard.sinks.sqlite import SqliteSink
from keyspaces import comparable, differences
from random_commands import random_command
from snapshot_events import kevysnap, snapshot_events

Pair = tuple[ReplicaInboxSender, ReplicaInboxReceiver]
FAR_MS = 4_000_000_000_123


pytestmark = pytest.mark.ring_bytes(4 << 20)


def rows(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def changes(path: Path) -> list[tuple[int, int, list[Any]]]:
    found = rows(path, "SELECT offset, db, argv FROM changes ORDER BY offset")
    return [(offset, db, json.loads(argv)) for offset, db, argv in found]


def position(path: Path) -> tuple[int | None, int, int | None]:
    ((_, *found),) = rows(path, "SELECT * FROM position")
    return found[0], found[1], found[2]


def keyspace(path: Path, db: int = 0) -> dict[bytes, Entry]:
    return {key: entry for page in SqliteKeys(path).pages(db) for key, entry in page.items()}


def apply_all(sink: SqliteSink, first: int, *commands: bytes) -> None:
    for offset, command in enumerate(commands, first):
        sink.apply(offset, command.split())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "replica.db"


def test_keys_changes_and_position_are_there_with_the_batch_and_not_before(path: Path) -> None:
    sink = SqliteSink(path)
    apply_all(sink, 0, b"SET a 1", b"RPUSH l x y", b"PEXPIREAT a %d" % FAR_MS, b"SELECT 3", b"SET b 2")
    assert (changes(path), keyspace(path), position(path)) == ([], {}, (None, 0, None))
    sink.commit()
    assert sink.stored_offset == 4
    assert position(path) == (4, 3, None)
    assert changes(path)[3:] == [(3, 3, ["SELECT", "3"]), (4, 3, ["SET", "b", "2"])]
    assert keyspace(path) == {b"a": Entry(b"a", "string", b"1", FAR_MS), b"l": Entry(b"l", "list", [b"x", b"y"])}
    assert keyspace(path, 3) == {b"b": Entry(b"b", "string", b"2", db=3)}
    apply_all(sink, 5, b"DEL b", b"SELECT 0", b"LPOP l")
    sink.commit()
    assert SqliteKeys(path).databases() == [0]
    assert keyspace(path)[b"l"].value == [b"y"]
    sink.close()


def test_every_type_can_be_read_from_its_row(path: Path) -> None:
    group = StreamGroup(b"g", (5, 1), [(b"c", 7)], [(5, 1, b"c", 9, 2)])
    entries = [
        Entry(b"\xff\x00", "string", b"\xfe"),
        Entry(b"h", "hash", {b"f": b"v", b"\xff": b""}, 1234, 3),
        Entry(b"l", "list", [b"b", b"a"]),
        Entry(b"t", "set", {b"y", b"x"}),
        Entry(b"z", "zset", {b"a": 0.1, b"b": float("-inf")}),
        Entry(b"x", "stream", Stream((7, 1), (6, 0), 4, [(5, 1, [(b"a", b"\xff")])], [group])),
    ]
    sink = SqliteSink(path)
    sink.load(Snapshot("kevysnap", 5, 0, len(entries), held=deque(entries)))
    sink.close()
    assert {**keyspace(path), **keyspace(path, 3)} == {entry.key: entry for entry in entries}
    assert SqliteKeys(path).read(0, [b"l", b"none", b"\xff\x00"]) == {
        b"l": entries[2],
        b"\xff\x00": entries[0],
    }
    assert rows(path, "SELECT value FROM keys WHERE key = x'6c'") == [('["b","a"]',)]
    assert rows(path, "SELECT value FROM keys WHERE key = x'ff00'") == [(b"\xfe",)]


@pytest.mark.parametrize("seed", range(4))
def test_random_commands_over_many_lives_give_what_one_store_in_memory_has(seed: int, path: Path) -> None:
    choose = random.Random(seed)
    memory = MemorySink()
    sink = SqliteSink(path)
    for offset in range(1000):
        command = random_command(choose)
        if choose.random() < 0.05:
            command = choose.choice([[b"SELECT", b"1"], [b"SELECT", b"0"], [b"SWAPDB", b"0", b"1"], [b"FLUSHDB"]])
        memory.apply(offset, command)
        sink.apply(offset, command)
        fate = choose.random()
        if fate < 0.1:
            sink.commit()
        if fate < 0.04:
            # As after a kill: the sink is not closed.
            sink._file.close()
            sink._lock.close()
            sink = SqliteSink(path)
    sink.commit()
    for db in (0, 1):
        # An expired key stays a row until the upstream deletes it.
        live = {key: entry for key, entry in keyspace(path, db).items() if not is_expired(entry, 0)}
        assert differences(comparable(memory.keyspace(db)), comparable(live)) == []
    assert [offset for offset, _, _ in changes(path)] == list(range(1000))
    sink.close()


def test_a_transaction_goes_on_in_the_next_life(path: Path) -> None:
    sink = SqliteSink(path)
    apply_all(sink, 0, b"SELECT 2", b"SET a 1", b"MULTI", b"INCR a")
    sink.commit()
    assert position(path) == (3, 2, 2)
    assert keyspace(path, 2)[b"a"].value == b"1"
    sink._file.close()
    sink._lock.close()
    again = SqliteSink(path)
    assert again.stored_offset == 3
    apply_all(again, 4, b"INCR a", b"EXEC", b"INCR a")
    again.commit()
    assert position(path) == (6, 2, None)
    assert keyspace(path, 2)[b"a"].value == b"4"
    assert [offset for offset, _, _ in changes(path)] == list(range(7))
    assert again.refusals.count == 0
    again.close()


def test_a_snapshot_replaces_keys_changes_and_position_in_one_step(pair: Pair, path: Path) -> None:
    sender, receiver = pair
    sink = SqliteSink(path)
    shard = Shard(receiver, sink)
    *most, end = snapshot_events(kevysnap([Entry(b"new", "string", b"2")]), 40)
    sender.send_many([Frame(100, [b"SELECT", b"5"]), Frame(101, [b"SET", b"old", b"1"]), *most])
    drain(shard)
    assert list(keyspace(path, 5)) == [b"old"]
    sender.send_many([end, Frame(40, [b"SET", b"k", b"v"])])
    drain(shard)
    assert (list(keyspace(path)), SqliteKeys(path).databases()) == ([b"k", b"new"], [0])
    assert [offset for offset, _, _ in changes(path)] == [40]
    assert position(path) == (40, 0, None)
    sink.close()


def test_others_may_read_at_any_time_and_see_whole_batches(path: Path) -> None:
    sink = SqliteSink(path)
    apply_all(sink, 0, b"SET a 1")
    sink.commit()
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM changes").fetchone() == (1,)
    apply_all(sink, 1, b"SET a 2", b"SET b 2")
    sink.commit()
    assert reader.execute("SELECT count(*) FROM changes").fetchone() == (1,)
    reader.execute("COMMIT")
    assert reader.execute("SELECT count(*) FROM changes").fetchone() == (3,)
    reader.close()
    sink.close()


def test_a_locked_file_is_a_typed_error_and_nothing_is_half_applied(pair: Pair, path: Path) -> None:
    sender, receiver = pair
    sink = SqliteSink(path, busy_s=0.05)
    shard = Shard(receiver, sink, flush_interval_s=0.0)
    sender.send_many([Frame(0, [b"INCR", b"n"])])
    drain(shard)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    sender.send_many([Frame(1, [b"INCR", b"n"]), Frame(2, [b"INCR", b"n"])])
    for _ in range(2):
        with pytest.raises(SinkError) as raised:
            shard.tick()
        assert (raised.value.reason, raised.value.sink) == ("timeout", f"sqlite:{path}")
        assert (sink.stored_offset, shard.applied_offset, sender.applied_offset) == (0, 0, 0)
    other.execute("COMMIT")
    other.close()
    drain(shard)
    assert keyspace(path)[b"n"].value == b"3"
    assert [offset for offset, _, _ in changes(path)] == [0, 1, 2]
    sink.close()


def test_a_file_that_may_not_grow_is_a_typed_error_and_nothing_is_half_applied(pair: Pair, path: Path) -> None:
    sender, receiver = pair
    sink = SqliteSink(path)
    shard = Shard(receiver, sink, flush_interval_s=0.0, max_events=100)
    sender.send_many([Frame(at, [b"APPEND", b"k%d" % (at % 7), b"x"]) for at in range(50)])
    drain(shard)
    before = keyspace(path)
    sender.send_many([Frame(at, [b"APPEND", b"k%d" % (at % 7), b"x" * 5000]) for at in range(50, 150)])
    connection = sink._file._connection
    for _ in range(2):
        connection.execute("PRAGMA max_page_count = 12")
        with pytest.raises(SinkError) as raised:
            shard.tick()
        assert (raised.value.reason, raised.value.errno) == ("space", 28)
        assert str(path) in str(raised.value)
        assert keyspace(path) == before
        assert (position(path), shard.applied_offset, sender.applied_offset) == ((49, 0, None), 49, 49)
    connection.execute("PRAGMA max_page_count = 1000000")
    drain(shard)
    sink.close()
    assert [offset for offset, _, _ in changes(path)] == list(range(150))
    expected = MemorySink()
    for at in range(150):
        expected.apply(at, [b"APPEND", b"k%d" % (at % 7), b"x" * (1 if at < 50 else 5000)])
    assert keyspace(path) == expected.keyspace()


def test_a_full_disk_under_a_snapshot_leaves_what_was_there(pair: Pair, path: Path) -> None:
    sender, receiver = pair
    sink = SqliteSink(path)
    shard = Shard(receiver, sink)
    sender.send_many([Frame(0, [b"SET", b"old", b"1"])])
    drain(shard)
    entries = [Entry(b"k%d" % at, "string", b"x" * 3000) for at in range(400)]
    sink._file._connection.execute("PRAGMA max_page_count = 30")
    sender.send_many(snapshot_events(kevysnap(entries), 8))
    with pytest.raises(SinkError) as raised:
        drain(shard)
    assert raised.value.reason == "space"
    shard.close()
    stage = sink.stage()
    for reason in ("space", "io", "io"):  # a failed sink accepts nothing more
        with pytest.raises(SinkError) as raised:
            stage.add(entries)
        assert raised.value.reason == reason
    with pytest.raises(SinkError):
        stage.commit(Snapshot("kevysnap", 8, 0, 0))
    assert list(keyspace(path)) == [b"old"]
    assert position(path) == (0, 0, None)
    sink.close()


def test_what_is_no_file_of_this_sink_is_refused(path: Path) -> None:
    path.write_bytes(b"these are notes and no database at all" * 100)
    with pytest.raises(SinkError) as raised:
        SqliteSink(path)
    assert (raised.value.reason, raised.value.sink) == ("refused", f"sqlite:{path}")
    assert path.read_bytes().startswith(b"these are notes")
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE keys (mine)")
        connection.commit()
    with pytest.raises(SinkError, match="another program"):
        SqliteSink(path)
    path.unlink()
    SqliteSink(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(SinkError, match="version 2"):
        SqliteSink(path)


def test_a_place_that_cannot_be_is_a_typed_error(tmp_path: Path) -> None:
    for place in (tmp_path / "none" / "a.db", tmp_path):
        with pytest.raises(SinkError) as raised:
            SqliteSink(place)
        assert raised.value.reason == "io"
    with pytest.raises(Failure, match="reading keys"):
        SqliteKeys(tmp_path / "none.db").databases()


def test_a_name_that_means_something_to_sqlite_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sink = SqliteSink(":memory:")
    apply_all(sink, 0, b"SET a 1")
    sink.close()
    assert list(keyspace(tmp_path / ":memory:")) == [b"a"]


def test_another_process_that_writes_is_found_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = SqliteSink(path)
    apply_all(sink, 0, b"SET a 1")
    sink.commit()
    # A file system may accept locks and not enforce them.
    monkeypatch.setattr("fcntl.flock", lambda fd, how: None)
    other = SqliteSink(path)
    apply_all(other, 1, b"SET b 1")
    other.commit()
    other._file.close()
    apply_all(sink, 2, b"SET c 1")
    with pytest.raises(SinkError, match="another process"):
        sink.commit()
    assert list(keyspace(path)) == [b"a", b"b"]
    assert sink.stored_offset == 1
    sink.close()


def test_an_offset_that_was_there_before_and_one_too_large_are_refused(path: Path) -> None:
    sink = SqliteSink(path)
    apply_all(sink, 5, b"SET a 1")
    sink.commit()
    for offset in (5, 2**63, 2**64 - 1):
        apply_all(sink, offset, b"SET a 2")
        with pytest.raises(SinkError) as raised:
            sink.commit()
        assert raised.value.reason == "refused"
    assert keyspace(path)[b"a"].value == b"1"
    sink.close()


def test_a_value_that_has_no_row_is_refused_by_its_key(path: Path) -> None:
    sink = SqliteSink(path)
    apply_all(sink, 0, b"TS.CREATE t")
    if sink.refusals.count:
        pytest.skip("this fakeredis has no such type")
    with pytest.raises(SinkError, match="key b't'") as raised:
        sink.commit()
    assert raised.value.reason == "refused"
    assert (keyspace(path), changes(path)) == ({}, [])
    sink.close()


def test_flush_makes_the_log_last(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    sink = SqliteSink(path)
    apply_all(sink, 0, b"SET a 1")
    monkeypatch.setattr("os.fsync", synced.append)
    sink.commit()
    assert synced == []
    sink.flush()
    assert len(synced) == 1
    sink.close()


def text_rows(path: Path) -> list[Any]:
    return sorted(rows(path, "SELECT db, key, type, value, expires_at_ms FROM text_keys"), key=repr)


def test_keys_and_strings_are_found_by_text_in_a_view(path: Path) -> None:
    sink = SqliteSink(path)
    apply_all(sink, 0, b"SET user:1 Ada", b"HSET h f 1", "SET käse süß".encode())
    sink.apply(3, [b"SET", b"\xff", b"v"])
    sink.apply(4, [b"SET", b"b", b"\xc3("])
    sink.commit()
    assert rows(path, "SELECT value FROM text_keys WHERE key = 'user:1'") == [("Ada",)]
    assert rows(path, "SELECT value, type FROM text_keys WHERE key = 'käse'") == [("süß", "string")]
    assert rows(path, "SELECT json_extract(value, '$[0][1]') FROM text_keys WHERE key = 'h'") == [("1",)]
    assert text_rows(path)[-1] == (0, None, "string", "v", None)
    assert rows(path, "SELECT value FROM text_keys WHERE key = 'b'") == [(None,)]
    apply_all(sink, 5, b"SET b text", b"SWAPDB 0 1")
    sink.apply(7, [b"DEL", b"\xff"])
    sink.commit()
    assert rows(path, "SELECT db, value FROM text_keys WHERE key = 'b'") == [(1, "text")]
    assert rows(path, "SELECT db, is_key, is_value FROM not_text") == [(1, 1, 0)]
    sink.load(Snapshot("rdb", 9, 0, 1, 0, deque([Entry(b"k", "string", b"\xfe")])))
    assert text_rows(path) == [(0, "k", "string", None, None)]
    apply_all(sink, 10, b"FLUSHALL")
    sink.commit()
    assert (text_rows(path), rows(path, "SELECT * FROM not_text")) == ([], [])
    sink.close()


def test_a_file_of_an_earlier_release_gets_the_view(path: Path) -> None:
    sink = SqliteSink(path)
    sink.apply(1, [b"MSET", b"a", b"1", b"\xff", b"\xff", b"b", b"\xff"])
    sink.close()
    expected = text_rows(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("DROP VIEW text_keys; DROP TABLE not_text")
    SqliteSink(path).close()
    assert text_rows(path) == expected
    assert [row[1:4] for row in expected] == [("a", "string", "1"), ("b", "string", None), (None, "string", None)]


def test_a_view_leaves_out_the_keys_whose_time_has_come(path: Path) -> None:
    now_ms = time.time_ns() // 1_000_000
    sink = SqliteSink(path)
    apply_all(sink, 0, b"SET a 1", b"SET b 1 PXAT %d" % (now_ms - 2000), b"SET c 1 PXAT %d" % (now_ms + 1_000_000))
    sink.close()
    assert rows(path, "SELECT key FROM keys ORDER BY key") == [(b"a",), (b"b",), (b"c",)]
    assert rows(path, "SELECT key, expires_at_ms FROM live_keys ORDER BY key") == [
        (b"a", None),
        (b"c", now_ms + 1_000_000),
    ]
