"""A batch without a reference ends and releases nothing: its events are drained again, and nothing is blocked."""

from __future__ import annotations

import gc
import itertools
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import numpy as np
import pytest

from alarms import Alarm, Alarms
from kevy_ring import (
    BatchOpen,
    ClosedError,
    Frame,
    ReplicaApply,
    ReplicaInboxReceiver,
    ReplicaInboxSender,
    Ring,
    SnapshotChunk,
    ViewsEscaped,
    replica_inbox_pair,
)
from kevy_ring.ring.consumer import Consumer
from kevy_ring.shard.shard import Shard

Inbox = tuple[ReplicaInboxSender, ReplicaInboxReceiver]
INTERRUPTIONS = 100


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    sender, receiver = replica_inbox_pair(1 << 16)
    with receiver:
        yield sender, receiver
        sender.close()


@pytest.fixture(autouse=True)
def no_collection() -> Iterator[None]:
    """Abandoned batches are found without the cyclic collector, which a shard may have switched off."""
    gc.disable()
    yield
    gc.enable()


def frames(*offsets: int) -> list[ReplicaApply]:
    return [Frame(offset, [b"SET", b"key:%d" % offset, b"value"]) for offset in offsets]


def offsets_of(batch: Any) -> list[int]:
    return [event.offset for event in batch]


def drained(receiver: ReplicaInboxReceiver) -> list[int]:
    with receiver.drain() as batch:
        return offsets_of(batch)


# Each uses a batch in its own way, and returns what the test keeps of it.
DROPS: dict[str, Callable[[Any], Any]] = {
    "not looked at": lambda batch: None,
    "iterated": lambda batch: list(map(type, batch)) and None,
    "columns read": lambda batch: batch.offsets.sum() and None,
    "arguments read": lambda batch: [len(event.argv) for event in batch] and None,
    "arguments read by number": lambda batch: [len(batch.argv(i)) for i in range(len(batch))] and None,
    "payloads read": lambda batch: bytes(batch.buffer) and None,
    "left in the middle of an iteration": lambda batch: next(iter(batch)) and None,
    "columns kept": lambda batch: batch.offsets,
    "a view kept": lambda batch: batch[1].argv[1],
    "an array of a view kept": lambda batch: np.frombuffer(batch.payload(0), np.uint8),
}


@pytest.mark.parametrize("count", [3, 100])
@pytest.mark.parametrize("use", DROPS)
def test_a_dropped_batch_releases_nothing_and_blocks_nothing(inbox: Inbox, use: str, count: int) -> None:
    sender, receiver = inbox
    sender.send_many(frames(*range(count)))
    kept = [DROPS[use](receiver.drain()) for _ in range(2)]
    before = [None if one is None else bytes(one) for one in kept]
    assert receiver.stats().events_out == 0
    assert drained(receiver) == list(range(count))
    sender.send_many([Frame(i, [b"x" * 100]) for i in range(2 * count)])  # overwrites the released records
    assert drained(receiver) == list(range(2 * count))
    assert [None if one is None else bytes(one) for one in kept] == before


@pytest.mark.parametrize("read", ["try_recv", "recv", "recv_many", "__iter__"])
def test_every_way_to_receive_goes_on_after_a_dropped_batch(inbox: Inbox, read: str) -> None:
    sender, receiver = inbox
    sender.send_many(frames(1, 2))
    view = receiver.drain()[0].argv[1]
    found = getattr(receiver, read)()
    event = found if isinstance(found, Frame) else next(iter(found))
    assert (event.offset, view) == (1, b"key:1")


@pytest.mark.parametrize("read", [Consumer.try_read, Consumer.read, Consumer.read_many, Consumer.drain])
def test_every_way_to_read_goes_on_after_a_dropped_batch(read: Callable[[Consumer], Any]) -> None:
    with Ring.create(1 << 16) as ring, ring.producer() as producer, ring.consumer() as consumer:
        producer.write_many([b"first", b"second"])
        consumer.drain()
        view = consumer.drain()[0]
        found = read(consumer)
        assert found == b"first" or found[0] == b"first"
        assert view == b"first"


def begun(batch: Any) -> Any:
    """An iteration that has given its first event."""
    running = iter(batch)
    next(running)
    return running


def test_what_holds_a_batch_holds_it_open(inbox: Inbox) -> None:
    sender, receiver = inbox
    sender.send_many(frames(*range(20)))
    holders: list[Callable[[], Any]] = [
        lambda: iter(receiver.drain()),
        lambda: next(iter(receiver.drain())),
        lambda: receiver.drain()[3],
        lambda: [*receiver.drain()],
        lambda: begun(receiver.drain()),
    ]
    for holder in holders:
        held = holder()
        with pytest.raises(BatchOpen):
            receiver.drain()
        del held
        assert receiver.stats().events_out == 0
    batch = receiver.drain()
    events = list(batch)
    del batch
    assert [event.argv[1] for event in events if isinstance(event, Frame)] == [b"key:%d" % i for i in range(20)]
    del events
    assert drained(receiver) == list(range(20))


