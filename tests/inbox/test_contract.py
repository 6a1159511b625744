"""The contract of the inbox, row by row."""

from __future__ import annotations

import gc
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable
from multiprocessing.process import BaseProcess

import pytest

import shards
from kevy_ring import (
    BatchOpen,
    ClosedError,
    CorruptRing,
    Frame,
    RecvError,
    ReplicaInboxReceiver,
    ReplicaInboxSender,
    Ring,
    RoleTaken,
    SegmentError,
    SendError,
    SnapshotBegin,
    SnapshotChunk,
    SnapshotEnd,
    ViewsEscaped,
    replica_inbox_pair,
    replica_inbox_pairs,
)
from kevy_ring.ring import RoleState, inspect_ring
from places import SUPPORT
from pumps import wait_for_pumps

Pair = tuple[ReplicaInboxSender, ReplicaInboxReceiver]
Ended = Callable[[BaseProcess], BaseProcess]
FORK = multiprocessing.get_context("fork")


def fill(sender: ReplicaInboxSender, first: int = 0) -> int:
    """Send frames until some are in the overflow; returns the number of the next one."""
    number = first
    while sender.overflow.events < 10:
        sender.send(shards.frame(number))
        number += 1
    return number


def drain_all(receiver: ReplicaInboxReceiver, first: int, last: int, deadline_s: float = 20) -> None:
    """Receive and check the frames ``first`` to ``last - 1``."""
    number, until = first, time.monotonic() + deadline_s
    while number < last:
        assert time.monotonic() < until, f"only {number} of {last} arrived"
        receiver.wait(1)
        with receiver.drain() as batch:
            for event in batch:
                shards.check(event, number)
                number += 1


def start(ended: Ended, target: Callable[..., None], *arguments: object) -> tuple[BaseProcess, object]:
    """A forked child and the end of the pipe that it reports on."""
    ours, theirs = FORK.Pipe()
    child = ended(FORK.Process(target=target, args=(*arguments, theirs), daemon=True))
    child.start()
    theirs.close()
    return child, ours


