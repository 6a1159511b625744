"""Segments of other layout versions, incomplete ones, and rings without a doorbell are named, explained and removed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import kevy_ring.ring.segment as segment_module
from command_in_process import invoke, listed
from kevy_ring import Ring, SegmentError
from kevy_ring._core import lib
from kevy_ring.cli.command import command, run
from kevy_ring.replica.fleet.pair_ring import kept_ring
from kevy_ring.ring import inspect_ring, ring_names
from kevy_ring.ring.outside import leftovers
from kevy_ring.ring.outside.leftovers import Oddity, mapped_by, odd_segment, odd_segments, settled_odd_segment
from kevy_ring.ring.segment_names import TrackedNames
from kevy_ring.testing import EmbeddedPrimary
from kevy_ring_command import run_command

SHM = Path("/dev/shm")
VERSION_AT, FLAGS_AT = 8, 36
MAKE = """
import sys
from kevy_ring import Ring
Ring.create(4096, sys.argv[1], keep=True).producer().try_write(b"waits")
"""
# Maps the segment as another command does to look at it, but for longer.
LOOK = """
import mmap, sys, time
with open(sys.argv[1], "r+b") as file, mmap.mmap(file.fileno(), 4096):
    print("mapped", flush=True)
    time.sleep(0.3)
"""


@pytest.fixture
def name() -> Iterator[str]:
    name = f"odd{secrets.token_hex(4)}-0"
    yield name
    for file in SHM.glob(f"{name}*"):
        file.unlink()


@pytest.fixture
def all_is_visible(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A process table with only this process, so that every memory map in it can be read."""
    table = tmp_path / "proc"
    table.mkdir()
    (table / "1").mkdir()
    (table / "1" / "maps").touch()
    (table / str(os.getpid())).symlink_to("/proc/self")
    monkeypatch.setattr(leftovers, "_PROC", table)
    return table


def gc_of_all() -> dict[str, Any]:
    """The plan of gc without a name. A dry run, because abandoned rings of this machine are not ours to remove."""
    return dict(json.loads(invoke("gc", "--dry-run", "--json")))


def write(name: str, at: int, value: int) -> None:
    with open(SHM / name, "r+b") as file:
        file.seek(at)
        file.write(struct.pack("<I", value))


