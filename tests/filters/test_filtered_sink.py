"""A filter in front of a sink: what passes, in whole batches and singly, and what the sink's place keeps of it."""

from __future__ import annotations

import errno
import json
import os
import random
import sqlite3
from collections import deque
from contextlib import closing
from pathlib import Path

import pytest

from draining import drain
from filtered_stream import Command, FrameList, apply_stream, at_offsets, offsets_rise, passed_singly
from full_disk import files_of_at_most
from kevy_ring import Frame, replica_inbox_pair
from kevy_ring.errors import FilterRefused, SinkError
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard import KeyFilter, Shard, Snapshot, filtered
from kevy_ring.shard.filters.columns import ONE_KEY
from kevy_ring.shard.sinks.jsonl.sink import JsonlSink
from kevy_ring.shard.sinks.memory import MemorySink
from kevy_ring.shard.sinks.null import NullSink
from kevy_ring.shard.sinks.sqlite.sink import SqliteSink
from kevy_ring.shard.snapshot import LeftOut, SkippedKey

USERS = KeyFilter(keys=[b"user:*"])
FILTERS = {
    "a prefix": USERS,
    "two globs": KeyFilter(keys=[b"user:?", b"*[0-3]"], exclude=[b"*2"]),
    "only an exclusion": KeyFilter(exclude=[b"user:*"]),
    "a database": KeyFilter(databases=[1]),
    "databases and a prefix": KeyFilter(databases=[0, 2], keys=[b"user:*"]),
    "commands": KeyFilter(commands=[b"SET", b"ZREMRANGEBYSCORE"]),
    "a function": KeyFilter(function="test_filtered_sink:is_short"),
    "nothing": KeyFilter(keys=[b"none"]),
    "all": KeyFilter(keys=[b"*"]),
}


def is_short(db: int, key: bytes) -> bool:
    return len(key) < 7


def random_stream(choose: random.Random, count: int) -> list[Command]:
    """Commands of all lengths of names, with one key or more, in databases and transactions. None is refused."""
    names = [*sorted(ONE_KEY), b"set", b"SeT", b"hpexpireAT"]
    stream: list[list[bytes]] = []
    is_open = False
    for _ in range(count):
        key = choose.choice([b"user:%d", b"order:%d", b"%d", b"user:%d:\xff\x00"]) % choose.randrange(20)
        part = choose.random()
        if part < 0.04:
            stream.append([b"EXEC"] if is_open else [b"MULTI"])
            is_open = not is_open
        elif part < 0.12:
            stream.append([choose.choice([b"SELECT", b"select"]), b"%d" % choose.randrange(3)])
        elif part < 0.2:
            stream.append([b"DEL", key, b"user:1", b"order:1"])
        elif part < 0.22:
            stream.append(choose.choice([[b"PUBLISH", key, b"x"], [b"FLUSHDB"], [b"PING"]]))
        else:
            stream.append([choose.choice(names), key, *[b"v" * choose.randrange(40)] * choose.randrange(3)])
    return at_offsets(stream)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("batch", [5, 512])
def test_a_batch_passes_as_its_frames_do(name: str, batch: int) -> None:
    chosen = FILTERS[name]
    stream = random_stream(random.Random(name), 700)
    sink = FrameList()
    shard = apply_stream(sink, chosen, stream, batch=batch)
    expected = passed_singly(chosen, stream)
    assert sink.frames == expected
    assert all(offsets_rise(expected))
    assert shard.applied_offset == stream[-1][0]
    assert shard.frames + shard.frames_filtered == len(stream)
    assert name == "all" or shard.frames_filtered > 100
    assert name == "nothing" or expected


@pytest.mark.parametrize("name", FILTERS)
def test_what_passes_is_in_its_database_and_no_transaction_is_empty(name: str) -> None:
    chosen = FILTERS[name]
    stream = random_stream(random.Random(name), 700)
    db, before, at = 0, b"", {}
    for offset, argv in stream:
        db = int(argv[1]) if argv[0].upper() == b"SELECT" else db
        at[offset] = db
    db = 0
    for offset, argv in passed_singly(chosen, stream):
        name_of = argv[0].upper()
        if name_of == b"SELECT":
            assert int(argv[1]) != db, "a SELECT of the database that is selected"
            db = int(argv[1])
        elif name_of not in (b"MULTI", b"EXEC"):
            assert db == at[offset]
        assert (before, name_of) != (b"MULTI", b"EXEC")
        before = name_of


