"""The stream on standard output: whole lines, also from several processes, until the reader is gone."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kevy_ring.cli.command import run
from kevy_ring.errors import SinkError
from kevy_ring.events import Frame
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.ring.segment_names import remove_names
from kevy_ring.shard import Snapshot, sink_from_url
from kevy_ring.shard.sinks.jsonl.line import change_of, entry_of
from kevy_ring.shard.sinks.options import SinkOptions
from kevy_ring.shard.sinks.sink_url import is_resumable
from kevy_ring.testing import EmbeddedPrimary
from kevy_ring_command import RunningCommand, run_command
from redis_server import RedisServer, redis_version, start_redis

__all__ = ["redis_version", "start_redis"]

INGEST = f"{shlex.quote(sys.executable)} -m kevy_ring ingest"


def shell(command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        ["bash", "-c", f"{command}; echo ${{PIPESTATUS[@]}}"],
        check=False, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def lines_of(text: str) -> list[dict[str, Any]]:
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def test_without_a_sink_the_stream_is_lines_on_standard_output_and_progress_is_beside_it(
    start_redis: Callable[..., RedisServer],
) -> None:
    server = start_redis()
    server.client(db=3).hset("h", mapping={"f": b"\xff"})
    with RunningCommand("ingest", server.url, "--json") as running:
        assert running.read_object() == {"snapshot": "begin"}
        entry = running.read_object()
        assert entry_of(entry) == Entry(b"h", "hash", {b"f": b"\xff"}, None, 3)
        end = running.read_object()
        assert (end["snapshot"], end["format"], end["entries"], end["skipped"]) == ("end", "rdb", 1, 0)
        server.client(db=2).set("k", "v")
        select, change = running.read_object(), running.read_object()
        assert change_of(select)[1:] == (2, [b"SELECT", b"2"])
        assert change_of(change)[1:] == (2, [b"SET", b"k", b"v"])
        assert change["offset"] > select["offset"] > end["ack_offset"]
        running.signal(signal.SIGTERM)
        done = running.finish()
    assert (done.code, done.out) == (0, "")
    said = [json.loads(line)["type"] for line in done.err.splitlines()]
    assert (said[0], said[-1]) == ("start", "summary")


def test_progress_for_people_is_on_standard_error_too(start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis()
    server.client().set("k", "v")
    done = run_command("ingest", server.url, "--until-caught-up")
    assert done.code == 0
    assert [line.get("snapshot") or line["key"] for line in lines_of(done.out)] == ["begin", "k", "end"]
    assert "→ jsonl:-" in done.err
    assert "done in" in done.err


def test_large_lines_of_four_shards_never_come_inside_another() -> None:
    with EmbeddedPrimary.start(shards=4, keys=200, ops=1600, value_bytes=9000) as primary:
        with RunningCommand("ingest", primary.url, "--shards", "4", "--until-caught-up") as running:
            done = running.finish()
        final = [primary.final_offset(shard) for shard in range(4)]
    assert done.code == 0, done.err
    found = lines_of(done.out)
    assert max(map(len, done.out.splitlines())) > 100_000
    offsets: dict[int, list[int]] = defaultdict(list)
    marks: dict[int, list[str]] = defaultdict(list)
    for line in found:
        if "offset" in line:
            offsets[line["shard"]].append(line["offset"])
        elif "snapshot" in line:
            marks[line["shard"]].append(line["snapshot"])
    assert dict(marks) == {shard: ["begin", "end"] for shard in range(4)}
    for shard in range(4):
        ours = offsets[shard]
        assert ours == list(range(ours[0], final[shard] + 1))


def test_the_run_ends_with_0_when_nobody_reads_any_more() -> None:
    with EmbeddedPrimary.start(shards=2, keys=300, ops=3000) as primary:
        for extra in ("", "--json --until-caught-up"):
            done = shell(f"{INGEST} {primary.url} --shards 2 {extra} | head -1")
            first, codes = done.stdout.splitlines()
            assert json.loads(first)["snapshot"] == "begin"
            assert codes == "0 0"
            assert "Traceback" not in done.stderr
            assert "failed" not in done.stderr


def test_it_ends_also_when_nothing_more_would_be_written() -> None:
    with EmbeddedPrimary.start(shards=1, keys=1, ops=0) as primary:
        done = shell(f"{INGEST} {primary.url} | (read line; echo read)")
        assert done.stdout == "read\n0 0\n"


def test_a_slow_reader_gets_everything() -> None:
    with EmbeddedPrimary.start(shards=1, keys=100, ops=2000) as primary:
        with RunningCommand("ingest", primary.url, "--until-caught-up") as running:
            last = ""
            taken: list[str] = []
            stdout = running._process.stdout
            assert stdout is not None
            threading.Timer(1.0, lambda: taken.extend(stdout)).run()
            last = taken[-1]
            running._process.wait()
        assert json.loads(last)["offset"] == primary.final_offset(0)
    assert all(line.endswith("\n") for line in taken)


@pytest.mark.parametrize("arguments", [(), ("--sink", "jsonl:-")])
def test_a_comparison_with_standard_output_is_a_usage_error(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ingest", "redis://127.0.0.1:1", "--verify", *arguments]) == 2
    assert "--verify needs a sink whose keys can be read back" in capsys.readouterr().err


def test_without_a_url_the_sinks_stay_and_standard_output_may_be_asked_for() -> None:
    assert '"memory"' in run_command("ingest", "--keys", "20", "--ops", "20", "--json").out
    done = run_command("ingest", "--keys", "20", "--ops", "20", "--shards", "1", "--sink", "jsonl:-")
    assert done.code == 0
    assert sum("offset" in line for line in lines_of(done.out)) == 20
    assert "not compared" in done.err


def test_a_name_keeps_the_rings_but_the_next_run_begins_with_a_snapshot() -> None:
    name = f"out{os.getpid()}"
    with EmbeddedPrimary.start(shards=1, keys=10, ops=0) as primary:
        try:
            for _ in range(2):
                done = run_command("ingest", primary.url, "--name", name, "--until-caught-up")
                assert done.code == 0
                assert lines_of(done.out)[0] == {"snapshot": "begin"}
                assert lines_of(done.out)[-1]["snapshot"] == "end"
        finally:
            remove_names(f"{name}-0", None)


def test_a_closed_standard_output_is_said_in_one_line() -> None:
    done = shell(f"{INGEST} redis://127.0.0.1:1 >&-")
    assert done.stdout == "1\n"
    assert done.stderr.count("\n") == 1
    assert "jsonl:-" in done.stderr


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A pipe for the sink's standard output: (reading end, writing end)."""
    reader, writer = os.pipe()
    monkeypatch.setattr("kevy_ring.shard.sinks.stdout._FD", writer)
    yield reader, writer
    for end in (reader, writer):
        try:
            os.close(end)
        except OSError:
            continue