class TestRoomAndOverflow:
    def test_an_event_that_fits_is_published_in_place(self, pair: Pair) -> None:
        sender, receiver = pair
        sender.send(shards.frame(0))
        stats = inspect_ring(sender.name)
        assert (stats.events_in, stats.publishes, stats.overflow_events) == (1, 1, 0)
        shards.check(receiver.recv(timeout=60), 0)

    def test_a_pair_round_trips_each_kind_of_event(self, pair: Pair) -> None:
        sender, receiver = pair
        events = [
            SnapshotBegin(),
            SnapshotChunk(b"bytes"),
            SnapshotEnd(ack_offset=2**64 - 1),
            Frame(2**64 - 1, [b"", b"\0\r\n\xff", b"x" * 5000]),
        ]
        for event in events:
            sender.send(event)
            assert receiver.recv(timeout=60) == event
        sender.send_many(events)
        assert [receiver.recv(timeout=60) for _ in events] == events
        assert receiver.try_recv() is None
        assert receiver.recv(timeout=0.01) is None

    def test_bytearrays_and_views_of_any_item_size_are_taken_by_their_bytes(self, pair: Pair) -> None:
        import array

        sender, receiver = pair
        wide = memoryview(array.array("I", [1, 2]))
        sender.send(Frame(1, [bytearray(b"SET"), memoryview(b"key"), wide]))
        sender.send_many([Frame(2, (b"SET", wide))])
        assert receiver.recv(1) == Frame(1, [b"SET", b"key", wide.tobytes()])
        assert receiver.recv(1) == Frame(2, [b"SET", wide.tobytes()])

    def test_what_does_not_fit_waits_in_the_overflow_in_order(self, pair: Pair) -> None:
        sender, receiver = pair
        last = fill(sender)
        assert inspect_ring(sender.name).overflow_events == sender.overflow.events >= 10
        assert sender.overflow.bytes > 0
        assert inspect_ring(sender.name).full_hits >= 1
        with receiver.drain(max_events=100) as batch:
            assert [event.offset for event in batch] == list(range(100))
        sender.send(shards.frame(last))
        drain_all(receiver, 100, last + 1)

    def test_a_burst_that_overflowed_arrives_without_another_send(self, pair: Pair) -> None:
        sender, receiver = pair
        sender.send_many([shards.frame(number) for number in range(20_000)])
        assert sender.overflow.events > 10_000
        drain_all(receiver, 0, 20_000)
        assert sender.flush(timeout=60)
        assert sender.overflow.events == 0
        assert sender.overflow.peak_bytes > 1 << 20

    def test_the_pump_is_gone_when_the_overflow_is_empty(self, pair: Pair) -> None:
        sender, receiver = pair
        last = fill(sender)
        wait_for_pumps(1)
        drain_all(receiver, 0, last)
        wait_for_pumps(0)
        drain_all(receiver, last, fill(sender, last))

    @pytest.mark.parametrize("size", [1 << 16, (1 << 16) - 24, 200_000, 1 << 20])
    def test_an_event_larger_than_the_ring_is_delivered_whole(self, pair: Pair, size: int) -> None:
        sender, receiver = pair
        events = [
            Frame(1, [b"a"]),
            Frame(2, [b"SET", b"k", os.urandom(size)]),
            SnapshotChunk(os.urandom(size)),
            Frame(3, [b"b"]),
        ]
        sender.send_many(events)
        assert [receiver.recv(timeout=60) for _ in events] == events

    def test_the_overflow_of_many_small_events_costs_little_more_than_their_bytes(self) -> None:
        sender, receiver = replica_inbox_pair(1 << 16)
        with sender, receiver:

            def resident() -> int:
                with open("/proc/self/statm", encoding="ascii") as file:
                    return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

            events = [shards.frame(number) for number in range(1000)]
            sender.send_many(events)
            gc.collect()
            before = resident()
            for _ in range(500):
                sender.send_many(events)
            grown, held = resident() - before, sender.overflow.bytes
            assert held > 30_000_000
            assert grown < 1.5 * held
            receiver.close()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                sender.close(timeout=0)

    def test_a_watched_overflow_calls_once_per_crossing(self, pair: Pair) -> None:
        sender, receiver = pair
        calls: list[bool] = []
        high, low = threading.Event(), threading.Event()

        def crossed(overflow: object) -> None:
            calls.append(overflow.above_high)  # type: ignore[attr-defined]
            (high if calls[-1] else low).set()

        sender.watch_overflow(high=100_000, low=10_000, callback=crossed)
        count = 10_000
        for number in range(count):
            sender.send(shards.frame(number))
        assert high.wait(60)
        assert calls == [True]
        drain_all(receiver, 0, count)
        assert low.wait(60)
        assert calls == [True, False]

    def test_chunks_are_received_in_place_and_keep_their_order(self, pair: Pair) -> None:
        sender, receiver = pair
        with sender.reserve_chunk(1000) as grant:
            assert grant.in_ring
            grant.view[:3] = b"abc"
            sender.send(Frame(1, [b"between"]))  # as another thread might do: it must not use the space of the grant
            grant.commit(3)
        with sender.reserve_chunk(1000):
            pass
        with sender.reserve_chunk(1000) as grant:
            grant.commit(0)
        with sender.reserve_chunk(1 << 20) as grant:
            assert not grant.in_ring
            grant.view[:2] = b"zz"
            grant.commit(2)
        expected = [Frame(1, [b"between"]), SnapshotChunk(b"abc"), SnapshotChunk(b"zz")]
        assert [receiver.recv(timeout=60) for _ in expected] == expected
        assert receiver.try_recv() is None