def test_a_batch_that_passes_whole_reaches_the_sink_as_a_batch() -> None:
    stream = at_offsets([b"SET", b"user:%d" % number, b"v"] for number in range(300))
    with_filter, without = NullSink(), NullSink()
    apply_stream(with_filter, USERS, stream)
    apply_stream(without, KeyFilter(), stream)
    assert with_filter.digest == without.digest
    assert with_filter.frames == 300


def test_frames_that_do_not_pass_are_marked_as_applied_and_counted() -> None:
    sender, receiver = replica_inbox_pair(capacity=1 << 16)
    with closing(sender), closing(receiver):
        shard = Shard(receiver, filtered(MemorySink(), USERS))
        sender.send_many([Frame(number, [b"SET", b"other:%d" % number, b"v"]) for number in range(5)])
        sender.send(Frame(9, [b"SET", b"user:1", b"v"]))
        sender.send(Frame(10, [b"SET", b"other", b"v"]))
        drain(shard)
        assert sender.applied_offset == 10
        assert (shard.frames, shard.frames_filtered, shard.applied_offset) == (1, 6, 10)
        assert shard.frame_bytes == 4 + 3 * 4 + len(b"SETuser:1v")


def test_a_snapshot_is_filtered_with_its_counts_and_names() -> None:
    sink = MemorySink()
    entries = [Entry(b"user:1", "string", b"a"), Entry(b"order:1", "string", b"b"), Entry(b"user:2", "string", b"c")]
    left_out = LeftOut(
        keys=(SkippedKey(0, b"user:s", "stream"), SkippedKey(0, b"order:s", "stream")), functions=(b"lib",)
    )
    snapshot = Snapshot("rdb", 7, 100, 3, 2, deque(entries), left_out)
    filtered(sink, USERS).load(snapshot)
    assert sorted(sink.keyspace()) == [b"user:1", b"user:2"]
    assert (snapshot.count, snapshot.skipped) == (2, 1)
    assert snapshot.left_out == LeftOut(keys=(SkippedKey(0, b"user:s", "stream"),))


def test_a_batch_with_a_command_that_is_refused_leaves_the_filter_where_it_was() -> None:
    sender, receiver = replica_inbox_pair(capacity=1 << 16)
    with closing(sender), closing(receiver):
        sink = MemorySink()
        shard = Shard(receiver, filtered(sink, USERS))
        sender.send_many([Frame(1, [b"SELECT", b"3"]), Frame(2, [b"RENAME", b"a", b"user:a"])])
        for _ in range(2):
            with pytest.raises(FilterRefused, match="RENAME at offset 2"):
                shard.tick()
        assert shard.applied_offset is None
        assert sink.databases == []


# --- what a sink's place keeps ---------------------------------------------------------------------------------------


def jsonl_lines(directory: Path) -> list[Command]:
    lines = [
        json.loads(line)
        for path in sorted(directory.glob("generation-*/changes-*.jsonl"))
        for line in path.read_bytes().splitlines()
    ]
    return [
        (line["offset"], [word.encode() if isinstance(word, str) else b"?" for word in line["argv"]]) for line in lines
    ]


def sqlite_changes(path: Path) -> list[Command]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute('SELECT "offset", argv FROM changes ORDER BY "offset"').fetchall()
    return [(offset, [word.encode() for word in json.loads(argv)]) for offset, argv in rows]


def text_stream(seed: str, count: int) -> list[Command]:
    """A stream of commands that every store runs, whose arguments are text."""
    choose, stream, is_open = random.Random(seed), list[list[bytes]](), False
    for number in range(count):
        key, part = choose.choice([b"user:%d", b"order:%d"]) % choose.randrange(9), choose.random()
        if part < 0.1:
            stream.append([b"EXEC"] if is_open else [b"MULTI"])
            is_open = not is_open
        elif part < 0.3:
            stream.append([b"SELECT", b"%d" % choose.randrange(3)])
        else:
            stream.append(
                choose.choice([[b"SET", key, b"%d" % number], [b"DEL", key, b"user:1"], [b"APPEND", key, b"x"]])
            )
    return at_offsets([*stream, *([[b"EXEC"]] if is_open else [])])


