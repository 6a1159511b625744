"""The jsonl sink: its lines, complete and incomplete generations, and a full disk."""

from __future__ import annotations

import base64
import errno
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from draining import drain
from full_disk import files_of_at_most
from kevy_ring import Frame, ReplicaInboxReceiver, ReplicaInboxSender
from kevy_ring.errors import SinkError
from kevy_ring.replica.snapshots.entry import Entry, Stream, StreamGroup
from kevy_ring.shard import Shard
from kevy_ring.shard.sinks.jsonl import JsonlSink
from kevy_ring.shard.sinks.jsonl.line import change_line, entry_line
from kevy_ring.shard.sinks.jsonl.line_file import BLOCK_BYTES, LineFile, drop_torn_line, last_line
from snapshot_events import kevysnap, snapshot_events, strings

Pair = tuple[ReplicaInboxSender, ReplicaInboxReceiver]


pytestmark = pytest.mark.ring_bytes(4 << 20)


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


LOCK = ".kevy-ring.lock"


def files(directory: Path) -> list[str]:
    found = (str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())
    return sorted(name for name in found if name != LOCK)


def bytes_of(item: Any) -> bytes:
    return item.encode() if isinstance(item, str) else base64.b64decode(item["base64"])


@given(st.lists(st.binary(max_size=30), min_size=1), st.integers(0, 2**64 - 1), st.integers(0, 99))
def test_a_change_can_be_read_back_from_its_line(argv: list[bytes], offset: int, db: int) -> None:
    line = change_line(offset, db, [memoryview(item) for item in argv])
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    content = json.loads(line)
    assert (content["offset"], content["db"], [bytes_of(item) for item in content["argv"]]) == (offset, db, argv)


def test_text_stands_as_text_and_bytes_as_an_object() -> None:
    content = json.loads(change_line(1, 0, [b"SET", "ключ".encode(), b"\x00\xff", b'{"base64":"AA=="}']))
    assert content["argv"] == ["SET", "ключ", {"base64": "AP8="}, '{"base64":"AA=="}']


def test_an_entry_of_each_type_has_a_line() -> None:
    group = StreamGroup(b"g", (5, 1), [(b"c", 7)], [(5, 1, b"c", 9, 2)])
    stream = Stream((7, 1), (6, 0), 4, [(5, 1, [(b"a", b"\xff")])], [group])
    entries = [
        Entry(b"s", "string", b"\xfe"),
        Entry(b"h", "hash", {b"f": b"v"}, 1234, 3),
        Entry(b"l", "list", [b"b", b"a"]),
        Entry(b"t", "set", {b"y", b"x"}),
        Entry(b"z", "zset", {b"a": 0.1, b"b": float("-inf")}),
        Entry(b"x", "stream", stream),
    ]
    found = [json.loads(entry_line(entry)) for entry in entries]
    assert [line["value"] for line in found[:5]] == [
        {"base64": "/g=="},
        [["f", "v"]],
        ["b", "a"],
        ["x", "y"],
        [["a", 0.1], ["b", "-inf"]],
    ]
    assert (found[1]["db"], found[1]["expires_at_ms"], found[0]["expires_at_ms"]) == (3, 1234, None)
    assert found[5]["value"] == {
        "last_id": "7-1",
        "max_deleted_id": "6-0",
        "entries_added": 4,
        "entries": [["5-1", [["a", {"base64": "/w=="}]]]],
        "groups": [{"name": "g", "last_id": "5-1", "consumers": [["c", 7]], "pending": [["5-1", "c", 9, 2]]}],
    }


def test_changes_are_one_line_each_in_order_with_the_database_they_meet(pair: Pair, tmp_path: Path) -> None:
    sender, receiver = pair
    sink = JsonlSink(tmp_path)
    sender.send_many([Frame(10, [b"SET", b"a", b"1"]), Frame(20, [b"select", b"3"]), Frame(30, [b"DEL", b"a"])])
    shard = Shard(receiver, sink)
    drain(shard)
    shard.close()
    assert files(tmp_path) == ["generation-000001/changes-000001.jsonl"]
    assert lines(tmp_path / "generation-000001/changes-000001.jsonl") == [
        {"offset": 10, "db": 0, "argv": ["SET", "a", "1"]},
        {"offset": 20, "db": 3, "argv": ["select", "3"]},
        {"offset": 30, "db": 3, "argv": ["DEL", "a"]},
    ]
    assert sender.applied_offset == 30


def test_what_is_marked_as_applied_is_in_the_file(pair: Pair, tmp_path: Path) -> None:
    sender, receiver = pair
    shard = Shard(receiver, JsonlSink(tmp_path), max_events=3, flush_interval_s=0.0)
    sender.send_many([Frame(at, [b"SET", b"a", b"%d" % at]) for at in range(10)])
    while shard.tick():
        written = lines(tmp_path / "generation-000001/changes-000001.jsonl")
        assert written[-1]["offset"] == sender.applied_offset
    assert sender.applied_offset == 9