class TestTheShardIsSlowOrGone:
    def test_a_stopped_shard_is_not_dead_and_sends_go_on(self, pair: Pair, ended: Ended) -> None:
        sender, receiver = pair
        child, reports = start(ended, shards.hold_receiver, receiver)
        pid = reports.recv()
        os.kill(pid, signal.SIGSTOP)
        for number in range(5000):
            sender.send(shards.frame(number))
        assert not sender.receiver_gone
        assert sender.overflow.events > 0
        assert inspect_ring(sender.name).consumer.state is RoleState.ALIVE
        assert not sender.flush(timeout=0.05)

    def test_send_to_a_receiver_that_closed_gives_the_event_back_at_once(self, pair: Pair) -> None:
        sender, receiver = pair
        receiver.close()
        event = shards.frame(7)
        for _ in range(2):
            with pytest.raises(SendError) as failed:
                sender.send(event)
            assert failed.value.event is event
            assert failed.value.cause == "closed"
        with pytest.raises(SendError) as failed:
            sender.send_many([event, SnapshotBegin()])
        assert failed.value.unsent == [event, SnapshotBegin()]

    def test_dropping_the_receiver_is_closing_it(self) -> None:
        sender, receiver = replica_inbox_pair(1 << 16)
        sender.send(shards.frame(0))
        assert receiver.recv(1) is not None
        del receiver
        with pytest.raises(SendError):
            sender.send(shards.frame(1))
        sender.close()

    @pytest.mark.parametrize("reap", [True, False], ids=["reaped", "zombie"])
    def test_send_to_a_killed_shard_fails(self, pair: Pair, ended: Ended, reap: bool) -> None:
        sender, receiver = pair
        child, reports = start(ended, shards.hold_receiver, receiver)
        pid = reports.recv()
        sender.send(shards.frame(0))
        os.kill(pid, signal.SIGKILL)
        if reap:
            child.join(60)
        until = time.monotonic() + 60
        with pytest.raises(SendError) as failed:
            while time.monotonic() < until:
                sender.send(shards.frame(1))
                time.sleep(0.001)
        assert (failed.value.cause, failed.value.pid) == ("dead", pid)
        with pytest.raises(SendError):
            sender.send(shards.frame(1))
        if not reap:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                assert file.read().split()[2] in "RZ", "nobody has reaped it"

    def test_send_to_a_shard_that_exited_without_a_close_fails(self, pair: Pair, ended: Ended) -> None:
        sender, receiver = pair
        child, reports = start(ended, lambda pipe: (receiver.drain(), pipe.send(1), os._exit(0)))
        reports.recv()
        child.join(60)
        with pytest.raises(SendError) as failed:
            sender.send(shards.frame(1))
        assert failed.value.cause == "dead"