RESUMED = {"users": USERS, "one database": KeyFilter(databases=[1]), "rare": KeyFilter(keys=[b"user:7"], databases=[2])}


@pytest.mark.parametrize("name", RESUMED)
@pytest.mark.parametrize("kind", ["jsonl", "sqlite"])
def test_a_filtered_sink_continues_where_it_ended_at_any_frame(name: str, kind: str, tmp_path: Path) -> None:
    chosen, choose = RESUMED[name], random.Random(name)
    stream = text_stream(name, 200)
    place = tmp_path / "place"
    sent = 0
    while sent < len(stream):
        sink = JsonlSink(place, filter=chosen) if kind == "jsonl" else SqliteSink(place, filter=chosen)
        stored = sink.stored_offset
        assert stored == (stream[sent - 1][0] if sent else None)
        count = choose.randrange(1, 40)
        # The shard gets some frames that it has already, and skips them.
        apply_stream(sink, chosen, stream[max(0, sent - 5) : sent + count], batch=choose.randrange(1, 9))
        sink.close()
        sent += count
    found = jsonl_lines(place) if kind == "jsonl" else sqlite_changes(place)
    assert found == passed_singly(chosen, stream)
    if kind == "sqlite":
        whole = MemorySink()
        apply_stream(whole, KeyFilter(), stream)
        with closing(SqliteSink(place, filter=chosen)) as again, closing(sqlite3.connect(place)) as connection:
            rows = connection.execute("SELECT db, key, value FROM keys").fetchall()
            assert again.stored_offset == stream[-1][0]
        theirs = {(db, key): entry.value for db in range(3) for key, entry in whole.keyspace(db).items()}
        assert {(db, key): value for db, key, value in rows} == {
            name: value for name, value in theirs.items() if chosen.passes(*name)
        }


@pytest.mark.parametrize("seed", range(4))
def test_a_jsonl_sink_that_is_killed_inside_a_write_continues_without_loss(seed: int, tmp_path: Path) -> None:
    """After the kill a part of the lines is written, and the position is that of the batch before."""
    choose, chosen = random.Random(seed), RESUMED["one database"]
    stream = text_stream(f"kill {seed}", 200)
    place = tmp_path / "place"
    sent = 0
    while sent < len(stream):
        sink = JsonlSink(place, filter=chosen)
        stored = sink.stored_offset
        sent = sum(offset <= (stored or 0) for offset, _ in stream)
        first, second = choose.randrange(1, 30), choose.randrange(1, 30)
        apply_stream(sink, chosen, stream[sent : sent + first], batch=100)
        record = next(place.glob("generation-*/position.json"), None)
        before = record.read_bytes() if record is not None else None
        changes = sorted(place.glob("generation-*/changes-*.jsonl"))[-1]
        size = changes.stat().st_size
        apply_stream(sink, chosen, stream[sent + first : sent + first + second], batch=100)
        sink.close()
        changes = sorted(place.glob("generation-*/changes-*.jsonl"))[-1]
        if choose.random() < 0.8 and changes.stat().st_size > size:
            with changes.open("r+b") as file:
                file.truncate(choose.randrange(size, changes.stat().st_size + 1))
            for record in place.glob("generation-*/position.json"):
                record.unlink() if before is None else record.write_bytes(before)
        else:
            sent += first + second
    assert jsonl_lines(place) == passed_singly(chosen, stream)


