"""The pump is a thread of the core: nothing in Python and no signal stops it."""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

import interrupted
import shards
from kevy_ring import (
    Frame,
    OutOfMemory,
    ReplicaInboxReceiver,
    ReplicaInboxSender,
    Ring,
    SnapshotBegin,
    SnapshotChunk,
    SnapshotEnd,
    replica_inbox_pair,
)
from kevy_ring.inbox import overflow_watch
from pumps import running_pumps, wait_for_pumps

FORK = get_context("fork")
NOBODY = 65534


def overflow(sender: ReplicaInboxSender, first: int, events: int = 500) -> int:
    number = first
    while sender.overflow.events < events:
        sender.send(shards.frame(number))
        number += 1
    return number


def drain(receiver: ReplicaInboxReceiver, first: int, last: int) -> None:
    until = time.monotonic() + 60
    for number in range(first, last):
        assert time.monotonic() < until
        shards.check(receiver.recv(timeout=60), number)


def wait_until_gone(receiver: ReplicaInboxReceiver) -> None:
    until = time.monotonic() + 60
    while not receiver.sender_gone:
        assert time.monotonic() < until, "the sender's end was never seen"
        time.sleep(0.001)


class TestSignals:
    def test_inboxes_whose_calls_a_signal_interrupts_are_never_stuck_and_lose_nothing(self) -> None:
        before = signal.getsignal(signal.SIGALRM)
        try:
            found = interrupted.torment(100, seed=1)
        finally:
            signal.signal(signal.SIGALRM, before)
        assert found["interruptions"] > 200
        failures = {what: found[what] for what in ("stuck", "lost", "twice", "out_of_order", "role_taken")}
        assert failures == dict.fromkeys(failures, 0), found

    def test_a_claim_that_a_signal_interrupts_takes_the_role_for_its_handle_or_not_at_all(self) -> None:
        before = signal.getsignal(signal.SIGALRM)
        try:
            found = interrupted.claim(400, seed=2)
        finally:
            signal.signal(signal.SIGALRM, before)
        assert found["interruptions"] > 40
        assert (found["role_taken"], found["claimed_again"]) == (0, 0), found

    @pytest.mark.parametrize("length", [100, 1 << 15], ids=["made in C", "made in Python"])
    def test_a_grant_that_is_lost_while_it_is_open_gives_its_place_back(self, length: int) -> None:
        sender, receiver = replica_inbox_pair(1 << 16)
        with sender, receiver:
            if length == 100:
                sender.send(shards.frame(0))  # else the first use is the grant
                shards.check(receiver.recv(timeout=60), 0)
            sender.reserve_chunk(length)  # lost, as when a signal comes before the `with`
            sender.send(shards.frame(1))
            view = sender.reserve_chunk(length).view  # lost, but its view is kept
            view[:] = b"z" * length
            sender.send(shards.frame(2))
            assert sender.flush(60)
            for number in (1, 2):
                shards.check(receiver.recv(timeout=60), number)
            with sender.reserve_chunk(length) as grant:
                grant.view[:2] = b"ok"
                grant.commit(2)
            assert receiver.recv(timeout=60) == SnapshotChunk(b"ok")

    def test_a_grant_of_a_ring_that_is_lost_while_it_is_open_gives_its_place_back(self) -> None:
        with Ring.create(1 << 14) as ring, ring.producer() as producer, ring.consumer() as consumer:
            for length in (10, 10, 5000):
                producer.try_reserve(length)
                assert producer.try_write(b"after a lost grant")
                assert consumer.read(timeout=5) == b"after a lost grant"