def test_a_snapshot_is_a_generation_of_its_own_once_it_is_whole(pair: Pair, tmp_path: Path) -> None:
    sender, receiver = pair
    sink = JsonlSink(tmp_path)
    shard = Shard(receiver, sink)
    *most, end = snapshot_events(strings(a="1", b="2"), 8)
    sender.send_many([Frame(0, [b"SELECT", b"5"]), *most])
    drain(shard)
    assert not (tmp_path / "generation-000002").exists()
    assert (tmp_path / "generation-000002.partial").is_dir()
    sender.send_many([end, Frame(8, [b"DEL", b"a"])])
    drain(shard)
    shard.close()
    assert files(tmp_path) == [
        "generation-000001/changes-000001.jsonl",
        "generation-000002/changes-000001.jsonl",
        "generation-000002/snapshot-000001.jsonl",
    ]
    *entries, last = lines(tmp_path / "generation-000002/snapshot-000001.jsonl")
    assert [(line["key"], line["type"], line["value"]) for line in entries] == [
        ("a", "string", "1"),
        ("b", "string", "2"),
    ]
    assert last == {"snapshot": "end", "format": "kevysnap", "ack_offset": 8, "entries": 2, "skipped": 0}
    assert lines(tmp_path / "generation-000002/changes-000001.jsonl") == [{"offset": 8, "db": 0, "argv": ["DEL", "a"]}]


