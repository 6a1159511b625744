"""Damaged files of sinks: for any content, our error names the file and says what to do."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from kevy_ring.cli.command import run
from kevy_ring.cli.compare.jsonl_keys import JsonlKeys
from kevy_ring.cli.compare.sqlite_keys import SqliteKeys
from kevy_ring.cli.failure import Failure
from kevy_ring.errors import SinkError
from kevy_ring.replica.snapshots.entry import Entry, Stream
from kevy_ring.shard import Snapshot
from kevy_ring.shard.sinks.jsonl import JsonlSink
from kevy_ring.shard.sinks.sqlite import SqliteSink

ENTRIES = [
    Entry(b"string", "string", b"\xff"),
    Entry(b"hash", "hash", {b"a": b"1"}, None, 0, {b"a": 5_000_000_000_000}),
    Entry(b"zset", "zset", {b"a": 1.5}),
    Entry(b"stream", "stream", Stream((7, 1), (0, 0), 1, [(7, 1, [(b"a", b"1")])])),
]


def snapshot() -> Snapshot:
    whole = Snapshot("rdb", 5, 0, len(ENTRIES))
    whole.held.extend(ENTRIES)
    return whole


def with_changes(directory: Path) -> Path:
    sink = JsonlSink(directory)
    sink.load(snapshot())
    sink.apply(6, [b"SET", b"a", b"\xff"])
    sink.close()
    return directory / "generation-000001/changes-000001.jsonl"


def with_a_snapshot_only(directory: Path) -> Path:
    sink = JsonlSink(directory)
    sink.load(snapshot())
    sink.close()
    return directory / "generation-000001/snapshot-000001.jsonl"


@pytest.mark.parametrize("make", [with_changes, with_a_snapshot_only])
@pytest.mark.parametrize(
    "last",
    [
        b"\xff\xfe\x00\n", b"{\n", b"[" * 100_000 + b"\n", b"null\n", b"7\n", b'{"offset":true,"db":0}\n',
        b'{"offset":-1,"db":0}\n', b'{"offset":99999999999999999999,"db":0}\n', b'{"offset":1,"db":null}\n',
        b'{"ack_offset":5}\n', b'{"ack_offset":5,"format":[]}\n', b'{"ack_offset":5,"format":"zip"}\n',
        b'{"ack_offset":"5","format":"rdb"}\n', b"\0" * 50 + b"\n",
    ],
)  # fmt: skip
def test_a_jsonl_directory_with_a_strange_last_line_is_refused(
    make: Callable[[Path], Path], last: bytes, tmp_path: Path
) -> None:
    path = make(tmp_path)
    path.write_bytes(path.read_bytes() + last)
    before = path.read_bytes()
    with pytest.raises(SinkError, match="Move the directory away") as raised:
        JsonlSink(tmp_path)
    assert (raised.value.reason, raised.value.sink) == ("refused", f"jsonl:{path}")
    assert path.read_bytes() == before


def test_a_snapshot_of_jsonl_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    path = with_a_snapshot_only(tmp_path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(SinkError, match="Move the directory away"):
            JsonlSink(tmp_path)


def test_the_command_says_it_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_changes(tmp_path / "lines").write_bytes(b'{"offset":"\xff"}\n')
    (tmp_path / "a.db").write_bytes(b"garbage" * 1000)
    for sink in (f"jsonl:{tmp_path}/lines", f"sqlite:{tmp_path}/a.db"):
        assert run(["ingest", "kevy://127.0.0.1:1", "--sink", sink]) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "away, or name another one. A full sync fills it again" in said


@pytest.mark.parametrize("number", range(60))
def test_lines_that_were_garbled_are_a_failure_of_the_comparison_and_no_traceback(number: int, tmp_path: Path) -> None:
    choose = random.Random(number)
    with_changes(tmp_path)
    path = tmp_path / f"generation-000001/{choose.choice(['changes', 'snapshot'])}-000001.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    at = choose.randrange(len(lines))
    line = json.loads(lines[at])
    name = choose.choice(list(line))
    if choose.random() < 0.4:
        del line[name]
    else:
        line[name] = choose.choice([None, 7, "x", [], {}, [[1]], [["a"]], {"base64": "A"}, "7-x", [["x", "y", "z", 1]]])
    lines[at] = json.dumps(line).encode() + b"\n"
    path.write_bytes(b"".join(lines))
    try:
        keys = JsonlKeys(tmp_path)
        for db in keys.databases():
            list(keys.pages(db))
    except Failure as failure:
        assert str(path) in str(failure)


DAMAGE = [
    "UPDATE position SET \"offset\" = 'x'",
    "UPDATE position SET db = 'x'",
    "UPDATE position SET transaction_offset = x'ff'",
    'UPDATE position SET "offset" = -1',
    "DELETE FROM position",
    "DROP TABLE keys",
    "DROP TABLE position",
    "UPDATE keys SET value = 'no json' WHERE type = 'hash'",
    "UPDATE keys SET value = '[[1]]' WHERE type = 'hash'",
    "UPDATE keys SET value = '[[]]' WHERE type = 'hash'",
    "UPDATE keys SET value = CAST(x'ff22' AS TEXT) WHERE type = 'hash'",
    "UPDATE keys SET value = 7 WHERE type = 'zset'",
    "UPDATE keys SET value = '{}' WHERE type = 'stream'",
    "UPDATE keys SET value = 7 WHERE type = 'string'",
    "UPDATE keys SET type = 'set', value = '7' WHERE type = 'string'",
    "UPDATE keys SET type = 'nothing' WHERE type = 'hash'",
    "UPDATE keys SET type = NULL WHERE FALSE; UPDATE keys SET expires_at_ms = 'soon'",
    "UPDATE keys SET key = 7 WHERE type = 'hash'",
    "UPDATE keys SET db = 'x' WHERE type = 'string'",
]


def filled(path: Path) -> None:
    sink = SqliteSink(path)
    sink.load(snapshot())
    sink.apply(6, [b"SET", b"a", b"\xff"])
    sink.close()


@pytest.mark.parametrize("damage", DAMAGE)
def test_rows_that_this_sink_has_not_written_are_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    filled(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(damage)
    with pytest.raises(SinkError) as raised:
        sink = SqliteSink(path)
        try:
            sink.apply(7, [b"SET", b"a", b"2"])
            sink.commit()
        finally:
            sink.close()
    assert raised.value.sink == f"sqlite:{path}"
    if "position" not in damage:
        with pytest.raises(Failure, match="sqlite:"):
            keys = SqliteKeys(path)
            for db in keys.databases():
                list(keys.pages(db))


def test_a_sqlite_file_that_was_cut_or_overwritten_anywhere_is_refused_or_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    filled(path)
    whole = path.read_bytes()
    choose = random.Random(1)
    refused = 0
    for number in range(80):
        body = bytearray(whole)
        if number % 2:
            del body[choose.randrange(1, len(body)) :]
        else:
            at = choose.randrange(len(body) - 64)
            body[at : at + 64] = choose.randbytes(64)
        path.write_bytes(body)
        for sibling in ("-wal", "-shm", "-lock"):
            path.with_name(f"a.db{sibling}").unlink(missing_ok=True)
        try:
            sink = SqliteSink(path, lock_wait_s=0)
            try:
                sink.apply(7, [b"SET", b"a", b"2"])
                sink.commit()
            finally:
                sink.close()
        except SinkError as error:
            assert error.sink == f"sqlite:{path}"
            refused += 1
    assert refused > 20