class TestDropped:
    def test_a_sender_that_is_dropped_while_its_pump_ends_delivers_what_it_accepted(self) -> None:
        for _ in range(30):
            with Ring.create(1 << 14) as ring, ReplicaInboxReceiver.attach(ring.name) as receiver:
                sender = ReplicaInboxSender.attach(ring.name)
                second = overflow(sender, 0)
                drain(receiver, 0, second)  # the pump is about to end
                last = overflow(sender, second, 20)
                del sender  # without a close, the role is given up only when the overflow is empty
                drain(receiver, second, last)
                wait_until_gone(receiver)
        gc.collect()
        wait_for_pumps(0)

    def test_a_sender_whose_destructor_is_interrupted_delivers_what_it_accepted(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def raising(sender: ReplicaInboxSender) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(ReplicaInboxSender, "__del__", raising)
        monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)
        with Ring.create(1 << 14) as ring, ReplicaInboxReceiver.attach(ring.name) as receiver:
            sender = ReplicaInboxSender.attach(ring.name)
            last = overflow(sender, 0)
            del sender
            drain(receiver, 0, last)
            wait_until_gone(receiver)

    def test_a_view_that_outlives_a_dropped_sender_never_shows_in_what_is_delivered(self) -> None:
        with Ring.create(1 << 14) as ring, ReplicaInboxReceiver.attach(ring.name) as receiver:
            sender = ReplicaInboxSender.attach(ring.name)
            with pytest.raises(ZeroDivisionError), sender.reserve_chunk(5000) as grant:
                view = grant.view
                raise ZeroDivisionError
            del grant
            last = overflow(sender, 0)
            del sender
            for number in range(last):
                view[:] = bytes([number % 256]) * 5000
                shards.check(receiver.recv(timeout=60), number)
            wait_until_gone(receiver)

    def test_the_name_stays_for_a_receiver_that_comes_after_its_sender_was_dropped(self) -> None:
        sender, receiver = replica_inbox_pair(1 << 14)
        name = sender.name
        last = overflow(sender, 0)
        with ReplicaInboxReceiver.attach(name) as later:
            receiver_unused = receiver
            del receiver, receiver_unused
            del sender
            drain(later, 0, last)
            wait_until_gone(later)
        Path("/dev/shm", name).unlink(missing_ok=True)

    def test_a_close_that_is_interrupted_is_finished_by_the_next_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with Ring.create(1 << 14) as ring, ReplicaInboxReceiver.attach(ring.name) as receiver:
            sender = ReplicaInboxSender.attach(ring.name)
            last = overflow(sender, 0)
            signal_handler = signal.signal(signal.SIGALRM, signal.default_int_handler)
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                with pytest.raises(KeyboardInterrupt):
                    sender.close(timeout=60)
            finally:
                signal.signal(signal.SIGALRM, signal_handler)
            assert not receiver.sender_gone
            drain(receiver, 0, last)
            assert sender.close(timeout=60) == 0
            assert receiver.sender_gone