def test_a_disk_that_is_full_when_the_position_is_written_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, place = RESUMED["one database"], tmp_path / "place"
    stream = text_stream("full", 200)

    def full(fd: int, record: bytes, at: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with closing(JsonlSink(place, filter=chosen)) as sink:
        apply_stream(sink, chosen, stream[:70])
    sink = JsonlSink(place, filter=chosen)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(SinkError) as error:
            apply_stream(sink, chosen, stream[70:140], batch=9)
        assert error.value.reason == "space"
        with pytest.raises(SinkError):
            sink.move_on(10**6, "")
            sink.commit()  # a disk that failed once is not trusted again
        with pytest.raises(SinkError):
            sink.close()
    with closing(JsonlSink(place, filter=chosen)) as sink:
        stored = sink.stored_offset or 0
        assert stored >= stream[69][0]
        apply_stream(sink, chosen, [(offset, argv) for offset, argv in stream if offset > stored])
    assert jsonl_lines(place) == passed_singly(chosen, stream)


@pytest.mark.parametrize("kind", ["jsonl", "sqlite"])
def test_another_filter_on_an_existing_sink_is_refused_with_both_named(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    make = JsonlSink if kind == "jsonl" else SqliteSink
    make(place, filter=KeyFilter(keys=[b"a*"])).close()  # it has nothing yet, so it may get another one
    with closing(make(place, filter=USERS)) as sink:
        apply_stream(sink, USERS, at_offsets([[b"SET", b"order:1", b"v"]]))
    for other, words in ((KeyFilter(keys=[b"a*"]), "this run has --keys 'a\\*'"), (KeyFilter(), "this run has none")):
        with pytest.raises(
            SinkError, match=f"filled with the filter --keys 'user:\\*', and {words}. Give the same"
        ) as error:
            make(place, filter=other)
        assert error.value.reason == "refused"
    with closing(make(place, filter=USERS)) as sink:
        assert sink.stored_offset == 1


@pytest.mark.parametrize("kind", ["jsonl", "sqlite"])
def test_a_filter_on_a_sink_that_was_filled_without_one_is_refused(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    make = JsonlSink if kind == "jsonl" else SqliteSink
    with closing(make(place)) as sink:
        apply_stream(sink, KeyFilter(), at_offsets([[b"SET", b"order:1", b"v"]]))
    with pytest.raises(SinkError, match="it was filled without a filter, and this run has --keys"):
        make(place, filter=USERS)


def test_a_filter_that_the_disk_takes_in_part_is_an_error(tmp_path: Path) -> None:
    chosen = KeyFilter(keys=[b"user:*", b"order:*" * 20])
    with files_of_at_most(60), pytest.raises(SinkError) as raised:
        JsonlSink(tmp_path, filter=chosen)
    assert raised.value.reason == "space"
    with closing(JsonlSink(tmp_path, filter=chosen)):
        assert "order" in json.loads((tmp_path / "filter.json").read_bytes())["filter"]


def test_a_forged_position_is_not_believed(tmp_path: Path) -> None:
    place = tmp_path / "place"
    with closing(JsonlSink(place, filter=USERS)) as sink:
        apply_stream(sink, USERS, at_offsets([[b"SET", b"user:1", b"v"], [b"SET", b"order:1", b"v"]]))
        assert sink.stored_offset == 11
    record = next(place.glob("generation-*/position.json"))
    for forged in (
        b"",
        b"[]",
        b'{"offset": 99, "state": "[0,0,9,[]]", "line": 1}',
        b'{"offset": "9"}',
        b"\xff",
        b"{" * 9000,
    ):
        record.write_bytes(forged)
        with closing(JsonlSink(place, filter=USERS)) as sink:
            assert sink.stored_offset == 1
    with closing(SqliteSink(tmp_path / "s", filter=USERS)) as sqlite:
        apply_stream(sqlite, USERS, at_offsets([[b"SET", b"user:1", b"v"]]))
    with closing(sqlite3.connect(tmp_path / "s")) as connection:
        connection.execute("UPDATE filter SET state = 'x'")
        connection.commit()
    with closing(SqliteSink(tmp_path / "s", filter=USERS)) as sqlite, pytest.raises(SinkError, match="not written by"):
        filtered(sqlite, USERS)


def test_a_resumable_sink_that_cannot_store_the_filters_state_is_refused() -> None:
    class Resumable(FrameList):
        durable = True
        stored_offset = None

        def commit(self) -> None: ...
        def rollback(self) -> None: ...

    with pytest.raises(ValueError, match="Resumable stores its position, but has no move_on"):
        filtered(Resumable(), USERS)
    plain = FrameList()
    assert filtered(plain, KeyFilter()) is plain