def test_what_was_released_of_a_dropped_batch_stays_released(inbox: Inbox) -> None:
    sender, receiver = inbox
    sender.send_many(frames(*range(5)))
    batch = receiver.drain()
    batch.release(2)
    del batch
    assert drained(receiver) == [2, 3, 4]


def test_a_batch_in_a_cycle_is_abandoned_by_the_collector_in_whatever_thread(inbox: Inbox) -> None:
    sender, receiver = inbox
    sender.send_many(frames(*range(5)))
    cycle: list[Any] = [receiver.drain()]
    cycle.append(cycle)
    cycle[0].argv(0)
    del cycle
    with pytest.raises(BatchOpen):
        receiver.drain()
    collector = threading.Thread(target=gc.collect)
    collector.start()
    collector.join()
    assert drained(receiver) == list(range(5))


def test_a_waiter_in_another_thread_sees_the_events_of_a_batch_that_is_abandoned(inbox: Inbox) -> None:
    sender, receiver = inbox
    sender.send_many(frames(1))
    batch = receiver.drain()
    waits = threading.Thread(target=receiver.wait)
    waits.start()
    time.sleep(0.1)
    del batch
    waits.join(60)
    assert not waits.is_alive()
    assert drained(receiver) == [1]


def test_a_batch_that_is_dropped_in_one_thread_is_drained_in_another(inbox: Inbox) -> None:
    sender, receiver = inbox
    sender.send_many(frames(*range(50)))
    ends = time.monotonic() + 1.0
    seen: list[list[int]] = []
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def drop_and_drop() -> None:
        while time.monotonic() < ends:
            with suppress(BatchOpen):
                found = offsets_of(receiver.drain())
                if found != list(range(50)):
                    seen.append(found)

    threads = [threading.Thread(target=drop_and_drop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(before)
    assert seen == []
    assert receiver.stats().events_out == 0
    assert drained(receiver) == list(range(50))


def test_an_abandoned_end_of_an_event_larger_than_the_ring_comes_whole_again() -> None:
    sender, receiver = replica_inbox_pair(4096)
    with sender, receiver:
        large = bytes(range(256)) * 50
        sender.send(SnapshotChunk(large))
        found: list[bytes] = []
        while len(found) < 3:
            receiver.wait(60)
            batch = receiver.drain()
            if len(batch):
                event = batch[0]
                assert isinstance(event, SnapshotChunk)
                found.append(bytes(event.data))
                del event
            del batch
        assert found == [large] * 3
        assert receiver.recv(60) == SnapshotChunk(large)
        assert receiver.try_recv() is None


def test_a_consumer_that_is_dropped_with_its_open_batch_gives_its_role_up() -> None:
    with Ring.create(1 << 16) as ring, ring.producer() as producer:
        producer.write_many([b"first", b"second"])
        consumer = ring.consumer()
        view = consumer.drain()[0]
        del consumer
        with ring.consumer() as successor:
            assert successor.read_many() == [b"first", b"second"]
            while producer.try_write(b"x" * 1000):
                pass
            assert view == b"first"


def test_views_over_a_break_get_a_copy_and_the_batch_is_released(inbox: Inbox) -> None:
    sender, receiver = inbox
    sender.send_many(frames(1, 2))

    async def main() -> None:
        async for batch in receiver:
            kept = batch[0].argv[1]
            break
        sender.send_many(frames(*range(3, 500)))
        assert drained(receiver) == list(range(3, 500))
        assert kept == b"key:1"

    anyio.run(main)


def test_a_batch_that_was_left_with_views_kept_is_still_open_while_somebody_has_it(inbox: Inbox) -> None:
    sender, receiver = inbox
    sender.send_many(frames(1))
    with pytest.raises(ViewsEscaped), receiver.drain() as batch:
        kept = batch.argv(0)
    with pytest.raises(BatchOpen):
        receiver.drain()
    del kept
    batch.release()
    assert drained(receiver) == []
    with pytest.raises(ClosedError):
        batch.argv(0)


class Ledger:
    """Sends frames with rising offsets, and compares the receiver with the ring's own count of released events.

    It is also the sink of the shard under test.
    """

    durable = True

    def __init__(self, inbox: Inbox) -> None:
        self.sender, self.receiver = inbox
        self.sent = itertools.count()
        self.applied: set[int] = set()
        self.receiver.wait(0)  # takes the role
        self.top_up()

    def top_up(self) -> None:
        if not self.receiver.stats().used_bytes:
            self.sender.send_many(frames(*(next(self.sent) for _ in range(8))))

    def apply(self, offset: int, argv: Sequence[Any]) -> None:
        assert argv[1] == b"key:%d" % offset
        self.applied.add(offset)

    def load(self, entries: Any) -> None:
        raise NotImplementedError

    def flush(self) -> None:
        """There is nothing to flush."""

    def check(self) -> None:
        """Assert that the next drain begins with the first event that was not released."""
        released = self.receiver.stats().events_out
        batch = self.receiver.drain(4)
        assert offsets_of(batch) == list(range(released, released + len(batch)))
        self.applied.update(batch.offsets.tolist())
        batch.release()
        self.top_up()


def drain_with(read: Callable[[Any], object]) -> Callable[[Ledger], Callable[[], None]]:
    sizes = itertools.cycle([3, 3, 3, 2, 5])  # another size of the batch takes the general path

    def make(ledger: Ledger) -> Callable[[], None]:
        def once() -> None:
            with ledger.receiver.drain(next(sizes)) as batch:
                read(batch)

        return once

    return make


def one_of_a_stream(ledger: Ledger) -> Callable[[], None]:
    """One step of `async for` without an event loop, which would handle signals in its own way."""

    async def no_wait(timeout: float | None = None) -> bool:
        return True

    ledger.receiver.wait_async = no_wait  # type: ignore[method-assign]

    async def main() -> None:
        async for batch in ledger.receiver.batches(3):
            for event in batch:
                assert isinstance(event, Frame)
                assert event.argv[1] == b"key:%d" % event.offset
            break

    def once() -> None:
        running = main()
        with suppress(StopIteration):
            running.send(None)

    return once


def tick(ledger: Ledger) -> Callable[[], None]:
    shard = Shard(ledger.receiver, ledger, max_events=3)
    return lambda: shard.tick() and None


TAKES: dict[str, Callable[[Ledger], Callable[[], object]]] = {
    "a drain of which nothing is read": drain_with(lambda batch: None),
    "arguments": drain_with(lambda batch: [event.argv for event in batch] and None),
    "a view kept by the traceback": drain_with(lambda batch: [event for event in batch if len(event.argv[1][1:])]),
    "columns": drain_with(lambda batch: batch.offsets.sum()),
    "payloads": drain_with(lambda batch: [len(batch.payload(i)) for i in range(len(batch))]),
    "a batch without with": lambda ledger: lambda: ledger.receiver.drain(3).release(),
    "a part released": drain_with(lambda batch: batch.release(min(1, len(batch)))),
    "recv": lambda ledger: partial(ledger.receiver.recv, 0),
    "recv_many": lambda ledger: partial(ledger.receiver.recv_many, 3),
    "async for": one_of_a_stream,
    "a shard": tick,
}


def interrupted(seed: int, times: int, once: Callable[[], object], ledger: Ledger) -> int:
    """Repeat ``once`` under alarms, and check after each alarm that hit. Returns the number of hits."""
    hits = 0
    with Alarms(seed) as alarms:
        while hits < times:
            before = hits
            try:
                alarms.set()
                for _ in range(100):
                    once()
                    alarms.quiet(ledger.top_up)
                alarms.off()
            except Alarm:
                hits += 1
                alarms.still(ledger.check)  # here the traceback still holds all variables
            if hits > before:
                alarms.still(ledger.check)
    return hits


@pytest.mark.timeout(240, method="thread")  # pytest-timeout's other method uses the alarm
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")  # the alarm came first
@pytest.mark.parametrize("take", TAKES)
def test_an_alarm_at_any_moment_leaves_no_batch_open_and_loses_nothing(
    inbox: Inbox, take: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For exceptions in a `__del__`. pytest's hook would keep them, and all that their tracebacks refer to.
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)
    ledger = Ledger(inbox)
    once = TAKES[take](ledger)
    assert interrupted(1, INTERRUPTIONS, once, ledger) == INTERRUPTIONS
    if take == "a shard":
        assert ledger.applied >= set(range(ledger.receiver.stats().events_out))


@pytest.mark.timeout(240, method="thread")
def test_an_alarm_neither_loses_nor_doubles_a_part_of_an_event_larger_than_the_ring() -> None:
    sender, receiver = replica_inbox_pair(4096)
    events = [SnapshotChunk(random.Random(i).randbytes(4097 * (1 + i % 3))) for i in range(120)]
    found: list[Any] = []

    def forget_what_comes_again() -> None:
        del found[receiver.stats().events_out :]

    hits = 0
    receiver.wait(0)  # takes the role
    with sender, receiver, Alarms(2) as alarms:
        alarms.quiet(lambda: sender.send_many(events))
        while len(found) < len(events):
            try:
                alarms.set()
                with receiver.drain() as batch:
                    copies = [batch.owned(i) for i in range(len(batch))]
                    found += copies  # must come last: no call follows until the end of the `with`
                alarms.off()
            except Alarm:
                hits += 1
                alarms.still(forget_what_comes_again)
    assert found == events
    assert hits
