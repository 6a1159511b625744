"""Looking at all rings repeatedly changes nothing in them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kevy_ring import Frame, Ring, replica_inbox_pair
from kevy_ring.ring.outside.watch import RingLook, RingWatch

PREFIX = f"kr-watch-{os.getpid()}"
SHM = Path("/dev/shm")


@pytest.fixture
def watch() -> Iterator[RingWatch]:
    watch = RingWatch(lambda name: name.startswith(PREFIX), rescan_min_s=0)
    yield watch
    watch.close()


def look_at(watch: RingWatch, name: str) -> RingLook:
    (found,) = [look for look in watch.look() if look.name == name]
    return found


def settled_bytes(name: str) -> bytes:
    """The bytes of a segment, when the pump has moved into it all that fits."""
    deadline = time.monotonic() + 60
    before = b""
    while (now := (SHM / name).read_bytes()) != before:
        assert time.monotonic() < deadline
        before = now
        time.sleep(0.1)
    return now


def test_rings_are_found_when_they_come_and_missed_when_they_go(watch: RingWatch) -> None:
    with Ring.create(4096, f"{PREFIX}-a"):
        assert [look.name for look in watch.look()] == [f"{PREFIX}-a"]
        with Ring.create(4096, f"{PREFIX}-b") as second, second.producer() as producer:
            producer.try_write(b"x" * 40)
            looks = watch.look()
            assert [(look.name, look.fault) for look in looks] == [(f"{PREFIX}-a", None), (f"{PREFIX}-b", None)]
            assert looks[1].stats is not None
            assert (looks[1].stats.events_in, looks[1].stats.producer.pid) == (1, os.getpid())
        assert [look.name for look in watch.look()] == [f"{PREFIX}-a"]
    assert watch.look() == []


def test_a_ring_made_anew_under_its_name_is_another_ring(watch: RingWatch) -> None:
    for capacity in (4096, 8192):
        with Ring.create(capacity, f"{PREFIX}-a"):
            stats = look_at(watch, f"{PREFIX}-a").stats
            assert stats is not None
            assert stats.capacity == capacity


def test_nothing_is_mapped_anew_between_two_looks(watch: RingWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    with Ring.create(4096, f"{PREFIX}-a"):
        watch.look()
        monkeypatch.setattr("kevy_ring.ring.segment.Segment.attach", None)
        assert len(watch.look()) == 1


def test_a_look_changes_no_byte_and_takes_no_role(watch: RingWatch) -> None:
    sender, receiver = replica_inbox_pair(4096, name=f"{PREFIX}-a")
    sender.send_many([Frame(n, [b"SET", b"key", b"v" * 50]) for n in range(200)])
    receiver.drain(max_events=3).release()
    sender.flush(0)
    before = settled_bytes(sender.name)
    held = receiver.stats()
    for _ in range(20):
        watch.look()
    watch.close()
    assert (SHM / sender.name).read_bytes() == before
    assert (held.producer, held.consumer) == (receiver.stats().producer, receiver.stats().consumer)
    with contextlib.suppress(Exception):
        receiver.close()
    sender.close(timeout=0)


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        (8, b"\x09", "version 9"),
        (0x100, b"\x08" * 8, "apart, and the capacity"),
        (0x100, b"\xff" * 8, "multiples of 8"),
    ],
)
def test_a_header_that_contradicts_itself_is_told(watch: RingWatch, at: int, value: bytes, words: str) -> None:
    with Ring.create(4096, f"{PREFIX}-a") as ring:
        assert look_at(watch, ring.name).fault is None
        with open(SHM / ring.name, "r+b") as file:
            file.seek(at)
            file.write(value)
        assert words in str(look_at(watch, ring.name).fault)
        watch.close()
        assert look_at(watch, ring.name).fault


def test_a_file_that_was_cut_is_told_and_not_touched() -> None:
    name = f"{PREFIX}-cut"
    program = f"""
import os
from kevy_ring import Ring
from kevy_ring.ring.outside.watch import RingWatch
ring = Ring.create(4096, {name!r})
watch = RingWatch(lambda name: name == {name!r})
assert watch.look()[0].fault is None
os.truncate('/dev/shm/{name}', 0)
print(watch.look()[0].fault)
os.unlink('/dev/shm/{name}')
print(watch.look())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    assert done.stdout.splitlines() == ["its file has 0 bytes, not 8192", "[]"], done.stderr


def test_what_only_begins_like_a_ring_is_shown_with_what_is_wrong(watch: RingWatch) -> None:
    path = SHM / f"{PREFIX}-and-a-name-that-no-ring-can-have"
    path.write_bytes(b"KEVYRING" + bytes(100))
    try:
        (look,) = watch.look()
        assert look.stats is None
        assert look.fault
    finally:
        path.unlink()
    assert watch.look() == []
