"""The place that a sink writes to has one writer and private permissions, and its removal is noticed."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kevy_ring import Frame, ReplicaInboxReceiver, ReplicaInboxSender
from kevy_ring.cli.command import run
from kevy_ring.errors import SinkError
from kevy_ring.shard import Shard, sink_from_url
from kevy_ring.shard.sinks.jsonl import JsonlSink
from kevy_ring.shard.sinks.options import SinkOptions
from kevy_ring.shard.sinks.place_lock import PlaceLock
from kevy_ring.shard.sinks.sqlite import SqliteSink
from kevy_ring.testing import EmbeddedPrimary
from kevy_ring_command import RunningCommand, run_command, wait_until

Sink = Any
Pair = tuple[ReplicaInboxSender, ReplicaInboxReceiver]
KINDS = ["jsonl", "sqlite"]


def place_of(kind: str, tmp_path: Path) -> Path:
    return tmp_path / "lines" if kind == "jsonl" else tmp_path / "replica.db"


def opened(kind: str, place: Path) -> Sink:
    return JsonlSink(place, lock_wait_s=0.1) if kind == "jsonl" else SqliteSink(place, lock_wait_s=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_symbolic_link_to_the_place_of_another_sink_is_refused_too(kind: str, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    place = place_of(kind, tmp_path / "real")
    first = opened(kind, place)
    link = place_of(kind, tmp_path)
    link.symlink_to(place)
    with pytest.raises(SinkError) as raised:
        opened(kind, link)
    assert raised.value.reason == "locked"
    first.close()
    through_link = opened(kind, link)
    with pytest.raises(SinkError, match="locked"):
        opened(kind, place)
    through_link.close()


def test_the_log_of_a_sqlite_file_behind_a_symbolic_link_is_looked_after(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "real" / "replica.db")
    sink = SqliteSink(tmp_path / "link.db")
    sink.apply(0, [b"SET", b"a", b"1"])
    sink.flush()
    (tmp_path / "real" / "replica.db-wal").unlink()
    sink.apply(1, [b"SET", b"a", b"2"])
    with pytest.raises(SinkError, match="deleted, moved or replaced"):
        sink.flush()


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_ingest_into_the_same_place_ends_at_once_and_names_the_first(kind: str, tmp_path: Path) -> None:
    place = place_of(kind, tmp_path)
    lock = place / ".kevy-ring.lock" if kind == "jsonl" else tmp_path / "replica.db-lock"
    with (
        EmbeddedPrimary.start(shards=1, keys=100, ops=10) as primary,
        RunningCommand("ingest", primary.url, "--sink", f"{kind}:{place}", "--json") as first,
    ):
        first.read_until(lambda each: each["type"] == "progress" and each["shards"][0]["frames"] == 10)
        holder = int(lock.read_text().split()[0])
        assert holder in first.children()
        done = run_command("ingest", primary.url, "--sink", f"{kind}:{place}", "--json")
        assert done.code == 1
        assert f"process {holder} writes there" in done.err
        assert done.err.count("\n") == 1
        first.signal(signal.SIGTERM)
        assert first.finish().code == 0
    sink = opened(kind, place)
    assert sink.stored_offset is not None
    sink.close()


def test_the_lock_of_a_killed_process_is_free_and_children_do_not_keep_it(tmp_path: Path) -> None:
    # The holder forks, starts a program that keeps the inherited descriptors, and dies without a close.
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, subprocess, sys, time\n"
            "from kevy_ring.shard.sinks.jsonl.sink import JsonlSink\n"
            "sink = JsonlSink(sys.argv[1])\n"
            "program = subprocess.Popen(['sleep', '60'], close_fds=False, stdout=subprocess.DEVNULL)\n"
            "fork = os.fork()\n"
            "if not fork:\n"
            "    os.close(1)\n"
            "    time.sleep(60)\n"
            "print(fork, program.pid, flush=True)\n"
            "time.sleep(60)\n",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    children = [int(pid) for pid in holder.stdout.readline().split()]
    try:
        with pytest.raises(SinkError, match=f"process {holder.pid} writes there"):
            JsonlSink(tmp_path, lock_wait_s=0)
        holder.kill()
        holder.wait()
        assert len(children) == 2
        for pid in children:
            os.kill(pid, 0)
        # The forked child may not have run yet: it frees its copy of the lock when it does.
        JsonlSink(tmp_path, lock_wait_s=5).close()
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
        for pid in children:
            os.kill(pid, signal.SIGKILL)


def test_a_successor_waits_for_a_holder_that_is_ending(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time\n"
            "from kevy_ring.shard.sinks.jsonl.sink import JsonlSink\n"
            "sink = JsonlSink(sys.argv[1])\n"
            "print(flush=True)\n"
            "time.sleep(0.5)\n",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    JsonlSink(tmp_path, lock_wait_s=30).close()
    holder.wait()
    holder.stdout.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_refused(
    kind: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(SinkError, match="a file system without locks") as raised:
        opened(kind, place_of(kind, tmp_path))
    assert raised.value.errno == number


def test_two_lockers_never_hold_the_same_place_while_names_come_and_go(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom kevy_ring.shard.sinks.place_lock import PlaceLock\n"
        "inside = Path(sys.argv[1], 'inside')\n"
        "for _ in range(150):\n"
        "    lock = PlaceLock(Path(sys.argv[1], 'lock'), 'test', file_mode=0o600, wait_s=30)\n"
        "    inside.mkdir()\n"
        "    inside.rmdir()\n"
        "    lock.close()\n"
    )
    lockers = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(3)]
    assert [locker.wait() for locker in lockers] == [0, 0, 0]


def remove(place: Path) -> None:
    shutil.rmtree(place) if place.is_dir() else place.unlink()


def move(place: Path) -> None:
    place.rename(place.with_name("elsewhere"))


def replace(place: Path) -> None:
    copy = place.with_name("copy")
    shutil.copytree(place, copy) if place.is_dir() else shutil.copy(place, copy)
    remove(place)
    copy.rename(place)


@pytest.mark.ring_bytes(1 << 20)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("take_away", [remove, move, replace])
@pytest.mark.parametrize("lines_wait", [True, False])
def test_a_place_that_is_taken_away_ends_the_shard_and_nothing_more_is_marked(
    kind: str, take_away: Callable[[Path], None], lines_wait: bool, pair: Pair, tmp_path: Path
) -> None:
    sender, receiver = pair
    place = place_of(kind, tmp_path)
    sink = opened(kind, place)
    shard = Shard(receiver, sink, flush_interval_s=0.0 if lines_wait else 3600.0)
    sender.send(Frame(1, [b"SET", b"a", b"1"]))
    shard.tick()
    assert sender.applied_offset == (1 if lines_wait else None)
    if lines_wait:
        sender.send(Frame(2, [b"SET", b"a", b"2"]))
    take_away(place)
    with pytest.raises(SinkError, match="was deleted, moved or replaced"):
        shard.tick()
        shard.close()
    assert sender.applied_offset == (1 if lines_wait else None)
    with pytest.raises(SinkError):
        sink.close()


@pytest.mark.parametrize("name", ["generation-000001", "generation-000001/changes-000001.jsonl", ".kevy-ring.lock"])
def test_a_part_of_the_directory_that_is_taken_away_is_noticed(name: str, tmp_path: Path) -> None:
    sink = JsonlSink(tmp_path)
    sink.apply(1, [b"SET", b"a", b"1"])
    sink.flush()
    remove(tmp_path / name)
    for _ in range(2):
        with pytest.raises(SinkError, match="was deleted, moved or replaced"):
            sink.flush()
    sink.apply(2, [b"SET", b"a", b"2"])
    with pytest.raises(SinkError):
        sink.commit()
    assert sink.stored_offset == 1


def test_a_snapshot_into_a_directory_that_was_taken_away_is_no_snapshot(tmp_path: Path) -> None:
    place = tmp_path / "lines"
    sink = JsonlSink(place)
    stage = sink.stage()
    replace(place)
    from kevy_ring.shard import Snapshot

    with pytest.raises(SinkError, match="was deleted, moved or replaced"):
        stage.commit(Snapshot("rdb", 5, 0, 0))
    assert sink.stored_offset is None


def test_the_log_of_a_sqlite_file_that_is_taken_away_is_noticed(tmp_path: Path) -> None:
    sink = SqliteSink(tmp_path / "a.db")
    sink.apply(1, [b"SET", b"a", b"1"])
    sink.flush()
    (tmp_path / "a.db-wal").unlink()
    with pytest.raises(SinkError, match=r"a\.db-wal was deleted"):
        sink.flush()


def modes(place: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in [place, *place.rglob("*")]}


@pytest.mark.parametrize(("umask", "file_mode"), [(0, None), (0o022, None), (0o077, 0o640), (0o777, 0o644)])
def test_files_have_the_permissions_that_were_asked_for(umask: int, file_mode: int | None, tmp_path: Path) -> None:
    options = SinkOptions() if file_mode is None else SinkOptions(file_mode=file_mode)
    expected = file_mode or 0o600
    before = os.umask(umask)
    try:
        for url in (f"jsonl:{tmp_path}/a/b", f"sqlite:{tmp_path}/a.db"):
            sink = sink_from_url(url, options=options)
            sink.apply(1, [b"SET", b"a", b"1"])
            sink.flush()
            found = modes(tmp_path / "a") if url.startswith("jsonl") else modes(tmp_path)
            sink.close()
            if url.startswith("jsonl"):
                assert found.keys() == {"a", "b", "generation-000001", "changes-000001.jsonl", ".kevy-ring.lock"}
                directory = {0o600: 0o700, 0o640: 0o750, 0o644: 0o755}[expected]
                assert {found[name] for name in ("a", "b", "generation-000001")} == {directory}
                assert {found[name] for name in ("changes-000001.jsonl", ".kevy-ring.lock")} == {expected}
            else:
                names = ("a.db", "a.db-wal", "a.db-shm", "a.db-lock")
                assert {name: oct(found[name]) for name in names} == dict.fromkeys(names, oct(expected))
    finally:
        os.umask(before)


def test_the_command_takes_a_file_mode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["ingest", "--keys", "20", "--ops", "20", "--shards", "1", "--json"]
    assert run([*small, "--sink", f"jsonl:{tmp_path}/lines", "--file-mode", "640"]) == 0
    found = modes(tmp_path / "lines")
    assert (found["lines"], found["changes-000001.jsonl"], found["snapshot-000001.jsonl"]) == (0o750, 0o640, 0o640)
    assert run([*small, "--sink", f"sqlite:{tmp_path}/a.db"]) == 0
    assert (tmp_path / "a.db").stat().st_mode & 0o777 == 0o600
    for wrong in ("rw", "0755", "0440", "1600", "-1", "8"):
        assert run([*small, "--sink", f"jsonl:{tmp_path}/lines", "--file-mode", wrong]) == 2
    capsys.readouterr()


def test_a_holder_that_cannot_be_named_is_another_process(tmp_path: Path) -> None:
    lock = PlaceLock(tmp_path / "lock", "test", file_mode=0o600)
    for content, words in (("", "another process writes"), ("17 elsewhere.example", "process 17 on elsewhere.example")):
        (tmp_path / "lock").write_text(content)
        with pytest.raises(SinkError, match=words):
            PlaceLock(tmp_path / "lock", "test", file_mode=0o600, wait_s=0)
    lock.close()
    lock.close()


def test_a_process_that_waits_is_not_kept_by_a_stale_pid(tmp_path: Path) -> None:
    (tmp_path / ".kevy-ring.lock").write_text("1 here\n")
    began = time.monotonic()
    sink = JsonlSink(tmp_path, lock_wait_s=30)
    assert (tmp_path / ".kevy-ring.lock").read_text().split()[0] == str(os.getpid())
    assert time.monotonic() >= began
    sink.close()
    wait_until(lambda: not (tmp_path / ".kevy-ring.lock").exists())