def test_a_half_snapshot_leaves_nothing_behind(pair: Pair, tmp_path: Path) -> None:
    sender, receiver = pair
    shard = Shard(receiver, JsonlSink(tmp_path))
    sender.send_many([Frame(0, [b"PING"]), *snapshot_events(strings(a="1"), 8)[:-1]])
    sender.close()
    assert shard.run(lambda: False).snapshot_unfinished
    assert files(tmp_path) == ["generation-000001/changes-000001.jsonl"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [LOCK, "generation-000001"]


def test_what_a_killed_process_left_is_cleared_up_by_the_next(tmp_path: Path) -> None:
    sink = JsonlSink(tmp_path)
    sink.apply(0, [b"SET", b"a", b"1"])
    sink.commit()
    sink.stage()
    del sink
    changes = tmp_path / "generation-000001/changes-000001.jsonl"
    with changes.open("ab") as file:
        file.write(b'{"offset":1,"db":0,"argv":["SE')
    again = JsonlSink(tmp_path)
    assert not (tmp_path / "generation-000002.partial").exists()
    again.apply(1, [b"SET", b"a", b"2"])
    again.close()
    assert [line["offset"] for line in lines(changes)] == [0]
    assert [line["offset"] for line in lines(changes.with_name("changes-000002.jsonl"))] == [1]
    again.close()


def test_files_are_rotated_by_size(pair: Pair, tmp_path: Path) -> None:
    sender, receiver = pair
    shard = Shard(receiver, JsonlSink(tmp_path, rotate_bytes=500), max_events=10)
    sender.send_many(snapshot_events(kevysnap(Entry(b"k%d" % n, "string", b"v" * 200) for n in range(700)), 5, 1000))
    sender.send_many([Frame(at, [b"SET", b"a", b"x" * 30]) for at in range(5, 105)])
    drain(shard)
    shard.close()
    directory = tmp_path / "generation-000001"
    changes = sorted(directory.glob("changes-*"))
    snapshots = sorted(directory.glob("snapshot-*"))
    assert 10 <= len(changes) <= 12
    assert len(snapshots) > 10
    assert [line["offset"] for path in changes for line in lines(path)] == list(range(5, 105))
    entries = [line for path in snapshots for line in lines(path)]
    assert [line["key"] for line in entries[:-1]] == [f"k{n}" for n in range(700)]
    assert entries[-1]["entries"] == 700


def test_a_block_that_does_not_fit_is_taken_back_and_its_batch_is_seen_again(pair: Pair, tmp_path: Path) -> None:
    sender, receiver = pair
    shard = Shard(receiver, JsonlSink(tmp_path), flush_interval_s=3600.0)
    sender.send(Frame(0, [b"SET", b"a", b"first"]))
    drain(shard)
    sender.send_many([Frame(at, [b"SET", b"a", b"x" * BLOCK_BYTES]) for at in range(1, 4)])
    with files_of_at_most(BLOCK_BYTES // 2), pytest.raises(SinkError):
        drain(shard)
    assert sender.applied_offset == 0
    drain(shard)
    shard.close()
    assert [line["offset"] for line in lines(tmp_path / "generation-000001/changes-000001.jsonl")] == [0, 1, 2, 3]


def test_a_full_disk_under_a_snapshot_leaves_the_generation_before_it(pair: Pair, tmp_path: Path) -> None:
    sender, receiver = pair
    sink = JsonlSink(tmp_path)
    shard = Shard(receiver, sink)
    sender.send_many([Frame(0, [b"PING"]), *snapshot_events(strings(a="1" * 2000), 8)])
    with files_of_at_most(1000), pytest.raises(SinkError):
        drain(shard)
    shard.close()
    assert sink.generation == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [LOCK, "generation-000001"]


def test_a_directory_that_cannot_be_made_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SinkError) as raised:
        JsonlSink(tmp_path / "file" / "below")
    assert raised.value.errno == errno.ENOTDIR


LONG = b"x" * 600_000


@pytest.mark.parametrize(
    ("content", "left", "last"),
    [
        (b"", b"", None), (b"a\n", b"a\n", b"a"), (b"a\nb", b"a\n", b"a"), (b"torn", b"", None),
        (b"a\n" + LONG, b"a\n", b"a"), (b"a\n" + LONG + b"\n", b"a\n" + LONG + b"\n", LONG),
        (LONG + b"\nx", LONG + b"\n", LONG),
        (b"\n", b"\n", b""),
    ],
)  # fmt: skip
def test_a_torn_line_is_cut_off_and_the_last_whole_one_found(
    content: bytes, left: bytes, last: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "lines"
    path.write_bytes(content)
    drop_torn_line(path)
    assert path.read_bytes() == left
    assert last_line(path) == last


def reopened(tmp_path: Path) -> tuple[int | None, int]:
    """The offset of a sink that opens existing files, and the database of its next line."""
    sink = JsonlSink(tmp_path)
    stored = sink.stored_offset
    sink.apply(10**6, [b"PING"])
    db = json.loads(sink._lines[0])["db"]
    sink.rollback()
    sink.close()
    return stored, db


def test_a_sink_goes_on_behind_its_last_whole_line_in_the_database_of_that_line(tmp_path: Path) -> None:
    assert reopened(tmp_path) == (None, 0)
    sink = JsonlSink(tmp_path)
    sink.apply(0, [b"SET", b"a", b"1"])
    assert sink.stored_offset is None
    sink.commit()
    assert sink.stored_offset == 0
    del sink  # as after a kill: the sink is not closed
    assert reopened(tmp_path) == (0, 0)
    sink = JsonlSink(tmp_path)
    sink.apply(7, [b"SELECT", b"3"])
    sink.apply(9, [b"DEL", b"a"])
    sink.close()
    assert reopened(tmp_path) == (9, 3)
    with (tmp_path / "generation-000001/changes-000001.jsonl").open("ab") as file:
        file.write(b'{"offset":11,"db":5,"argv":["SET","k","')
    assert reopened(tmp_path) == (9, 3)


def test_an_empty_file_behind_a_full_one_is_no_end(tmp_path: Path) -> None:
    sink = JsonlSink(tmp_path)
    sink.apply(4, [b"SET", b"a", b"1"])
    sink.close()
    changes = tmp_path / "generation-000001/changes-000002.jsonl"
    for content in (b"", b'{"offset":5'):
        changes.write_bytes(content)
        assert reopened(tmp_path) == (4, 0)
        assert changes.read_bytes() == b""


def test_a_last_line_of_somebody_else_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "generation-000001"
    directory.mkdir()
    for line in (b"hello\n", b"[1]\n", b'{"offset":"1","db":0}\n', b'{"db":0}\n', b"\0\0\n"):
        (directory / "changes-000001.jsonl").write_bytes(line)
        with pytest.raises(SinkError) as raised:
            JsonlSink(tmp_path)
        assert raised.value.reason == "refused"


def test_a_line_is_with_the_operating_system_before_its_space_is_given_back(pair: Pair, tmp_path: Path) -> None:
    sender, receiver = pair
    shard = Shard(receiver, JsonlSink(tmp_path), max_events=3, flush_interval_s=3600.0)
    sender.send_many([Frame(at, [b"SET", b"a", b"%d" % at]) for at in range(10)])
    seen = 0
    while count := shard.tick():
        seen += count
        assert len(lines(tmp_path / "generation-000001/changes-000001.jsonl")) == seen
    assert (seen, sender.applied_offset) == (10, None)


def test_a_failed_fsync_spoils_the_file_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LineFile(tmp_path / "lines")
    file.append(b"a\n")

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "told to fail")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", fail)
        with pytest.raises(SinkError) as raised:
            file.flush()
    assert (raised.value.reason, raised.value.errno) == ("io", errno.EIO)
    for call in (lambda: file.append(b"b\n"), file.flush):
        with pytest.raises(SinkError):
            call()
    file.close()
    file.close()