def make_and_end(name: str, *, kept: bool = False, version: int | None = None) -> None:
    """A ring whose process has ended, with another layout version in its header if one is given."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", MAKE, name], env=environment, check=True, timeout=120)
    if not kept:
        write(name, FLAGS_AT, 0)
    if version is not None:
        write(name, VERSION_AT, version)


def files(name: str) -> list[str]:
    return sorted(file.name for file in SHM.glob(f"{name}*"))


@pytest.mark.parametrize("version", [1, lib.KR_VERSION + 1, 77])
def test_a_segment_of_another_version_is_listed_and_removed_when_no_process_uses_it(
    name: str, all_is_visible: Path, version: int
) -> None:
    make_and_end(name, version=version)
    found = listed(name)
    assert (found["oddity"], found["layout_version"], found["abandoned"]) == ("other_version", version, True)
    words = f"has another layout version ({version}; this kevy-ring has {lib.KR_VERSION}); no process uses it"
    assert f"segment '{name}' (8 KiB) {words}: kevy-ring gc removes it" in invoke("ls")
    result = CliRunner().invoke(command, ["inspect", name], standalone_mode=False)
    assert words in str(result.exception)
    assert name in gc_of_all()["removed"]
    assert json.loads(invoke("gc", "--json", name))["removed"] == [name]
    assert files(name) == []


def test_a_segment_of_another_version_that_a_process_has_mapped_is_never_removed(
    name: str, all_is_visible: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_and_end(name)
    with Ring.attach(name):
        write(name, VERSION_AT, 7)
        assert listed(name)["mapped_by"] == [os.getpid()]
        assert name not in gc_of_all()["removed"]
        assert run(["gc", name, "--kept"]) == 1
        assert f"it is in use by process {os.getpid()}: it is not removed" in capsys.readouterr().err
        with pytest.raises(SegmentError, match=f"is in use by process {os.getpid()}") as refused:
            kept_ring(name, 4096)
        assert refused.value.reason == "version"
    assert len(files(name)) == 3


@pytest.mark.parametrize("removes", ["service", "gc"])
def test_a_process_that_only_looks_at_such_a_segment_is_waited_for(
    name: str, removes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_and_end(name, version=7)
    monkeypatch.setattr(leftovers, "LOOK_S", 30.0)
    with subprocess.Popen([sys.executable, "-c", LOOK, SHM / name], stdout=subprocess.PIPE) as looker:
        assert looker.stdout is not None
        assert looker.stdout.readline() == b"mapped\n"
        if removes == "gc":
            assert run(["gc", name]) == 0
        else:
            assert kept_ring(name, 4096) is None
    assert files(name) == []


def test_a_segment_of_another_version_whose_creator_lives_is_never_removed(name: str, all_is_visible: Path) -> None:
    with Ring.create(4096, name):
        write(name, VERSION_AT, 7)
        assert listed(name)["creator"] == {"pid": os.getpid(), "alive": True}
        assert run(["gc", name]) == 1
        assert len(files(name)) == 3
        write(name, VERSION_AT, lib.KR_VERSION)


def test_where_a_memory_map_cannot_be_read_only_the_name_removes_such_a_segment(
    name: str, all_is_visible: Path
) -> None:
    make_and_end(name, version=7)
    (all_is_visible / "2" / "maps").mkdir(parents=True)  # a directory, which cannot be read as a file
    assert listed(name)["mapped_by"] is None
    assert name not in gc_of_all()["removed"]
    assert f"so it is removed only by name: kevy-ring gc {name}" in invoke("gc", "--dry-run")
    assert json.loads(invoke("gc", "--json", name))["removed"] == [name]


def test_where_processes_are_hidden_it_is_not_known_who_maps_a_file(all_is_visible: Path) -> None:
    with Ring.create(4096) as ring:
        info = (SHM / ring.name).stat()
        assert os.getpid() in (mapped_by(info, Path("/proc")) or ())  # other processes may look at it too
        assert mapped_by(info, all_is_visible) == (os.getpid(),)
    assert mapped_by(info, all_is_visible) == ()
    (all_is_visible / "1").rename(all_is_visible / "hidden")
    assert mapped_by(info, all_is_visible) is None


def test_a_kept_segment_of_another_version_is_left_unless_it_is_meant(name: str, all_is_visible: Path) -> None:
    make_and_end(name, kept=True, version=7)
    assert "it was kept, and its service is not running" in listed(name)["error"]
    assert (name in gc_of_all()["kept"], name in gc_of_all()["removed"]) == (True, False)
    assert name in json.loads(invoke("gc", "--dry-run", "--json", "--kept"))["removed"]
    assert json.loads(invoke("gc", "--json", name))["removed"] == [name]


@pytest.mark.parametrize("oddity", list(Oddity))
def test_a_named_service_makes_a_new_ring_in_the_place_of_an_odd_one_and_says_that_a_full_sync_follows(
    name: str, tmp_path: Path, oddity: Oddity
) -> None:
    make_and_end(name, kept=True, version=7 if oddity is Oddity.OTHER_VERSION else None)
    if oddity is Oddity.HALF_MADE:
        with open(SHM / name, "r+b") as file:
            file.write(bytes(8))
    if oddity is Oddity.NO_DOORBELL:
        (SHM / f"{name}.space").unlink()
    found = odd_segment(name)
    assert found is not None
    assert found.oddity is oddity
    with EmbeddedPrimary.start(1, 20, 200, big_values=0, protocol=2) as primary:
        prefix, sink = name.removesuffix("-0"), f"jsonl:{tmp_path}"
        done = run_command(
            "ingest", primary.url, "--name", prefix, "--sink", sink, "--capacity", "64KiB", "--until-caught-up"
        )
    assert done.code == 0, done.err
    assert f"segment '{name}' {oddity.value}" in done.out + done.err
    assert "a new ring takes its place, and a full sync follows" in done.out + done.err
    assert inspect_ring(name).version == lib.KR_VERSION
    assert inspect_ring(name).is_kept


def test_a_ring_without_a_doorbell_is_listed_and_removed(name: str, all_is_visible: Path) -> None:
    make_and_end(name)
    (SHM / f"{name}.data").unlink()
    assert "lacks a doorbell" in invoke("ls")
    assert (listed(name)["oddity"], listed(name)["abandoned"]) == ("no_doorbell", True)
    assert name in gc_of_all()["removed"]
    assert json.loads(invoke("gc", "--json", name))["removed"] == [name]
    assert files(name) == []


def test_a_segment_that_came_between_two_looks_is_no_failure(
    name: str, all_is_visible: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_and_end(name, version=7)
    monkeypatch.setattr("kevy_ring.cli.rings.ls.odd_segments", lambda names=(): [])
    found = listed(name)
    assert found["oddity"] == "other_version"
    assert json.loads(invoke("gc", "--json", name)) | {"bytes": 0} == {
        "removed": [name], "bytes": 0, "kept": [], "in_use": [], "dry_run": False, "failed": [],
    }  # fmt: skip


def test_the_files_of_other_programs_are_not_ours_to_list_or_remove(name: str) -> None:
    (SHM / name).write_bytes(bytes(8192))
    os.chmod(SHM / name, 0o600)
    assert odd_segment(name) is None
    assert run(["gc", name]) == 1
    assert files(name) == [name]
    os.mkfifo(SHM / f"{name}.data", 0o600)  # the state that a creator of layout version 1 left
    found = odd_segment(name)
    assert found is not None
    assert (found.oddity, found.creator_pid) == (Oddity.HALF_MADE, 0)
    assert json.loads(invoke("gc", "--json", name))["removed"] == [name]
    assert files(name) == []


class Killed(BaseException):
    """Replaces SIGKILL, or an exception of a signal handler."""


def steps_of(name: str) -> int:
    """The number of our lines that run while a ring is made."""
    return len(traced(name, stop_at=None))


def traced(name: str | None, *, stop_at: int | None) -> list[str]:
    """Make a ring, and raise :class:`Killed` at the line with that number. Returns the lines until then."""
    lines: list[str] = []

    def trace(frame: Any, event: str, argument: object) -> Any:
        if Path(frame.f_code.co_filename).name not in ("segment.py", "segment_names.py"):
            return None
        if event == "line":
            lines.append(f"{frame.f_code.co_name}:{frame.f_lineno}")
            if len(lines) == stop_at:
                sys.settrace(None)
                raise Killed
        return trace

    sys.settrace(trace)
    try:
        Ring.create(4096, name).close()
    finally:
        sys.settrace(None)
    return lines


@pytest.mark.parametrize("is_named", [True, False])
def test_an_exception_at_any_line_of_the_making_leaves_no_file(
    name: str, is_named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exception that a handler of SIGINT or SIGALRM raises."""
    tracked: set[str] = set()
    monkeypatch.setattr(segment_module.resource_tracker, "register", lambda each, _: tracked.add(each))
    monkeypatch.setattr(segment_module.resource_tracker, "unregister", lambda each, _: tracked.discard(each))
    numbers = iter(range(10**6))
    monkeypatch.setattr(segment_module, "new_name", lambda: f"{name}-{next(numbers)}"[:26])
    steps = steps_of(name)
    assert steps > 30
    at = 0
    for at in range(1, steps):
        with contextlib.suppress(Killed):
            traced(name if is_named else None, stop_at=at)
        assert [file for file in files(name) if f"/{file}" not in tracked] == [], at
        for file in files(name):
            (SHM / file).unlink()  # the resource tracker does this when the process ends
        tracked.clear()
    assert at > 30


