"""The stall message: one warning that names a ring which is full and not drained, and one when it goes on."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from kevy_ring import Frame, ReplicaInboxSender, Ring
from kevy_ring.replica.stall_watch import Stall, StallWatch, is_full
from kevy_ring.ring import inspect_ring
from kevy_ring.ring.outside.process_state import ProcessState
from kevy_ring_command import wait_until

DRAIN_FOR_EVER = """
import sys
from kevy_ring import ReplicaInboxReceiver
with ReplicaInboxReceiver.attach(sys.argv[1]) as receiver:
    print("here", flush=True)
    while receiver.recv() is not None:
        pass
"""


@pytest.fixture
def stopped_shard() -> Iterator[tuple[ReplicaInboxSender, int]]:
    """A sender, and the pid of a receiving process that was stopped with its ring full."""
    ring = Ring.create(1 << 16)
    sender = ReplicaInboxSender.attach(ring.name)
    path = os.pathsep.join(filter(None, sys.path))
    child = subprocess.Popen(
        [sys.executable, "-c", DRAIN_FOR_EVER, ring.name],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        sender.send(Frame(0, [b"first"]))
        wait_until(lambda: inspect_ring(ring.name).drains > 0)
        os.kill(child.pid, signal.SIGSTOP)
        sender.send_many([Frame(1 + n, [b"SET", b"key", b"v" * 900]) for n in range(200)])
        yield sender, child.pid
    finally:
        child.kill()
        child.wait(60)
        sender.close(timeout=0)
        ring.close()


def test_a_stopped_shard_is_named_once_and_once_more_when_it_goes_on(
    stopped_shard: tuple[ReplicaInboxSender, int], caplog: pytest.LogCaptureFixture
) -> None:
    sender, pid = stopped_shard
    told: list[Stall] = []
    watch = StallWatch(10, on_stall=told.append)
    with caplog.at_level(logging.WARNING, "kevy_ring"):
        for now in range(0, 10):
            assert watch.look([inspect_ring(sender.name)], now) == []
        sender.send_many([Frame(300 + n, [b"SET", b"key", b"v" * 1000]) for n in range(1000)])
        (stall,) = watch.look([inspect_ring(sender.name)], 10)
        assert watch.look([inspect_ring(sender.name)], 11) == []
        assert watch.stalls == [stall]
        assert (stall.ring, stall.pid, stall.process) == (sender.name, pid, ProcessState.STOPPED)
        assert stall.drain_age_s is not None
        assert stall.overflow_bytes == sender.overflow.bytes
        assert 100_000 < stall.growth_bytes_per_s < 110_000
        assert stall.memory_left_bytes
        assert stall.memory_ends_in_s == stall.memory_left_bytes / stall.growth_bytes_per_s
        os.kill(pid, signal.SIGCONT)
        assert sender.flush(60)
        (ended,) = watch.look([inspect_ring(sender.name)], 31)
        assert (ended.ended_after_s, watch.stalls, told) == (31, [], [stall, ended])
    first, last = (record.getMessage() for record in caplog.records)
    for words in (f"ring {sender.name} is full and was not drained for", f"pid {pid}, is stopped (T)", "64.0 KiB in",
                  "events); growing by 10", "KiB/s; memory ends in"):  # fmt: skip
        assert words in first
    assert f"ring {sender.name} is drained again, after 31 s" in last


def test_a_ring_that_is_drained_slowly_or_not_full_is_no_stall() -> None:
    watch = StallWatch(5)
    with Ring.create(4096) as ring, ring.producer() as producer, ring.consumer() as consumer:
        producer.try_write(bytes(100))
        for now in range(20):
            assert watch.look([ring.stats()], now) == []
        for now in range(20, 60, 4):
            while producer.try_write(bytes(400)):
                pass
            assert is_full(ring.stats())
            assert watch.look([ring.stats()], now) == []
            consumer.read_many(1)


def test_a_large_record_that_finds_no_room_makes_a_ring_full() -> None:
    with Ring.create(4096) as ring, ring.producer() as producer, ring.consumer() as consumer:
        producer.try_write(bytes(2000))
        watch = StallWatch(5)
        watch.look([ring.stats()], 0)
        assert not is_full(ring.stats())
        assert not producer.try_write(bytes(3000))
        assert watch.look([ring.stats()], 1) == []
        (stall,) = watch.look([ring.stats()], 6)
        assert (stall.process, stall.drain_age_s) == (ProcessState.RUNNING, None)
        assert "was never drained" in str(stall)
        consumer.read_many(1)
        assert [ended.ended_after_s for ended in watch.look([ring.stats()], 7)] == [7]


def test_a_ring_that_nobody_reads_from_is_told_so_and_forgotten_with_its_ring() -> None:
    watch = StallWatch(5)
    with Ring.create(4096) as ring, ring.producer() as producer:
        while producer.try_write(bytes(400)):
            pass
        watch.look([ring.stats()], 0)
        (stall,) = watch.look([ring.stats()], 5)
        assert (stall.pid, stall.process) == (0, None)
        assert "it has no consumer" in str(stall)
    assert watch.look([], 6) == []
    assert watch.stalls == []


def test_a_stall_takes_some_time() -> None:
    with pytest.raises(ValueError, match="0"):
        StallWatch(0)
