"""Fan-in: one consumer process for many rings."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import selectors
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess

import pytest

import group_children as children
from kevy_ring import (
    BatchOpen,
    ClosedError,
    Consumer,
    CorruptRing,
    Frame,
    GroupEnded,
    InboxGroup,
    Producer,
    RecvError,
    Ring,
    RingGroup,
    SegmentError,
    SendError,
    replica_inbox_pairs,
)
from kevy_ring.group import members
from kevy_ring.group.ready_set import ReadySet
from kevy_ring.ring import ring_names

Ended = Callable[[BaseProcess], BaseProcess]
Many = tuple[RingGroup, list[Producer]]


@pytest.fixture
def many() -> Iterator[Many]:
    """A group of three rings of 64 KiB, with the producers in the same process."""
    group, producers = RingGroup.create(3, 1 << 16)
    yield group, producers
    group.close()
    for producer in producers:
        producer.close()


def numbers(count: int, of: str = "") -> list[bytes]:
    return [b"%s%d" % (of.encode(), number) for number in range(count)]


def test_records_of_all_rings_come_in_the_order_of_each_ring(many: Many) -> None:
    group, producers = many
    for ring, producer in enumerate(producers):
        assert producer.write_many(numbers(100, f"{ring}:")) == 100
        producer.close()
    records = list(group)
    assert len(records) == 300
    for ring in range(3):
        assert [record for record in records if record.startswith(b"%d:" % ring)] == numbers(100, f"{ring}:")
    assert {(end.name, end.cause) for end in group.ended} == {(each.name, "closed") for each in producers}
    assert group.sender_gone
    assert len(group) == 0


def drained(group: RingGroup) -> list[bytes]:
    with group.drain(max_records=20) as batch:
        return [bytes(record) for record in batch]


def read_once(group: RingGroup) -> list[bytes]:
    record = group.try_read()
    return [] if record is None else [record]


@pytest.mark.parametrize(
    ("take", "turn"),
    [(drained, 20), (lambda group: group.read_many(20), 20), (read_once, 16)],
    ids=["drain", "read_many", "read"],
)
def test_a_ring_that_is_always_full_does_not_starve_the_others(
    many: Many, take: Callable[[RingGroup], list[bytes]], turn: int
) -> None:
    group, (busy, *quiet) = many
    waited: list[int] = []
    for _ in range(50):
        for producer in quiet:
            assert producer.try_write(producer.name.encode())
        missing, between = {producer.name.encode() for producer in quiet}, 0
        while missing:
            busy.write_many([b"busy"] * 100)  # it never runs dry
            for record in take(group):
                between += record == b"busy"
                missing.discard(record)
        waited.append(between)
    # Each quiet ring comes at the latest after one turn of the busy one; the busy one's turn may be under way at first.
    assert max(waited) <= 2 * turn
    assert sum(waited) > 0, "the busy ring was not served at all"


def test_a_group_of_busy_rings_gives_each_the_same(many: Many) -> None:
    group, producers = many
    counts = dict.fromkeys((producer.name for producer in producers), 0)
    for _ in range(300):
        for producer in producers:
            producer.write_many([b"x"] * 50)
        with group.drain(max_records=30) as batch:
            counts[batch.ring_name] += len(batch)
    assert set(counts.values()) == {3000}


def test_an_empty_drain_waits_for_nothing_and_an_open_batch_is_not_passed_by(many: Many) -> None:
    group, producers = many
    assert not group.drain()
    assert group.drain().ring_name == ""
    assert group.read_many() == []
    assert group.try_read() is None
    assert group.read(timeout=0.02) is None
    producers[0].try_write(b"one")
    producers[1].try_write(b"two")
    batch = group.drain()
    assert batch.ring_name in {producers[0].name, producers[1].name}
    for take in (group.drain, group.read_many, group.try_read):
        with pytest.raises(BatchOpen):
            take()
    batch.release()
    assert len(group.drain()) == 1


def test_an_exception_in_a_batch_gives_the_rest_again(many: Many) -> None:
    group, producers = many
    producers[1].write_many(numbers(10))
    with pytest.raises(ZeroDivisionError), group.drain() as batch:
        for record in batch:
            if record == b"4":
                raise ZeroDivisionError
    assert group.read_many() == numbers(10)[4:]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_producers_and_the_group_go_to_children(method: str, ended: Ended) -> None:
    context = multiprocessing.get_context(method)
    group, producers = RingGroup.create(3, 4096)
    ours, theirs = context.Pipe()
    reader = ended(context.Process(target=children.read_all, args=(group, theirs)))
    reader.start()
    for ring, producer in enumerate(producers):
        ended(context.Process(target=children.write_numbers, args=(producer, 1000 * ring, 1000))).start()
    assert ours.recv() == sorted(numbers(3000))
    group.close()


@pytest.mark.parametrize("sleeps", [False, True])
def test_a_killed_producer_is_named_once_after_its_last_record_and_the_others_continue(
    ended: Ended, sleeps: bool
) -> None:
    context = multiprocessing.get_context("fork")
    group, producers = RingGroup.create(3, 1 << 16)
    ours, theirs = context.Pipe()
    victim = ended(context.Process(target=children.write_and_hang, args=(producers[1], 100, theirs)))
    victim.start()
    assert ours.recv() == "written"
    if sleeps:
        assert group.read_many(1000) == numbers(100)
        threading.Thread(target=children.kill, args=(victim.pid, 0.2)).start()
    else:
        children.kill(victim.pid, 0)
        for number in range(100):
            assert group.read(timeout=60) == b"%d" % number
    with pytest.raises(RecvError, match=producers[1].name) as raised:
        group.read(timeout=60)
    assert (raised.value.name, raised.value.cause, raised.value.pid) == (producers[1].name, "dead", victim.pid)
    assert list(group.ended) == [raised.value]
    assert group.read(timeout=0.05) is None
    producers[0].try_write(b"alive")
    assert group.read(timeout=60) == b"alive"
    assert producers[1].name not in ring_names(), "the memory of a ring that ended is given back"
    with pytest.raises(SegmentError):
        Ring.attach(producers[1].name)
    group.close()


def test_every_end_is_told_to_the_callback_and_nothing_is_raised(ended: Ended) -> None:
    context = multiprocessing.get_context("fork")
    ends: list[tuple[Consumer, RecvError]] = []
    group, producers = RingGroup.create(3, 1 << 16, on_end=lambda consumer, error: ends.append((consumer, error)))
    ours, theirs = context.Pipe()
    victim = ended(context.Process(target=children.write_and_hang, args=(producers[0], 10, theirs)))
    victim.start()
    assert ours.recv() == "written"
    children.kill(victim.pid, 0)
    producers[1].write_many(numbers(10))
    producers[1].close()
    with producers[2]:
        pass  # a worker that has nothing to write
    assert sorted(group) == sorted(numbers(10) * 2)
    assert {error.name: error.cause for _, error in ends} == {
        producers[0].name: "dead",
        producers[1].name: "closed",
        producers[2].name: "closed",
    }
    assert [consumer.name for consumer, _ in ends] == [error.name for _, error in ends]
    with pytest.raises(GroupEnded):
        group.read()
    assert group.wait(timeout=0)
    assert not group.drain()


def test_a_successor_continues_in_the_ring_of_a_producer_that_was_killed(ended: Ended) -> None:
    context = multiprocessing.get_context("fork")
    group, producers = RingGroup.create(2, 1 << 16, awaits_successors=True)
    ours, theirs = context.Pipe()
    name = producers[0].name
    for take in range(3):
        child = ended(context.Process(target=children.write_by_name, args=(name, 10, theirs)))
        child.start()
        assert group.wait(timeout=60)
        assert ours.recv() == "written"
        if take:  # while the group sleeps
            assert group.read_many() == numbers(10)
            threading.Thread(target=children.kill, args=(child.pid, 0.1)).start()
        else:
            children.kill(child.pid, 0)
            assert [group.read(timeout=60) for _ in range(10)] == numbers(10)
        with pytest.raises(RecvError) as raised:
            group.read(timeout=60)
        assert (raised.value.name, raised.value.pid) == (name, child.pid)
        assert not group.wait(timeout=0.05), "an end is reported once"
    assert len(group) == 2
    assert [end.name for end in group.ended] == [name] * 3
    producers[1].try_write(b"other")
    assert group.read(timeout=60) == b"other"
    producers[1].close()
    assert group.read(timeout=0.05) is None
    assert group.ended[-1].cause == "closed"
    group.close()


def test_rings_join_and_leave_while_another_thread_waits(many: Many) -> None:
    group, producers = many
    found: list[bytes | None] = []
    thread = threading.Thread(target=lambda: found.extend(group.read(timeout=60) for _ in range(2)))
    thread.start()
    time.sleep(0.05)
    with Ring.create(4096) as ring, ring.producer() as producer:
        consumer = ring.consumer()
        producer.try_write(b"was here before")
        group.add(consumer)
        while len(found) < 1:
            time.sleep(0.001)
        producer.try_write(b"wakes")
        thread.join(60)
        assert found == [b"was here before", b"wakes"]
        assert group.remove(consumer)
        assert not group.remove(consumer)
        producer.try_write(b"not for the group")
        producers[2].try_write(b"for the group")
        assert group.read_many() == [b"for the group"]
        assert not group.wait(timeout=0)
        assert consumer.read(timeout=0) == b"not for the group", "a ring that left is as it was"
        consumer.close()
    for consumer in group.consumers:
        group.remove(consumer)
        consumer.close()
    with pytest.raises(GroupEnded):
        group.read()


def test_an_idle_group_sleeps_also_beside_a_dead_producer_and_a_full_doorbell(
    ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = multiprocessing.get_context("fork")
    group, producers = RingGroup.create(3, 1 << 16, awaits_successors=True, on_end=lambda consumer, error: None)
    ours, theirs = context.Pipe()
    victim = ended(context.Process(target=children.write_and_hang, args=(producers[0], 10, theirs)))
    victim.start()
    assert ours.recv() == "written"
    children.kill(victim.pid, 0)
    while not group.ended:
        group.read(timeout=1)
    looks = 0
    ready = ReadySet.ready

    def counted(self: ReadySet, timeout: float | None) -> list[Consumer]:
        nonlocal looks
        looks += 1
        return ready(self, timeout)

    monkeypatch.setattr(ReadySet, "ready", counted)
    assert not group.wait(timeout=1.5)  # each ring's timer runs out once in that time
    assert looks < 30
    group.close()


def test_a_group_can_be_watched_with_selectors(many: Many) -> None:
    group, producers = many
    with selectors.DefaultSelector() as selector:
        selector.register(group, selectors.EVENT_READ)
        assert selector.select(0) == []
        for producer in producers:
            producer.try_write(b"x")
            assert selector.select(60)
            assert group.read_many() == [b"x"]
            assert selector.select(0) == []
        producers[0].close()
        assert selector.select(60)
        assert group.read_many() == []
        assert [end.name for end in group.ended] == [producers[0].name]
        assert selector.select(0) == []


def test_a_close_wakes_a_thread_that_waits(many: Many) -> None:
    group, producers = many
    errors: list[Exception] = []

    def wait() -> None:
        try:
            group.wait()
        except ClosedError as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.1)
    group.close()
    thread.join(60)
    assert len(errors) == 1
    with pytest.raises(SendError):
        producers[0].try_write(b"x")
    for use in (group.read, group.drain, group.fileno, group.wait):
        with pytest.raises(ClosedError):
            use()
    group.close()


def test_a_consumer_that_is_closed_elsewhere_leaves_and_is_named(many: Many, monkeypatch: pytest.MonkeyPatch) -> None:
    group, producers = many
    monkeypatch.setattr(members, "LOOK_S", 0.05)
    assert not group.wait(0)
    group.consumers[0].close()
    with pytest.raises(ClosedError, match=producers[0].name):
        group.read(timeout=60)
    producers[1].try_write(b"x")
    assert group.read(timeout=60) == b"x"


def test_a_closed_consumer_whose_descriptor_a_forked_child_still_has_is_forgotten(many: Many, ended: Ended) -> None:
    group, producers = many
    assert not group.wait(0)
    child = ended(multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,)))
    child.start()
    producers[0].try_write(b"keeps the descriptor readable")
    group.consumers[0].close()
    with contextlib.suppress(ClosedError):
        group.wait(0)
    assert not group.wait(0.05)
    producers[1].try_write(b"x")
    assert group.read(timeout=60) == b"x"


def test_a_corrupt_ring_is_named_and_leaves_and_the_others_continue(many: Many) -> None:
    group, producers = many
    producers[0].try_write(b"x" * 8)
    producers[1].try_write(b"whole")
    with open(f"/dev/shm/{producers[0].name}", "r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 16)
    found: list[object] = []
    for _ in range(2):
        try:
            found.append(group.read(timeout=60))
        except CorruptRing as error:
            found.append(error.name)
    assert set(found) == {b"whole", producers[0].name}
    assert not group.wait(0.05)


def test_a_group_that_was_used_before_a_fork_is_the_parents(many: Many) -> None:
    group, producers = many
    assert not group.wait(0)
    pid = os.fork()
    if not pid:
        code = 1
        try:
            group.read(timeout=1)
        except ClosedError as error:
            code = 0 if error.reason == "forked" else 2
            group.close()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    producers[0].try_write(b"x")
    assert group.read(timeout=60) == b"x"


def test_a_signal_handler_that_raises_ends_a_wait_and_loses_nothing(many: Many) -> None:
    group, producers = many

    def interrupt(number: int, frame: object) -> None:
        raise InterruptedError

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(InterruptedError):
            group.read()
    finally:
        signal.signal(signal.SIGALRM, before)
    producers[2].try_write(b"x")
    assert group.read(timeout=60) == b"x"


def test_wrong_arguments_are_refused(many: Many) -> None:
    group, producers = many
    with pytest.raises(ValueError, match="at least one ring"):
        RingGroup.create(0)
    with pytest.raises(TypeError, match="takes a Consumer"):
        group.add(producers[0])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"below|least|maximum"):
        producers[0].try_write(b"x")
        group.drain(0)
    consumer = group.consumers[0]
    group.remove(consumer)
    consumer.close()
    with pytest.raises(ClosedError):
        group.add(consumer)
    with pytest.raises(TypeError, match="takes a ReplicaInboxReceiver"):
        InboxGroup(group.consumers)


def test_named_rings_are_left_behind_by_nothing() -> None:
    name = f"grp-{os.getpid()}"
    with Ring.create(4096, f"{name}-1"), pytest.raises(SegmentError):
        RingGroup.create(2, 4096, name)
    group, producers = RingGroup.create(2, 4096, name)
    assert [producer.name for producer in producers] == [f"{name}-0", f"{name}-1"]
    assert "2 rings" in repr(group)
    pickle.dumps(producers)  # they may be on their way to another process
    group.close()
    assert not {f"{name}-0", f"{name}-1"} & set(ring_names())
    assert repr(group) == "<RingGroup: closed>"


def test_events_of_many_inboxes_come_in_one_process() -> None:
    pairs = replica_inbox_pairs(3, 4096)
    with InboxGroup(receiver for _, receiver in pairs) as group:
        for ring, (sender, _) in enumerate(pairs):
            sender.send_many([Frame(100 * ring + i, [b"SET", b"k", b"v" * i]) for i in range(20)])
        assert group.recv(timeout=60) in [Frame(0, [b"SET", b"k", b""]), Frame(100, [b"SET", b"k", b""]),
                                          Frame(200, [b"SET", b"k", b""])]  # fmt: skip
        seen = 1
        while seen < 40:
            with group.drain(16) as batch:
                assert batch.offsets.dtype == "u8"
                seen += len(batch)
        while seen < 60:
            seen += len(group.recv_many())
        assert group.try_recv() is None
        pairs[0][0].send(Frame(1000, [b"SET", b"big", b"x" * 10_000]))  # in fragments, larger than the ring
        event = group.recv(timeout=60)
        assert event is not None
        assert event.offset == 1000
        for sender, _ in pairs:
            sender.close()
        assert list(group) == []
    assert len(group.ended) == 3


def test_a_ring_that_joins_with_a_record_is_not_taken_for_a_stranger() -> None:
    """Another thread may look between the two steps of a join."""
    with Ring.create(4096) as ring, ring.producer() as producer, ring.consumer() as consumer:
        producer.try_write(b"x")
        ready = ReadySet()
        register = ready._epoll.register

        class Slow:
            """The kernel's set, with a look of another thread right after each registration."""

            def __getattr__(self, name: str) -> object:
                return getattr(epoll, name)

            def register(self, fd: int, events: int) -> None:
                register(fd, events)
                assert ready.ready(0) == [consumer]

        epoll, ready._epoll = ready._epoll, Slow()  # type: ignore[assignment]
        ready.keep([consumer])
        assert ready.ready(0) == [consumer]
        ready.close()