class TestMarks:
    def test_whatever_a_callback_raises_the_next_crossing_is_told_and_nothing_is_lost(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        sender, receiver = replica_inbox_pair(1 << 14)
        told: list[bool] = []

        def raising(moment: Any) -> None:
            told.append(moment.above_high)
            raise (SystemExit, KeyboardInterrupt, ZeroDivisionError)[len(told) % 3]

        with sender, receiver:
            sender.watch_overflow(20_000, 5_000, raising)
            first = 0
            for _ in range(4):
                last = overflow(sender, first)
                drain(receiver, first, last)
                first = last
            until = time.monotonic() + 60
            while len(told) < 8:
                assert time.monotonic() < until, told
                time.sleep(0.001)
        assert told == [True, False] * 4
        assert caplog.text.count("the overflow callback of ring") == 8

    def test_a_watch_may_end_and_begin_again(self) -> None:
        sender, receiver = replica_inbox_pair(1 << 14)
        told: list[bool] = []
        with sender, receiver:
            first = 0
            for _ in range(5):
                sender.watch_overflow(20_000, 5_000, None)
                sender.watch_overflow(20_000, 5_000, lambda moment: told.append(moment.above_high))
                before = len(told)
                last = overflow(sender, first)
                drain(receiver, first, last)
                first = last
                until = time.monotonic() + 60
                while len(told) < before + 2:
                    assert time.monotonic() < until, told
                    time.sleep(0.001)
        assert told == [True, False] * 5

    def test_without_a_thread_for_the_watch_nothing_is_watched(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(thread: object) -> None:
            raise RuntimeError("can't start new thread")

        sender, receiver = replica_inbox_pair(1 << 14)
        with sender, receiver:
            with monkeypatch.context() as without_threads:
                without_threads.setattr(overflow_watch.threading.Thread, "start", refuse)
                with pytest.raises(RuntimeError, match="thread"):
                    sender.watch_overflow(20_000, 5_000, lambda moment: None)
            drain(receiver, 0, overflow(sender, 0))


class RaisingHandler(logging.Handler):
    """Counts the log records, and raises for each."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())
        raise ZeroDivisionError


def in_a_child_without_threads(body: Callable[[], None]) -> None:
    """Call ``body`` in a forked child with another user id, because a limit on threads does not apply to root."""
    child = FORK.Process(target=_without_root, args=(body,), daemon=True)
    child.start()
    child.join(50)
    assert child.exitcode == 0


def _without_root(body: Callable[[], None]) -> None:
    if os.getuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    body()


def set_threads(*, allowed: bool) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    resource.setrlimit(resource.RLIMIT_NPROC, (hard if allowed else 0, hard))


def overflow_without_threads() -> None:
    handler = RaisingHandler()
    logging.getLogger("kevy_ring").addHandler(handler)
    sender, receiver = replica_inbox_pair(1 << 14)
    with sender, receiver:
        sender.send(shards.frame(0))
        receiver.try_recv()
        set_threads(allowed=False)
        last = overflow(sender, 1)
        assert running_pumps() == 0
        assert len([words for words in handler.said if "no thread" in words]) == 1, handler.said
        assert sender.name in handler.said[0]
        waiting = sender.overflow.events
        first = 1
        while sender.overflow.events:  # only the flush moves them
            assert not sender.flush(timeout=0.01) or not sender.overflow.events
            with receiver.drain() as batch:
                for event in batch:
                    shards.check(event, first)
                    first += 1
        assert waiting == 500
        drain(receiver, first, last)
        last_of_all = overflow(sender, last)
        set_threads(allowed=True)
        sender.send(shards.frame(last_of_all))
        wait_for_pumps(1)
        drain(receiver, last, last_of_all + 1)
        assert len(handler.said) == 1


def drop_without_threads() -> None:
    sender, receiver = replica_inbox_pair(1 << 14)
    with receiver:
        sender.send(shards.frame(0))
        receiver.try_recv()
        set_threads(allowed=False)
        last = overflow(sender, 1)
        del sender
        gc.collect()
        set_threads(allowed=True)
        other, other_receiver = replica_inbox_pair(1 << 14)
        with other, other_receiver:
            other.send(shards.frame(0))  # the next handle that takes a role
            drain(receiver, 1, last)
            wait_until_gone(receiver)


class TestWithoutThreads:
    def test_one_warning_is_given_and_a_flush_moves_the_overflow_until_a_send_can_start_the_pump(self) -> None:
        in_a_child_without_threads(overflow_without_threads)

    def test_a_sender_that_is_dropped_delivers_as_soon_as_a_thread_can_be_started(self) -> None:
        in_a_child_without_threads(drop_without_threads)


SEND_MANY_WITHOUT_MEMORY = """
import resource
import shards
from kevy_ring import Frame, OutOfMemory, replica_inbox_pair

sender, receiver = replica_inbox_pair(1 << 16)
sender.send(Frame(0, [b"x"]))
receiver.try_recv()
value = bytes(50_000)
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (6 << 20), -1))
taken, error = 0, None
events = [Frame(number, [{kind}(value)]) for number in range(1, 41)]
while error is None:
    try:
        sender.send_many(events)
        taken += len(events)
    except MemoryError as exc:
        error = exc
    if error is None:
        events = [Frame(event.offset + 40, event.argv) for event in events]
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
assert isinstance(error, OutOfMemory), error
assert error.unsent == events[error.taken:], (error.taken, len(error.unsent))
assert 0 < len(error.unsent) <= 40 and taken > 0
one = OutOfMemory("r", event=events[0])
assert (one.event, one.unsent, one.taken) == (events[0], [events[0]], 0)
sender.send_many(error.unsent)  # what was not taken, and nothing else
for number in range(1, taken + 41):
    event = receiver.recv(timeout=60)
    assert event.offset == number, (event.offset, number)
assert sender.flush(60) and receiver.try_recv() is None
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


class TestMemory:
    @pytest.mark.parametrize("kind", ["bytes", "bytearray"])
    def test_a_list_for_which_there_is_no_memory_says_how_many_events_were_taken(self, kind: str) -> None:
        done = run(SEND_MANY_WITHOUT_MEMORY.replace("{kind}", kind))
        assert done.returncode == 0, done.stderr

    def test_the_error_is_a_memory_error_with_the_rest_of_the_list(self) -> None:
        events = [Frame(1, [b"x"]), SnapshotChunk(b"y")]
        error = OutOfMemory("ring-0", taken=3, unsent=events)
        assert isinstance(error, MemoryError)
        assert (error.name, error.taken, error.unsent, error.event) == ("ring-0", 3, events, None)
        assert "3 events were taken" in str(error)


