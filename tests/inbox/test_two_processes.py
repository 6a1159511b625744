"""Runner and shard in two processes, with every start method."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess

import pytest

import shards
from kevy_ring import RecvError, ReplicaInboxReceiver, ReplicaInboxSender, Ring, SendError, replica_inbox_pair
from kevy_ring.ring import RoleState, inspect_ring

Ended = Callable[[BaseProcess], BaseProcess]
ROUNDS = 100


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_the_receiver_goes_to_a_child(method: str, ended: Ended) -> None:
    context = multiprocessing.get_context(method)
    sender, receiver = replica_inbox_pair(1 << 16)
    ours, theirs = context.Pipe()
    child = ended(context.Process(target=shards.drain_until_gone, args=(receiver, theirs)))
    child.start()
    receiver.close()
    for number in range(20_000):
        sender.send(shards.frame(number))
    assert sender.close(timeout=60) == 0
    assert ours.recv() == 20_000
    child.join(60)
    assert child.exitcode == 0


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_the_sender_goes_to_a_child(method: str, ended: Ended) -> None:
    context = multiprocessing.get_context(method)
    sender, receiver = replica_inbox_pair(1 << 16)
    ours, theirs = context.Pipe()
    child = ended(context.Process(target=shards.send_frames, args=(sender, 0, 20_000, theirs)))
    child.start()
    sender.close()
    number = 0
    while not receiver.sender_gone:
        receiver.wait(60)
        with receiver.drain() as batch:
            for event in batch:
                shards.check(event, number)
                number += 1
    assert number == 20_000
    assert ours.recv() == 0
    child.join(60)
    receiver.close()


def test_both_ends_attach_by_name(ended: Ended) -> None:
    context = multiprocessing.get_context("spawn")
    with Ring.create(1 << 16) as ring:
        ours, theirs = context.Pipe()
        child = ended(context.Process(target=attach_and_send, args=(ring.name, theirs)))
        child.start()
        with ReplicaInboxReceiver.attach(ring.name) as receiver:
            for number in range(100):
                shards.check(receiver.recv(timeout=60), number)
            with pytest.raises(RecvError):
                receiver.recv(timeout=60)
        child.join(60)
        assert os.path.exists(f"/dev/shm/{ring.name}"), "the exit of one that attached removes nothing"
    assert not os.path.exists(f"/dev/shm/{ring.name}")


def attach_and_send(name: str, results: object) -> None:
    shards.send_frames(ReplicaInboxSender.attach(name, timeout=60), 0, 100, results)  # type: ignore[arg-type]


def test_a_killed_owner_leaves_no_segment_behind(ended: Ended) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    import subprocess

    code = (
        "import sys, time; from kevy_ring import replica_inbox_pair\n"
        "pair = replica_inbox_pair(1 << 16); print(pair[0].name, flush=True); time.sleep(600)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    assert process.stdout is not None
    name = process.stdout.readline().strip()
    assert inspect_ring(name).creator_pid == process.pid
    process.kill()
    process.wait()
    until = time.monotonic() + 60
    while [entry for entry in os.listdir("/dev/shm") if entry.startswith(name)]:
        assert time.monotonic() < until
        time.sleep(0.01)
    ours.close()
    theirs.close()


def test_kill_of_either_side_is_seen_and_the_time_is_printed(ended: Ended, capsys: pytest.CaptureFixture[str]) -> None:
    """A hundred rounds each: after kill -9 of a peer, a send fails, and a sleeping receiver wakes."""
    sends = [kill_the_receiver(ended) for _ in range(ROUNDS)]
    wakes = [kill_the_sender(ended) for _ in range(ROUNDS)]
    with capsys.disabled():
        for what, times in (("failing send", sends), ("receiver's wake", wakes)):
            times.sort()
            print(
                f"\n  kill -9 to the {what}: median {times[50]:.2f} ms, p90 {times[90]:.2f}, max {times[-1]:.2f}",
                end="",
            )
    assert len(sends) == len(wakes) == ROUNDS


def kill_the_receiver(ended: Ended) -> float:
    context = multiprocessing.get_context("fork")
    sender, receiver = replica_inbox_pair(1 << 16)
    ours, theirs = context.Pipe()
    child = ended(context.Process(target=shards.hold_receiver, args=(receiver, theirs)))
    child.start()
    pid = ours.recv()
    sender.send(shards.frame(0))
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    try:
        while time.monotonic() < killed + 20:
            sender.send(shards.frame(1))
            time.sleep(0.0001)
    except SendError as error:
        assert error.cause == "dead"
        took = (time.monotonic() - killed) * 1000
    else:
        raise AssertionError("the death was never seen")
    child.join(60)
    receiver.close()
    sender.close()
    return took


def kill_the_sender(ended: Ended) -> float:
    context = multiprocessing.get_context("fork")
    sender, receiver = replica_inbox_pair(1 << 16)
    ours, theirs = context.Pipe()
    child = ended(context.Process(target=shards.hold_sender, args=(sender, theirs, 1)))
    child.start()
    pid = ours.recv()
    shards.check(receiver.recv(60), 0)
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    with pytest.raises(RecvError) as gone:
        receiver.recv(timeout=60)
    took = (time.monotonic() - killed) * 1000
    assert gone.value.cause == "dead"
    child.join(60)
    receiver.close()
    return took


def test_a_dead_consumers_unreleased_events_are_seen_again(ended: Ended) -> None:
    context = multiprocessing.get_context("fork")
    with Ring.create(1 << 16) as ring:
        sender = ReplicaInboxSender.attach(ring.name)
        sender.send_many([shards.frame(number) for number in range(10)])
        ours, theirs = context.Pipe()
        child = ended(context.Process(target=drain_three_release_two, args=(ring.name, theirs)))
        child.start()
        os.kill(ours.recv(), signal.SIGKILL)
        child.join(60)
        assert inspect_ring(ring.name).consumer.state is RoleState.DEAD
        with ReplicaInboxReceiver.attach(ring.name) as receiver:
            for number in range(2, 10):
                shards.check(receiver.recv(1), number)
        sender.close()


def drain_three_release_two(name: str, results: object) -> None:
    receiver = ReplicaInboxReceiver.attach(name)
    batch = receiver.drain(max_events=3)
    assert len(list(batch)) == 3
    batch.release(upto=2)
    results.send(os.getpid())  # type: ignore[attr-defined]
    time.sleep(600)