class TestTheRunnerIsGone:
    def test_a_closed_runners_events_all_arrive_before_the_end(self, pair: Pair) -> None:
        sender, receiver = pair
        sender.send_many([shards.frame(number) for number in range(10)])
        assert sender.close() == 0
        assert not receiver.sender_gone
        drain_all(receiver, 0, 10)
        assert receiver.sender_gone
        for _ in range(2):
            with pytest.raises(RecvError) as failed:
                receiver.recv(timeout=60)
            assert (failed.value.cause, failed.value.pid) == ("closed", os.getpid())

    def test_a_killed_runners_published_events_all_arrive_before_the_end(self, pair: Pair, ended: Ended) -> None:
        sender, receiver = pair
        child, reports = start(ended, lambda pipe: shards.hold_sender(sender, pipe, 100))
        pid = reports.recv()
        os.kill(pid, signal.SIGKILL)
        drain_all(receiver, 0, 100)
        with pytest.raises(RecvError) as failed:
            receiver.recv(timeout=60)
        assert (failed.value.cause, failed.value.pid) == ("dead", pid)

    def test_a_living_grandchild_does_not_keep_a_killed_runner_alive(self, pair: Pair, ended: Ended) -> None:
        sender, receiver = pair
        child, reports = start(ended, shards.hold_sender_with_a_child, sender)
        pid, grandchild = reports.recv()
        try:
            os.kill(pid, signal.SIGKILL)
            shards.check(receiver.recv(timeout=60), 0)
            with pytest.raises(RecvError):
                receiver.recv(timeout=60)
        finally:
            os.kill(grandchild, signal.SIGKILL)

    def test_a_parked_receiver_is_woken_by_a_close_and_by_a_death(self, ended: Ended) -> None:
        for kill in (False, True):
            sender, receiver = replica_inbox_pair(1 << 16)
            child, reports = start(ended, shards.park_until_gone, receiver)
            assert reports.recv() == "parked"
            if kill:
                _holder, holding = start(ended, lambda pipe, sender=sender: shards.hold_sender(sender, pipe, 1))
                os.kill(holding.recv(), signal.SIGKILL)
            else:
                sender.send(shards.frame(0))
                sender.close()
            assert reports.poll(60)
            assert reports.recv()[0] == ("dead" if kill else "closed")
            receiver.close()
            sender.close()

    def test_a_close_with_events_in_the_overflow_says_how_many_are_lost(self, pair: Pair) -> None:
        sender, _receiver = pair
        fill(sender)
        left = sender.overflow.events
        with pytest.warns(ResourceWarning, match="lost"):
            assert sender.close(timeout=0.05) == left

    def test_a_close_waits_for_a_shard_that_drains(self, pair: Pair) -> None:
        sender, receiver = pair
        count = 5000
        sender.send_many([shards.frame(number) for number in range(count)])
        thread = threading.Thread(target=drain_all, args=(receiver, 0, count))
        thread.start()
        assert sender.close(timeout=60) == 0
        thread.join()

    def test_a_process_that_ends_with_a_full_overflow_does_not_hang(self, ended: Ended) -> None:
        sender, receiver = replica_inbox_pair(1 << 16)
        code = f"import shards; shards.exit_with_a_full_overflow({sender.name!r}, 300)"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path])}
        process = subprocess.Popen([sys.executable, "-c", code], env=environment)
        got = 0
        try:
            while process.poll() is None or not receiver.sender_gone:
                receiver.wait(0.2)
                with receiver.drain() as batch:
                    got += len(batch)
        finally:
            process.kill()
            process.wait()
        assert got == 300, "the exit flushed what the shard was willing to take"
        receiver.close()
        sender.close()

    def test_a_process_that_ends_before_a_stopped_shard_gives_up_in_time(self) -> None:
        sender, receiver = replica_inbox_pair(1 << 16)
        receiver.drain()
        code = f"import shards; shards.exit_with_a_full_overflow({sender.name!r}, 300)"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path])}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, timeout=120, capture_output=True, check=True, text=True
        )
        assert "events in the overflow" in done.stderr
        receiver.close()
        sender.close()


class TestBadEvents:
    @pytest.mark.parametrize(
        ("event", "error"),
        [
            (Frame(1, [b"SET", "text"]), TypeError),  # type: ignore[list-item]
            (Frame(1, [b"SET", 5]), TypeError),  # type: ignore[list-item]
            (Frame(1, [b"SET", None]), TypeError),  # type: ignore[list-item]
            (Frame(1, b"SET"), TypeError),  # type: ignore[arg-type]
            (Frame(1, []), ValueError),
            (Frame(-1, [b"SET"]), ValueError),
            (Frame(2**64, [b"SET"]), ValueError),
            (Frame(1.5, [b"SET"]), TypeError),  # type: ignore[arg-type]
            (SnapshotEnd(-1), ValueError),
            (SnapshotChunk("text"), TypeError),  # type: ignore[arg-type]
            ("no event", TypeError),
            (None, TypeError),
        ],
    )
    def test_a_bad_event_is_refused_and_nothing_is_half_queued(
        self, pair: Pair, event: Frame, error: type[Exception]
    ) -> None:
        sender, receiver = pair
        with pytest.raises(error):
            sender.send(event)
        with pytest.raises(error):
            sender.send_many([Frame(1, [b"fine"]), event])
        assert receiver.try_recv() is None
        sender.send(shards.frame(3))
        shards.check(receiver.recv(1), 3)