EXIT_WITH_OVERFLOWS = """
import logging
import shards
from kevy_ring import ReplicaInboxSender, SnapshotChunk
from kevy_ring.inbox import exit_flush

logging.basicConfig(format="%(name)s: %(message)s")
exit_flush.EXIT_FLUSH_S = 0.3
kept = []
for index, name in enumerate({names}):
    sender = ReplicaInboxSender.attach(name)
    sender.send_many([SnapshotChunk(bytes(1000))] * (30 + index))
    if index % 2:
        kept.append(sender)  # the others are dropped
    del sender
"""

EXIT_OF_THE_MAKER_OF_A_RING = """
import logging
from kevy_ring import SnapshotChunk, replica_inbox_pair
from kevy_ring.inbox import exit_flush

logging.basicConfig(format="%(message)s")
exit_flush.EXIT_FLUSH_S = 0.1
sender, receiver = replica_inbox_pair(1 << 14)
receiver.try_recv()
sender.send_many([SnapshotChunk(bytes(1000))] * 30)
print(sender.name)
"""


class TestExit:
    def test_a_ring_that_the_process_made_itself_is_named_by_its_own_name_and_no_temporary_one(self) -> None:
        done = run(EXIT_OF_THE_MAKER_OF_A_RING)
        assert done.returncode == 0, done.stderr
        assert f"({done.stdout.strip()}: 14)" in done.stderr

    def test_a_process_that_ends_waits_once_for_all_inboxes_and_names_what_is_lost_in_one_warning(self) -> None:
        rings = [Ring.create(1 << 14) for _ in range(4)]
        receivers = [ReplicaInboxReceiver.attach(ring.name) for ring in rings]
        done = run(EXIT_WITH_OVERFLOWS.replace("{names}", repr([ring.name for ring in rings])))
        assert done.returncode == 0, done.stderr
        (line,) = done.stderr.splitlines()
        room = (1 << 14) // 1016
        lost = {ring.name: 30 + index - room for index, ring in enumerate(rings)}
        assert line.startswith(f"kevy_ring.inbox.exit_flush: exit with {sum(lost.values())} events in the overflow")
        for name, count in lost.items():
            assert f"{name}: {count}" in line
        for ring, receiver in zip(rings, receivers, strict=True):
            assert len(receiver.recv_many()) == room
            assert receiver.sender_gone  # closed in order
            receiver.close()
            ring.close()

    def test_all_inboxes_are_delivered_at_the_end_of_a_process_while_their_receivers_drain(self) -> None:
        rings = [Ring.create(1 << 14) for _ in range(4)]
        receivers = [ReplicaInboxReceiver.attach(ring.name) for ring in rings]
        code = EXIT_WITH_OVERFLOWS.replace("{names}", repr([ring.name for ring in rings])).replace("= 0.3", "= 30")
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stderr=subprocess.PIPE,
            text=True,
        )
        counts = [0] * len(rings)
        until = time.monotonic() + 60
        while not all(receiver.sender_gone for receiver in receivers):
            assert time.monotonic() < until
            for index, receiver in enumerate(receivers):
                with receiver.drain(max_events=3) as batch:
                    counts[index] += batch.count
            time.sleep(0.001)
        assert (process.wait(60), process.communicate()[1]) == (0, "")
        assert counts == [30, 31, 32, 33]
        for ring, receiver in zip(rings, receivers, strict=True):
            receiver.close()
            ring.close()


def test_a_snapshot_is_loading_from_its_begin_until_its_end_is_applied() -> None:
    sender, receiver = replica_inbox_pair(1 << 14)
    with sender, receiver:
        assert not sender.loading
        sender.send(SnapshotBegin())
        assert sender.loading
        sender.send_many([SnapshotBegin(), SnapshotChunk(b"x"), SnapshotEnd(ack_offset=7)])
        assert sender.loading
        with receiver.drain() as batch:
            assert len(list(batch)) == 4
            receiver.mark_applied(7)
        assert not sender.loading
        assert receiver.stats().producer_words[4:6] == (0, 1)
