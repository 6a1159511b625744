"""Rings that are kept on purpose are shown as kept, and removed only by name."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from command_in_process import invoke, listed
from kevy_ring import Ring
from kevy_ring.cli.command import run
from kevy_ring.replica.upstream_url import parse_upstream
from kevy_ring.ring import inspect_ring
from kevy_ring.ring.segment import fitting_label
from kevy_ring.shard.sinks.sink_url import sink_place
from kevy_ring.testing import EmbeddedPrimary
from kevy_ring_command import RunningCommand, run_command

SHM = Path("/dev/shm")
LABEL = "redis://cache.example:6379 → sqlite:/var/lib/cache.db"
MAKE = f"""
import sys
from kevy_ring import Ring
ring = Ring.create(4096, sys.argv[1], keep=True, label={LABEL!r})
ring.producer().try_write(b"waits")
"""


def line_of(name: str, text: str) -> str:
    (line,) = (line for line in text.splitlines() if line.startswith(f"{name}: "))
    return line


@pytest.fixture
def prefix() -> Iterator[str]:
    """A prefix for names of rings. Rings with this prefix are removed at the end."""
    prefix = f"kept{secrets.token_hex(4)}"
    yield prefix
    for file in SHM.glob(f"{prefix}*"):
        file.unlink()


@pytest.fixture
def kept(prefix: str) -> str:
    """A kept ring whose process has ended."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", MAKE, f"{prefix}-0"], env=environment, check=True, timeout=120)
    return f"{prefix}-0"


def test_ls_and_inspect_show_a_kept_ring_with_its_label_and_call_nothing_about_it_wrong(kept: str) -> None:
    found = listed(kept)
    assert (found["kept"], found["in_use"], found["abandoned"], found["label"]) == (True, False, False, LABEL)
    words = f"kept; its service is not running ({LABEL})"
    assert line_of(kept, invoke("ls")) == f"{kept}: {words}"
    out = invoke("inspect", kept)
    assert f"purpose    {words}" in out
    assert "wrong" not in out
    assert "abandoned" not in out
    assert json.loads(invoke("inspect", kept, "--json"))["faults"] == []
    (shown,) = (each for each in json.loads(invoke("top", "--once", "--json"))["rings"] if each["name"] == kept)
    assert (shown["kept"], shown["abandoned"], shown["faults"]) == (True, False, [])


def test_a_kept_ring_that_is_in_use_is_shown_as_such(kept: str) -> None:
    with Ring.attach(kept) as ring:
        ring.adopt()
        assert line_of(kept, invoke("ls")) == f"{kept}: kept; its service is running ({LABEL})"
        ring.adopt("another purpose")
        assert listed(kept)["label"] == "another purpose"
        assert listed(kept)["in_use"]
        assert run(["gc", kept, "--kept"]) == 1
    assert (SHM / kept).exists()


def test_gc_leaves_a_kept_ring_unless_it_is_named_or_the_option_is_given(kept: str) -> None:
    # A dry run, because abandoned rings of this machine are not ours to remove.
    found = json.loads(invoke("gc", "--dry-run", "--json"))
    assert kept in found["kept"]
    assert kept not in found["removed"]
    assert "kevy-ring gc --kept removes those too" in invoke("gc", "--dry-run")
    assert kept in json.loads(invoke("gc", "--dry-run", "--json", "--kept"))["removed"]
    assert json.loads(invoke("gc", "--json", kept))["removed"] == [kept]
    assert not list(SHM.glob(f"{kept}*"))


def test_a_ring_that_was_not_kept_has_no_such_words() -> None:
    with Ring.create(4096, label="only a label") as ring:
        assert (ring.stats().is_kept, ring.stats().label) == (False, "only a label")
        assert line_of(ring.name, invoke("ls")) == f"{ring.name}: only a label"
    with Ring.create(4096) as ring:
        assert (ring.stats().is_kept, ring.stats().label) == (False, "")
        assert "purpose" not in invoke("inspect", ring.name)