class TestRoles:
    def test_a_second_live_sender_or_receiver_is_refused(self, pair: Pair) -> None:
        sender, receiver = pair
        sender.send(shards.frame(0))
        receiver.recv(1)
        for attach, role in ((ReplicaInboxSender.attach, "producer"), (ReplicaInboxReceiver.attach, "consumer")):
            with pytest.raises(RoleTaken) as taken:
                attach(sender.name)
            assert (taken.value.name, taken.value.role, taken.value.pid) == (sender.name, role, os.getpid())

    def test_the_role_of_a_dead_holder_is_taken_over(self, pair: Pair, ended: Ended) -> None:
        sender, receiver = pair
        child, reports = start(ended, lambda pipe: shards.hold_sender(sender, pipe, 3))
        pid = reports.recv()
        with pytest.raises(RoleTaken) as taken:
            ReplicaInboxSender.attach(sender.name)
        assert taken.value.pid == pid
        os.kill(pid, signal.SIGKILL)
        child.join(60)
        sender.send(shards.frame(3))
        drain_all(receiver, 0, 4)
        assert not receiver.sender_gone

    def test_a_stopped_holder_keeps_its_role(self, pair: Pair, ended: Ended) -> None:
        sender, receiver = pair
        child, reports = start(ended, shards.hold_receiver, receiver)
        os.kill(reports.recv(), signal.SIGSTOP)
        with pytest.raises(RoleTaken):
            ReplicaInboxReceiver.attach(sender.name)