def test_a_snapshot_that_is_given_up_is_said_to_be(output: tuple[int, int]) -> None:
    sink = sink_from_url("jsonl:-")
    assert not is_resumable("jsonl:-")
    sink.apply(1, [b"SELECT", b"5"])
    stage = sink.stage()  # type: ignore[attr-defined]
    stage.abort()
    stage = sink.stage()  # type: ignore[attr-defined]
    stage.add([Entry(b"k", "string", b"v")])
    stage.abort()
    sink.load(Snapshot("rdb", 7, 0, 0))
    sink.apply(8, [b"DEL", b"k"])
    sink.close()
    found = lines_of(os.read(output[0], 65536).decode())
    assert [line.get("snapshot") or line.get("key") or line["db"] for line in found] == [
        5, "begin", "k", "abort", "begin", "end", 0,
    ]  # fmt: skip


def test_a_pipe_that_another_program_made_non_blocking_loses_nothing(output: tuple[int, int]) -> None:
    reader, writer = output
    os.set_blocking(writer, False)
    sink = sink_from_url("jsonl:-")
    writing = threading.Thread(target=lambda: sink.apply(1, [b"SET", b"k", b"v" * 500_000]))
    writing.start()
    taken = b""
    while not taken.endswith(b"\n"):
        taken += os.read(reader, 4096)
    writing.join()
    assert change_of(json.loads(taken)) == (1, 0, [b"SET", b"k", b"v" * 500_000])


def test_a_reader_that_is_gone_is_a_typed_error(output: tuple[int, int]) -> None:
    os.close(output[0])
    with pytest.raises(SinkError, match="the reader of standard output has gone") as raised:
        sink_from_url("jsonl:-").apply(1, [b"SET", b"k", b"v"])
    assert raised.value.reason == "closed"


def test_one_shard_of_several_has_its_number_in_each_line(output: tuple[int, int], tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    sink = sink_from_url("jsonl:-", shard=2, shards=3, options=SinkOptions(line_lock=str(tmp_path / "lock")))
    sink.apply(1, Frame(1, [b"PING"]).argv)
    sink.load(Snapshot("rdb", 7, 0, 0))
    assert [line["shard"] for line in lines_of(os.read(output[0], 65536).decode())] == [2, 2, 2]