def test_a_label_has_at_most_256_bytes() -> None:
    longest = "é" * 128
    with Ring.create(4096, label=longest) as ring:
        assert ring.stats().label == longest
        with pytest.raises(ValueError, match="256 bytes"):
            ring.adopt(longest + "!")
    for bad in (longest + "!", "a\0b"):
        with pytest.raises(ValueError, match="256 bytes"):
            Ring.create(4096, label=bad)
    assert fitting_label(longest) == longest
    assert fitting_label(longest + "!") == "é" * 126 + "…"


def test_a_label_of_the_fleet_holds_neither_user_nor_password() -> None:
    assert parse_upstream("redis://user:secret@h:1/2?client_name=x").address == "redis://h:1/2"
    assert parse_upstream("unix://user:secret@/run/redis.sock").address == "unix:///run/redis.sock"
    assert parse_upstream("rediss://[::1]:7").address == "rediss://[::1]:7"
    assert sink_place("redis://user:se@cret@h:1/{shard}?password=secret", 3, 4) == "redis://h:1/3"
    assert sink_place("sqlite:/a/b.db", 1, 2) == "sqlite:/a/b-shard-1.db"
    assert sink_place("jsonl:here", 0, 1) == f"jsonl:{os.getcwd()}/here"
    assert sink_place("memory", 0, 1) == "memory"


def test_the_rings_of_a_named_service_are_kept_while_it_runs_and_after_it(prefix: str, tmp_path: Path) -> None:
    name, directory = f"{prefix}-0", tmp_path / "log"
    with EmbeddedPrimary.start(1, 20, 200, big_values=0, protocol=2) as primary:
        label = f"{primary.url} → jsonl:{directory}"
        arguments = ("ingest", primary.url, "--name", prefix, "--sink", f"jsonl:{directory}")
        with RunningCommand(*arguments, "--json") as running:
            running.read_until(lambda said: said["type"] == "progress")
            assert line_of(name, invoke("ls")) == f"{name}: kept; its service is running ({label})"
        assert line_of(name, invoke("ls")) == f"{name}: kept; its service is not running ({label})"
        before = inspect_ring(name)
        assert name in json.loads(invoke("gc", "--dry-run", "--json"))["kept"]
        done = run_command(*arguments, "--until-caught-up")
        assert done.code == 0, done.err
        after = inspect_ring(name)
        assert after.created_unix_s == before.created_unix_s
        assert after.events_in >= before.events_in


def test_gc_of_a_name_that_no_ring_has_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["gc", "kr-no-such-ring"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "kevy-ring: there is no ring 'kr-no-such-ring': kevy-ring ls shows the rings that exist\n"
    assert run(["gc", "kr-no-such-ring", "--json"]) == 1
    (failed,) = json.loads(capsys.readouterr().out)["failed"]
    assert failed["name"] == "kr-no-such-ring"


def test_gc_of_a_ring_in_use_is_an_error_that_names_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    with Ring.create(4096) as ring:
        assert run(["gc", ring.name]) == 1
        words = f"kevy-ring: ring '{ring.name}' is not removed: its creator (pid {os.getpid()}) is alive\n"
        assert capsys.readouterr().err == words
        assert ring.lost_names() == []


def test_the_first_line_of_ingest_is_the_reason_if_a_ring_cannot_be_made(prefix: str) -> None:
    with Ring.create(8 << 20, f"{prefix}-7", keep=True) as ring, ring.consumer():
        done = run_command("ingest", "kevy://127.0.0.1:17000", "--shards", "8", "--name", prefix, "--duration", "1")
        assert (done.code, done.out) == (1, "")
        held = f"the consumer role is held by the live process {os.getpid()}: stop it, or use another ring"
        words = f"kevy-ring: ring '{prefix}-7': {held}\n"
        assert done.err == words
    assert {file.name.partition(".")[0] for file in SHM.glob(f"{prefix}*")} == {f"{prefix}-7"}
