"""Abandoned rings are distinguished from live ones, and removed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kevy_ring import SegmentError
from kevy_ring.ring import Ring, inspect_ring
from kevy_ring.ring.outside.leftovers import is_abandoned, remove_abandoned

MAKE = """
import os, signal, sys
from multiprocessing import resource_tracker
from kevy_ring.ring import Ring
ring = Ring.create(4096, sys.argv[1])
producer = ring.producer()
os.kill(resource_tracker._resource_tracker._pid, signal.SIGKILL)  # it would remove what its process leaves
print("made", flush=True)
sys.stdin.read()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def made() -> Iterator[tuple[str, Callable[[], None]]]:
    """A ring of another process, and a function that kills that process."""
    name = f"kr-left-{os.getpid()}"
    maker = subprocess.Popen(
        [sys.executable, "-c", MAKE, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert maker.stdout is not None
    assert maker.stdout.readline() == b"made\n"
    yield name, lambda: maker.communicate(timeout=120) and None  # type: ignore[func-returns-value]
    if maker.poll() is None:
        maker.kill()
    maker.communicate(timeout=120)
    for suffix in ("", ".data", ".space"):
        Path(f"/dev/shm/{name}{suffix}").unlink(missing_ok=True)


Made = tuple[str, Callable[[], None]]


def files(name: str) -> list[bool]:
    return [Path(f"/dev/shm/{name}{suffix}").exists() for suffix in ("", ".data", ".space")]


def test_a_ring_whose_maker_lives_is_kept_also_while_that_one_is_stopped(made: Made) -> None:
    name, _ = made
    pid = inspect_ring(name).creator_pid
    os.kill(pid, signal.SIGSTOP)
    try:
        assert not is_abandoned(inspect_ring(name))
        assert remove_abandoned(name) is None
    finally:
        os.kill(pid, signal.SIGCONT)
    assert files(name) == [True] * 3


def test_a_ring_whose_processes_are_dead_is_removed_with_its_doorbells(made: Made) -> None:
    name, kill = made
    kill()
    removed = remove_abandoned(name)
    assert removed is not None
    assert removed.name == name
    assert files(name) == [False] * 3
    with pytest.raises(SegmentError):
        remove_abandoned(name)


def test_a_ring_with_one_living_role_is_kept_although_its_maker_is_dead(made: Made) -> None:
    name, kill = made
    with Ring.attach(name) as ring, ring.consumer():
        kill()
        assert not is_abandoned(ring.stats())
        assert remove_abandoned(name) is None
    assert remove_abandoned(name) is not None