def killed_while_making(name: str, after_s: float) -> None:
    """Fork a process that makes and closes rings in a loop without a resource tracker, and kill it."""
    runs, says_that_it_runs = os.pipe()
    pid = os.fork()
    if not pid:
        TrackedNames.add = TrackedNames.forget = lambda *_: None  # type: ignore[method-assign,assignment]
        numbers = iter(range(10**6))
        segment_module.new_name = lambda: f"kevy-{own_digits(name)}{next(numbers):012x}"  # type: ignore[assignment]
        signal.alarm(20)
        os.write(says_that_it_runs, b"1")
        while True:
            Ring.create(4096, f"{name}-{next(numbers)}").close()
    os.close(says_that_it_runs)
    os.read(runs, 1)
    os.close(runs)
    time.sleep(after_s)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def own_digits(name: str) -> str:
    """Eight digits in the names that the killed process chooses, because other processes make rings too."""
    return name[3:11]


def test_whatever_a_kill_at_any_time_leaves_is_listed_and_removed(name: str) -> None:
    chance = random.Random(1)
    ours = (name, f"kevy-{own_digits(name)}")
    kinds: dict[str, int] = {}
    for _ in range(60):
        killed_while_making(name, chance.uniform(0.001, 0.02))
        odd = [each for each in odd_segments() if each.name.startswith(ours)]
        whole = [each for each in ring_names() if each.startswith(ours) and each not in {odd.name for odd in odd}]
        for each in odd:
            settled = settled_odd_segment(each.name)  # another process may look at it
            assert settled is not None
            assert not settled.users
            settled.remove()
        for each_name in whole:
            assert leftovers.remove_abandoned(each_name) is not None
        left = [file for file in SHM.iterdir() if file.name.startswith(ours)]
        for file in left:
            assert file.name.endswith(".new")
            assert file.stat().st_size == 0  # it is listed when it is a second old, see below
            file.unlink()
        for kind in [*(each.oddity.name for each in odd), *("whole" for _ in whole), *("empty" for _ in left)]:
            kinds[kind] = kinds.get(kind, 0) + 1
    assert kinds


def test_a_segment_under_its_temporary_name_is_told_whatever_part_of_its_header_it_has(all_is_visible: Path) -> None:
    path = SHM / f"kevy-{secrets.token_hex(10)}.new"
    for header in (
        b"",
        bytes(8) + struct.pack("<I", lib.KR_VERSION),
        bytes(8) + struct.pack("<IIQQI", 2, 4096, 4096, 1, 1),
    ):
        path.write_bytes(header.ljust(8192, b"\0"))
        path.chmod(0o600)
        found = odd_segment(path.name)
        assert found is not None
        assert (found.oddity, found.is_abandoned) == (Oddity.HALF_MADE, True)
        found.remove()
        assert not path.exists()


def test_an_empty_segment_is_left_to_its_maker_for_a_second(all_is_visible: Path) -> None:
    path = SHM / f"kevy-{secrets.token_hex(10)}.new"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
    try:
        assert odd_segment(path.name) is None
        os.utime(path, (time.time() - 5, time.time() - 5))
        found = odd_segment(path.name)
        assert found is not None
        assert (found.oddity, found.is_abandoned) == (Oddity.HALF_MADE, True)
        found.remove()
        assert not path.exists()
    finally:
        path.unlink(missing_ok=True)