class TestThreads:
    def test_a_sender_can_be_cloned_and_used_from_any_thread(self, pair: Pair) -> None:
        sender, receiver = pair
        clones = [sender.clone() for _ in range(4)]

        def run(number: int, handle: ReplicaInboxSender) -> None:
            for i in range(500):
                handle.send(Frame(number * 1000 + i, [b"x" * 100]))
            handle.close()

        threads = [threading.Thread(target=run, args=item) for item in enumerate(clones)]
        for thread in threads:
            thread.start()
        seen: list[int] = []
        while len(seen) < 2000:
            receiver.wait(60)
            with receiver.drain() as batch:
                seen += batch.offsets.tolist()
        for thread in threads:
            thread.join()
        for number in range(4):
            assert [offset for offset in seen if offset // 1000 == number] == [number * 1000 + i for i in range(500)]
        assert not receiver.sender_gone, "one handle is left"
        sender.close()
        assert receiver.sender_gone

    def test_a_receiver_can_be_used_from_any_thread_a_batch_at_a_time(self, pair: Pair) -> None:
        sender, receiver = pair
        count, large = 6000, 2999  # one is larger than the ring
        seen: list[int] = []
        failures: list[BaseException] = []

        def drain(max_events: int) -> None:
            while len(seen) < count and not failures:
                try:
                    with receiver.drain(max_events) as batch:
                        if not len(batch):
                            continue
                        assert receiver._open_batch is batch
                        offsets, lengths = batch.offsets, batch.lengths
                        kept = offsets.tolist(), lengths.tolist()
                        for event in batch:
                            assert len(event.argv[0]) == (100_000 if event.offset == large else event.offset % 50)
                        seen.extend(kept[0])
                    assert (offsets.tolist(), lengths.tolist()) == kept, "columns that are kept change"
                except BatchOpen:
                    pass
                except BaseException as failure:
                    failures.append(failure)
                    raise

        threads = [threading.Thread(target=drain, args=(number,), daemon=True) for number in (1, 7, 1500)]
        for thread in threads:
            thread.start()
        for offset in range(count):
            sender.send(Frame(offset, [b"x" * (100_000 if offset == large else offset % 50)]))
        for thread in threads:
            thread.join(40)
            assert not thread.is_alive()
        assert not failures
        assert sorted(seen) == list(range(count))

    def test_a_closed_clone_is_closed_for_itself_only(self, pair: Pair) -> None:
        sender, _receiver = pair
        clone = sender.clone()
        assert clone.close() == 0
        with pytest.raises(ClosedError):
            clone.send(shards.frame(0))
        sender.send(shards.frame(0))


class TestFork:
    def test_a_handle_that_took_its_role_raises_in_a_forked_child_whose_exit_changes_nothing(
        self, pair: Pair, ended: Ended
    ) -> None:
        sender, receiver = pair
        fill(sender)
        receiver.try_recv()

        def child(pipe: object) -> None:
            caught = []
            for use in (
                lambda: receiver.sender_gone,
                lambda: sender.send(shards.frame(1)),
                receiver.drain,
                lambda: receiver.wait(0),
                sender.clone().send,
            ):
                try:
                    use()  # type: ignore[operator]
                except ClosedError as error:
                    caught.append(error.reason)
                except TypeError:
                    caught.append("clone")
            sender.close()
            receiver.close()
            pipe.send(caught)  # type: ignore[attr-defined]

        process, reports = start(ended, child)
        assert reports.recv() == ["forked", "forked", "forked", "forked", "clone"]
        process.join(60)
        stats = inspect_ring(sender.name)
        assert stats.producer.state is RoleState.ALIVE
        assert stats.consumer.state is RoleState.ALIVE
        sender.send(shards.frame(2))
        assert receiver.try_recv() is not None

    def test_a_handle_that_was_not_used_yet_is_taken_by_the_child(self, pair: Pair, ended: Ended) -> None:
        sender, receiver = pair
        child, reports = start(ended, shards.drain_until_gone, receiver)
        receiver.close()
        for number in range(3000):
            sender.send(shards.frame(number))
        sender.close(timeout=60)
        assert reports.recv() == 3000


class TestDrains:
    def test_a_drain_at_its_budget_says_more_and_leaves_the_doorbell_rung(self, pair: Pair) -> None:
        sender, receiver = pair
        fd = receiver.fileno()
        sender.send_many([shards.frame(number) for number in range(10)])
        with receiver.drain(max_events=9) as batch:
            assert batch.more
        assert select.select([fd], [], [], 0)[0]
        with receiver.drain(max_events=9) as batch:
            assert not batch.more
        assert not select.select([fd], [], [], 0)[0]

    def test_an_idle_receiver_sleeps(self, pair: Pair) -> None:
        _sender, receiver = pair
        before = time.process_time()
        assert not receiver.wait(timeout=1.0)
        assert time.process_time() - before < 0.25

    def test_an_empty_drain_allocates_nothing(self, pair: Pair) -> None:
        _sender, receiver = pair
        with receiver.drain() as empty:
            assert len(empty) == 0
        assert receiver.drain() is receiver.drain()
        tracemalloc.start()
        try:
            for _ in range(10):
                receiver.drain()
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(1000):
                receiver.drain()
            assert tracemalloc.get_traced_memory()[0] - before < 200
        finally:
            tracemalloc.stop()

    def test_a_second_drain_while_a_batch_is_open_is_an_error(self, pair: Pair) -> None:
        sender, receiver = pair
        sender.send_many([shards.frame(0), shards.frame(1)])
        with receiver.drain(max_events=1):
            for use in (receiver.drain, receiver.try_recv):
                with pytest.raises(BatchOpen):
                    use()
        shards.check(receiver.recv(1), 1)

    def test_a_batch_is_released_whole_by_a_normal_exit_iterated_or_not(self, pair: Pair) -> None:
        sender, receiver = pair
        sender.send_many([shards.frame(number) for number in range(5)])
        with receiver.drain(max_events=3):
            pass
        with receiver.drain() as batch:
            assert [event.offset for event in batch] == [3, 4]
        assert receiver.try_recv() is None

    def test_an_exception_at_event_k_releases_those_before_it(self, pair: Pair) -> None:
        sender, receiver = pair
        sender.send_many([shards.frame(number) for number in range(5)])
        with pytest.raises(ZeroDivisionError), receiver.drain() as batch:
            for event in batch:
                argv = event.argv
                if event.offset == 3:
                    _ = len(argv) / 0
        assert argv[1] == b"key:3", "the view in the traceback keeps its bytes"
        drain_all(receiver, 3, 5)

    def test_an_exception_in_a_function_that_iterates_counts_as_inside(self, pair: Pair) -> None:
        sender, receiver = pair
        sender.send_many([shards.frame(number) for number in range(5)])

        def apply(batch: object) -> None:
            for number, event in enumerate(batch):  # type: ignore[call-overload]
                if number == 2:
                    raise KeyError(event.offset)

        with pytest.raises(KeyError), receiver.drain() as batch:
            apply(batch)
        drain_all(receiver, 2, 5)

    def test_an_exception_outside_an_iteration_releases_nothing(self, pair: Pair) -> None:
        sender, receiver = pair
        sender.send_many([shards.frame(number) for number in range(5)])
        with pytest.raises(KeyError), receiver.drain():
            raise KeyError
        with pytest.raises(KeyError), receiver.drain() as batch:
            for _event in batch:
                pass
            raise KeyError
        with pytest.raises(KeyError), receiver.drain() as batch:
            for event in batch:
                if event.offset == 3:
                    break
            raise KeyError
        drain_all(receiver, 0, 5)


class TestViews:
    def test_a_release_with_escaped_views_raises_and_holds_the_space(self, pair: Pair) -> None:
        sender, receiver = pair
        sender.send(shards.frame(5))
        batch = receiver.drain()
        kept = batch[0].argv
        with pytest.raises(ViewsEscaped) as escaped:
            batch.release()
        assert escaped.value.held > 0
        assert inspect_ring(sender.name).used_bytes > 0
        last = fill(sender, 6)
        assert [bytes(argument) for argument in kept] == shards.frame(5).argv
        del kept
        batch.release()
        drain_all(receiver, 6, last)

    def test_slices_and_arrays_made_from_views_count_as_escaped(self, pair: Pair) -> None:
        import numpy as np

        sender, receiver = pair
        sender.send(shards.frame(5))
        batch = receiver.drain()
        for derive in (lambda view: view[1:2], lambda view: np.frombuffer(view, np.uint8)):
            kept = derive(batch[0].argv[1])
            with pytest.raises(ViewsEscaped):
                batch.release()
            assert len(kept)
            del kept
        batch.release()

    def test_an_event_touched_after_the_release_says_so(self, pair: Pair) -> None:
        sender, receiver = pair
        sender.send_many([shards.frame(5), shards.frame(6)])
        with receiver.drain() as batch:
            event = batch[0]
        assert event.offset == 5
        with pytest.raises(ClosedError):
            _ = event.argv
        with pytest.raises(ClosedError):
            _ = batch.buffer

    def test_a_close_with_live_views_is_silent_and_the_views_keep_their_bytes(self) -> None:
        with Ring.create(1 << 16) as ring:
            sender = ReplicaInboxSender.attach(ring.name)
            receiver = ReplicaInboxReceiver.attach(ring.name)
            sender.send(shards.frame(5))
            kept = receiver.drain()[0].argv
            receiver.close()
            sender.close()
            with ReplicaInboxReceiver.attach(ring.name) as successor, ReplicaInboxSender.attach(ring.name) as again:
                shards.check(successor.recv(1), 5)
                last = fill(again, 100)
                gc.collect()
                assert [bytes(argument) for argument in kept] == shards.frame(5).argv
                drain_all(successor, 100, last)
        assert bytes(kept[1]) == b"key:5", "also when everything is closed and the name is gone"

    def test_views_are_read_only(self, pair: Pair) -> None:
        sender, receiver = pair
        sender.send(shards.frame(5))
        with receiver.drain() as batch:
            with pytest.raises(TypeError):
                batch[0].argv[0][0] = 1
            assert batch.buffer.readonly


class TestSnapshots:
    def test_the_snapshot_of_an_empty_upstream_is_applied_without_an_offset(self, pair: Pair) -> None:
        sender, receiver = pair
        sender.send_many([SnapshotBegin(), SnapshotEnd(0)])
        with receiver.drain():
            pass
        assert sender.loading
        receiver.mark_applied(None)
        assert not sender.loading
        assert sender.applied_offset is None

    def test_loading_lasts_from_the_begin_that_was_sent_to_the_end_that_was_applied(self, pair: Pair) -> None:
        sender, receiver = pair
        assert not sender.loading
        assert sender.applied_offset is None
        sender.send_many([SnapshotBegin(), SnapshotChunk(b"x"), SnapshotBegin(), SnapshotEnd(9)])
        assert sender.loading
        with receiver.drain() as batch:
            for event in batch:
                if isinstance(event, SnapshotEnd):
                    assert sender.loading
                    receiver.mark_applied(event.ack_offset)
                    assert not sender.loading
        sender.send(SnapshotBegin())
        assert sender.loading
        sender.send(SnapshotEnd(4))
        with receiver.drain() as batch:
            pass
        assert sender.loading, "drained is not applied"
        receiver.mark_applied(4)
        assert not sender.loading
        assert sender.applied_offset == 4


class TestCorruption:
    @pytest.mark.parametrize(
        ("at", "value", "field"),
        [
            (0, b"\xff\xff\xff\x7f", "record length"),
            (4, b"\x63", "record kind"),
            (5, b"\x80", "record flags"),
            (6, b"\x01", "reserved"),
            (16, b"\xff\xff\xff\xff", "number of arguments"),
            (24, b"\xff\xff\x00\x00", "end position"),
        ],
    )
    def test_a_corrupt_record_names_its_position_and_the_ring_is_refused(
        self, pair: Pair, at: int, value: bytes, field: str
    ) -> None:
        sender, receiver = pair
        good = Frame(1, [b"ab", b"cd"])
        sender.send_many([good, good])
        page = os.sysconf("SC_PAGE_SIZE")
        second = 16 + 4 + 8 + 4
        with open(f"/dev/shm/{sender.name}", "r+b") as file:
            file.seek(page + second + at)
            file.write(value)
        assert receiver.recv(1) == good
        for _ in range(2):
            with pytest.raises(CorruptRing) as corrupt:
                receiver.recv(1)
            assert corrupt.value.position == second
            assert field in corrupt.value.field

    def test_a_corrupt_tail_or_head_is_named(self) -> None:
        for at, use in ((128, "receiver"), (256, "sender")):
            sender, receiver = replica_inbox_pair(1 << 16)
            sender.send(shards.frame(0))
            receiver.drain().release()
            with open(f"/dev/shm/{sender.name}", "r+b") as file:
                file.seek(at)
                file.write((1 << 40).to_bytes(8, "little"))
            with pytest.raises(CorruptRing):
                if use == "receiver":
                    receiver.drain()
                else:
                    for number in range(10_000):
                        sender.send(shards.frame(number))
            receiver.close()
            sender.close(timeout=0)


def test_pairs_are_made_together_or_not_at_all() -> None:
    pairs = replica_inbox_pairs(3, capacity=4096, name=f"kevy-p{os.getpid()}")
    try:
        assert [sender.name for sender, _ in pairs] == [f"kevy-p{os.getpid()}-{i}" for i in range(3)]
        pairs[0][0].close()
        pairs[0][1].close()  # room for number 0; number 1 fails
        with pytest.raises(SegmentError) as failed:
            replica_inbox_pairs(5, capacity=4096, name=f"kevy-p{os.getpid()}")
        assert failed.value.reason == "exists"
        assert not os.path.exists(f"/dev/shm/kevy-p{os.getpid()}-0")
    finally:
        for sender, receiver in pairs:
            sender.close()
            receiver.close()
