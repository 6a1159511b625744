"""Rings in an event loop: asyncio, uvloop, trio, and an application's own selectors."""

from __future__ import annotations

import gc
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from event_loops import DEADLINE_S, RunAsync, anyio, no_second_look, run_async
from kevy_ring import (
    BatchOpen,
    ClosedError,
    Consumer,
    Frame,
    Producer,
    RecvError,
    ReplicaInboxReceiver,
    ReplicaInboxSender,
    Ring,
    SendError,
    ViewsEscaped,
    replica_inbox_pair,
)
from kevy_ring.events import ReplicaApply
from kevy_ring.ring import event_loop
from kevy_ring.ring.event_loop import WaitingTasks, running_library
from kevy_ring.shard import RunEnd, Shard
from kevy_ring.shard.sinks.memory import MemorySink
from kevy_ring.shard.sinks.python import PythonSink

__all__ = ["no_second_look", "run_async"]

pytestmark = pytest.mark.usefixtures("no_second_look")

BIG = b"x" * 1000
Pair = tuple[ReplicaInboxSender, ReplicaInboxReceiver]


@pytest.fixture
def ends() -> Iterator[tuple[Producer, Consumer]]:
    """Both ends of a ring of one page."""
    with Ring.create(4096) as ring, ring.producer() as producer, ring.consumer() as consumer:
        yield producer, consumer


def frames(*offsets: int) -> list[ReplicaApply]:
    return [Frame(offset, [b"SET", b"k", b"%d" % offset]) for offset in offsets]


def offsets(receiver: ReplicaInboxReceiver) -> list[int]:
    with receiver.drain() as batch:
        return batch.offsets.tolist()  # type: ignore[no-any-return]


async def soon(act: Callable[[], object], after_s: float = 0.05) -> None:
    await anyio.sleep(after_s)
    act()


def test_a_wait_ends_when_an_event_comes(run_async: RunAsync, pair: Pair) -> None:
    sender, receiver = pair

    async def main() -> None:
        assert not await receiver.wait_async(0)
        assert not await receiver.wait_async(0.02)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(soon, partial(sender.send, Frame(7, [b"PING"])))
            assert await receiver.wait_async()
        assert await receiver.wait_async(0)
        assert offsets(receiver) == [7]
        assert not await receiver.wait_async(0)

    run_async(main)


def test_other_tasks_run_while_there_is_always_something(run_async: RunAsync, pair: Pair) -> None:
    sender, receiver = pair
    sender.send_many(frames(1, 2))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.sleep(0)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(count)
            for _ in range(100):
                assert await receiver.wait_async()
            tasks.cancel_scope.cancel()

    run_async(main)
    assert turns >= 50


def test_batches_come_until_the_sender_is_gone(run_async: RunAsync, pair: Pair) -> None:
    sender, receiver = pair
    seen: list[int] = []
    held = []

    async def feed() -> None:
        for start in range(0, 300, 100):
            sender.send_many(frames(*range(start, start + 100)))
            await anyio.sleep(0.01)
        sender.close()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed)
            async for batch in receiver.batches(max_events=64):
                held.append(receiver.stats().used_bytes > 0)
                seen.extend(event.offset for event in batch if isinstance(event, Frame))
                assert len(batch) <= 64
        assert receiver.sender_gone
        assert receiver.stats().used_bytes == 0

    run_async(main)
    assert seen == list(range(300))
    assert all(held)


def test_a_batch_is_open_while_the_body_awaits(run_async: RunAsync, pair: Pair) -> None:
    sender, receiver = pair
    sender.send_many(frames(1, 2, 3))

    async def main() -> None:
        async for batch in receiver:
            await anyio.sleep(0.01)
            with pytest.raises(BatchOpen):
                receiver.drain()
            assert batch.offsets.tolist() == [1, 2, 3]
            sender.close()

    run_async(main)


class Failed(Exception):
    """The exception of the application."""


def apply(batch: Any, fails_at: int) -> None:
    for event in batch:
        if event.offset == fails_at:
            raise Failed


def look_at_first(batch: Any) -> None:
    for event in batch:
        if event.offset == 1:
            break


@pytest.mark.parametrize("in_a_function", [False, True])
def test_an_exception_at_an_event_releases_those_before_it(
    run_async: RunAsync, pair: Pair, in_a_function: bool
) -> None:
    sender, receiver = pair
    sender.send_many(frames(*range(10)))

    async def body() -> None:
        async for batch in receiver:
            if in_a_function:
                apply(batch, 4)
                continue
            for event in batch:
                await anyio.sleep(0)
                if isinstance(event, Frame) and event.offset == 4:
                    raise Failed(event.argv)  # with views that live longer than the batch

    async def main() -> None:
        with pytest.raises(Failed):
            await body()
        assert offsets(receiver) == [4, 5, 6, 7, 8, 9]

    run_async(main)


@pytest.mark.parametrize("partly", [False, True])
def test_an_exception_outside_an_iteration_releases_nothing(run_async: RunAsync, pair: Pair, partly: bool) -> None:
    sender, receiver = pair
    sender.send_many(frames(*range(10)))

    async def body() -> None:
        async for batch in receiver:
            if partly:
                look_at_first(batch)
            else:
                apply(batch, -1)
            with open(os.devnull):
                raise Failed

    async def main() -> None:
        with suppress(Failed):
            await body()
        assert offsets(receiver) == list(range(10))

    run_async(main)


def test_a_break_and_a_return_release_the_whole_batch(run_async: RunAsync, pair: Pair) -> None:
    sender, receiver = pair

    async def returns() -> int:
        async for batch in receiver:
            with open(os.devnull):
                return len(batch)
        return 0

    async def main() -> None:
        sender.send_many(frames(1, 2, 3))
        async for batch in receiver:
            assert len(batch) == 3
            break
        assert len(receiver.drain()) == 0
        sender.send_many(frames(4, 5))
        async for _ in receiver:
            try:
                raise Failed
            except Failed:
                break
        assert len(receiver.drain()) == 0
        sender.send_many(frames(6, 7))
        assert await returns() == 2
        assert len(receiver.drain()) == 0

    run_async(main)


def test_a_cancelled_body_loses_nothing(run_async: RunAsync, pair: Pair) -> None:
    sender, receiver = pair
    sender.send_many(frames(*range(10)))

    async def main() -> None:
        with anyio.move_on_after(0.02):
            async for _ in receiver:
                await anyio.sleep(DEADLINE_S)
        with anyio.move_on_after(0.02):
            async for batch in receiver:
                for event in batch:
                    if isinstance(event, Frame) and event.offset == 3:
                        await anyio.sleep(DEADLINE_S)
        assert offsets(receiver) == list(range(3, 10))

    run_async(main)


def test_views_that_are_kept_come_out_of_the_loop(run_async: RunAsync, pair: Pair) -> None:
    sender, receiver = pair
    sender.send_many(frames(1))
    kept: list[memoryview] = []

    async def main() -> None:
        with pytest.raises(ViewsEscaped):
            async for batch in receiver:
                kept.append(batch.buffer)
        assert bytes(kept.pop()[16:20]) == b"\3\0\0\0"

    run_async(main)


def test_a_comprehension_takes_batches_too(run_async: RunAsync, pair: Pair) -> None:
    sender, receiver = pair
    sender.send_many(frames(*range(5)))
    sender.close()

    async def main() -> None:
        assert [len(batch) async for batch in receiver.batches(2)] == [2, 2, 1]

    run_async(main)


def test_one_event_is_received_with_memory_of_its_own(run_async: RunAsync, pair: Pair) -> None:
    sender, receiver = pair

    async def main() -> None:
        assert await receiver.recv_async(0) is None
        assert await receiver.recv_async(0.02) is None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(soon, partial(sender.send_many, frames(1, 2)))
            assert await receiver.recv_async() == frames(1)[0]
        assert await receiver.recv_async(0) == frames(2)[0]
        big = Frame(3, [b"SET", b"k", bytes(200_000)])  # larger than the ring, so it takes many wake-ups
        sender.send(big)
        assert await receiver.recv_async() == big
        sender.close()
        with pytest.raises(RecvError):
            await receiver.recv_async()

    run_async(main)


def test_a_cancelled_receive_loses_nothing(run_async: RunAsync, pair: Pair) -> None:
    sender, receiver = pair
    seen: list[int] = []

    async def main() -> None:
        for number in range(40):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(soon, partial(sender.send, frames(number)[0]), 0.001)
                with anyio.move_on_after(0.001 * (number % 3)):
                    event = await receiver.recv_async()
                    assert isinstance(event, Frame)
                    seen.append(event.offset)
        seen.extend(offsets(receiver))

    run_async(main)
    assert seen == list(range(40))


def test_a_scope_that_was_cancelled_before_takes_nothing(run_async: RunAsync, pair: Pair) -> None:
    sender, receiver = pair
    sender.send_many(frames(1))
    got: list[object] = []

    async def main() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            got.append(await receiver.recv_async())
        assert not got
        assert offsets(receiver) == [1]

    run_async(main)


def test_two_tasks_share_a_handle_and_each_event_goes_to_one(run_async: RunAsync, pair: Pair) -> None:
    sender, receiver = pair
    seen: list[int] = []
    awake: list[bool] = []

    async def receive() -> None:
        while (event := await receiver.recv_async(0.5)) is not None:
            assert isinstance(event, Frame)
            seen.append(event.offset)

    async def wait() -> None:
        awake.append(await receiver.wait_async())

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            tasks.start_soon(wait)
            tasks.start_soon(soon, partial(sender.send, frames(0)[0]), 0.02)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            tasks.start_soon(receive)
            for number in range(1, 50):
                sender.send(frames(number)[0])
                await anyio.sleep(0.001)

    run_async(main)
    assert awake == [True, True]
    assert sorted(seen) == list(range(50))


def closes_by_task(receiver: ReplicaInboxReceiver) -> None:
    receiver.close()


def closes_by_thread(receiver: ReplicaInboxReceiver) -> None:
    thread = threading.Thread(target=receiver.close)
    thread.start()
    thread.join()


@pytest.mark.parametrize("close", [closes_by_task, closes_by_thread])
def test_a_close_ends_every_wait(
    run_async: RunAsync, pair: Pair, close: Callable[[ReplicaInboxReceiver], None]
) -> None:
    _, receiver = pair
    told = []

    async def iterate() -> None:
        async for _ in receiver:
            raise AssertionError("nothing was sent")

    async def expect(wait: Callable[[], Awaitable[Any]]) -> None:
        with pytest.raises(ClosedError):
            await wait()
        told.append(wait)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for wait in (receiver.wait_async, receiver.recv_async, iterate):
                tasks.start_soon(expect, wait)
            tasks.start_soon(soon, partial(close, receiver))
        with pytest.raises(ClosedError):
            await receiver.wait_async(0)

    run_async(main)
    assert len(told) == 3


def test_a_close_while_the_body_runs_ends_the_loop(run_async: RunAsync, pair: Pair) -> None:
    sender, receiver = pair
    sender.send_many(frames(1))

    async def main() -> None:
        with pytest.raises(ClosedError):
            async for _ in receiver:
                receiver.close()
                await anyio.sleep(0)

    run_async(main)


def watched() -> tuple[set[str], int]:
    """The descriptors of this process, and how many of them its epoll sets watch."""
    entries = 0
    descriptors = set(os.listdir("/proc/self/fd"))
    for fd in descriptors:
        with suppress(FileNotFoundError):
            entries += Path("/proc/self/fdinfo", fd).read_text(encoding="ascii").count("tfd:")
    return descriptors, entries


def test_a_loop_keeps_no_descriptor_of_a_wait(run_async: RunAsync, pair: Pair) -> None:
    sender, receiver = pair
    seen = []

    async def main() -> None:
        gc.collect()
        for number in range(20):
            with socket.socket():  # the numbers of the descriptors may differ
                sender.send(frames(number)[0])
                await receiver.wait_async()
                offsets(receiver)
                with anyio.move_on_after(0.001):
                    await receiver.wait_async()
            await receiver.wait_async(0.001)
            seen.append(watched())

    run_async(main)
    assert seen[0] == seen[-1]
    assert not receiver._tasks._sleeps


def test_a_killed_sender_ends_the_loop(
    run_async: RunAsync, pair: Pair, ended: Callable[[BaseProcess], BaseProcess]
) -> None:
    sender, receiver = pair
    child = ended(get_context("spawn").Process(target=send_and_stop, args=(sender,)))
    child.start()
    seen: list[int] = []

    async def main() -> None:
        async for batch in receiver:
            seen.extend(batch.offsets.tolist())
            assert child.pid is not None
            if len(seen) == 2:
                os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(RecvError) as failure:
            await receiver.recv_async()
        assert (failure.value.cause, failure.value.pid) == ("dead", child.pid)
        busy = time.process_time()
        assert not [batch async for batch in receiver]
        assert await receiver.wait_async()
        assert time.process_time() - busy < 0.2

    run_async(main)
    assert seen == [1, 2]


def send_and_stop(sender: ReplicaInboxSender) -> None:
    """Sends two events and does not end by itself."""
    sender.send_many(frames(1, 2))
    threading.Event().wait(60)


def test_what_happens_while_a_descriptor_is_armed_is_seen(run_async: RunAsync) -> None:
    silent, other_end = socket.socketpair()
    happened: list[bool] = []

    def arm() -> int:
        happened.append(True)
        return silent.fileno()

    with silent, other_end:
        assert run_async(lambda: WaitingTasks().until(lambda: bool(happened), arm, None))


def test_a_task_that_empties_the_doorbell_wakes_the_others(run_async: RunAsync) -> None:
    bell, other_side = socket.socketpair()
    tasks = WaitingTasks()
    happened: list[bool] = []

    def look() -> bool:
        other_side.send(b"x")  # ring and empty the doorbell in one look, so that only the looking task knows of it
        happened.append(bool(bell.recv(1)))
        return True

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(tasks.until, lambda: bool(happened), bell.fileno, None)
            await anyio.sleep(0.02)
            assert await tasks.until(look, bell.fileno, None)

    with bell, other_side:
        run_async(main)


def test_a_wait_looks_again_though_nobody_wakes_it(run_async: RunAsync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_loop, "LOOK_S", 0.01)
    silent, other_end = socket.socketpair()
    looks = iter([False] * 6 + [True])
    with silent, other_end:
        assert run_async(lambda: WaitingTasks().until(lambda: next(looks), silent.fileno, None))


def test_an_idle_wait_costs_no_time(run_async: RunAsync, pair: Pair) -> None:
    _, receiver = pair

    async def main() -> None:
        began = time.thread_time()
        assert not await receiver.wait_async(0.5)
        assert time.thread_time() - began < 0.25, "it spins"

    run_async(main)


def test_many_rings_live_in_one_loop(run_async: RunAsync) -> None:
    pairs = [replica_inbox_pair(1 << 12) for _ in range(24)]
    seen: dict[str, int] = {}

    async def receive(receiver: ReplicaInboxReceiver) -> None:
        async for batch in receiver:
            seen[receiver.name] = seen.get(receiver.name, 0) + len(batch)

    async def send(sender: ReplicaInboxSender) -> None:
        for start in range(0, 200, 20):
            sender.send_many(frames(*range(start, start + 20)))
            await anyio.sleep(0.002)
        await sender.flush_async(DEADLINE_S)
        sender.close()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for sender, receiver in pairs:
                tasks.start_soon(receive, receiver)
                tasks.start_soon(send, sender)

    try:
        run_async(main)
    finally:
        for sender, receiver in pairs:
            sender.close(0)
            receiver.close()
    assert sorted(seen.values()) == [200] * 24


def test_a_flush_waits_for_a_slow_consumer(run_async: RunAsync, pair: Pair) -> None:
    sender, receiver = pair
    seen: list[int] = []

    async def receive() -> None:
        async for batch in receiver.batches(max_events=20):
            seen.extend(batch.offsets.tolist())
            await anyio.sleep(0.002)

    async def main() -> None:
        assert await sender.flush_async(0), "nothing waits"
        sender.send_many([Frame(offset, [BIG]) for offset in range(200)])
        assert sender.overflow.events
        assert not await sender.flush_async(0)
        assert not await sender.flush_async(0.02)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            assert await sender.flush_async()
            assert not sender.overflow.events
            sender.close()

    run_async(main)
    assert seen == list(range(200))


def test_a_flush_ends_when_the_receiver_is_gone_or_the_sender_is_closed(run_async: RunAsync, pair: Pair) -> None:
    sender, receiver = pair
    clone = sender.clone()
    told = []

    async def flush() -> None:
        with pytest.raises(ClosedError):
            await clone.flush_async()
        told.append("closed")

    async def main() -> None:
        sender.send_many([Frame(offset, [BIG]) for offset in range(200)])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(flush)
            tasks.start_soon(soon, clone.close)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(soon, receiver.close)
            assert not await sender.flush_async()

    run_async(main)
    with pytest.warns(ResourceWarning):
        sender.close(0)
    assert told == ["closed"]


def test_records_are_read_by_tasks(run_async: RunAsync, ends: tuple[Producer, Consumer]) -> None:
    producer, consumer = ends
    seen: list[bytes] = []

    async def main() -> None:
        assert not await consumer.wait_async(0.01)
        assert await consumer.read_async(0.01) is None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(soon, partial(producer.try_write, b"one"))
            assert await consumer.read_async() == b"one"
        producer.write_many([b"two", b"three"])
        async for batch in consumer.batches(max_records=1):
            seen.extend(map(bytes, batch))
            if len(seen) == 2:
                producer.close()
        with pytest.raises(RecvError):
            await consumer.read_async()
        assert not [batch async for batch in consumer]

    run_async(main)
    assert seen == [b"two", b"three"]


def test_a_producer_waits_for_space(run_async: RunAsync, ends: tuple[Producer, Consumer]) -> None:
    producer, consumer = ends
    sent = 0
    seen: list[bytes] = []

    async def read() -> None:
        async for batch in consumer:
            seen.extend(map(bytes, batch))
            await anyio.sleep(0.001)

    async def main() -> None:
        nonlocal sent
        assert await producer.wait_async(timeout=0)
        while producer.try_write(BIG):
            sent += 1
        assert not await producer.wait_async(len(BIG), 0)
        assert not await producer.wait_async(len(BIG), 0.02)
        with pytest.raises(ValueError, match="larger than the ring"):
            await producer.wait_async(5000)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            while sent < 50:
                assert await producer.wait_async(len(BIG))
                sent += producer.try_write(BIG)
            producer.close()

    run_async(main)
    assert seen == [BIG] * 50


def test_producers_waits_for_different_lengths_all_end(run_async: RunAsync, ends: tuple[Producer, Consumer]) -> None:
    producer, consumer = ends
    while producer.try_write(BIG):
        pass

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for length in (3000, 10, 500, 4000):
                tasks.start_soon(producer.wait_async, length)
            await anyio.sleep(0.02)
            consumer.read_many()

    run_async(main)


def test_a_producers_wait_ends_with_its_consumer_and_its_close(
    run_async: RunAsync, ends: tuple[Producer, Consumer]
) -> None:
    producer, consumer = ends
    while producer.try_write(BIG):
        pass

    async def main() -> None:
        with pytest.raises(SendError):
            async with asynccontext(soon, consumer.close):
                await producer.wait_async(3000)
        with pytest.raises(ClosedError):
            producer.close()
            await producer.wait_async(3000)

    run_async(main)


def test_a_producer_that_is_closed_by_a_task_ends_the_others_wait(
    run_async: RunAsync, ends: tuple[Producer, Consumer]
) -> None:
    producer, _ = ends
    while producer.try_write(BIG):
        pass

    async def main() -> None:
        with pytest.raises(ClosedError):
            async with asynccontext(soon, producer.close):
                await producer.wait_async(3000)

    run_async(main)


class asynccontext:  # noqa: N801
    """A task that runs during a block. An exception of the block comes out alone, not in a group."""

    def __init__(self, main: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        self._main, self._arguments = main, arguments

    async def __aenter__(self) -> None:
        self._tasks = await anyio.create_task_group().__aenter__()
        self._tasks.start_soon(self._main, *self._arguments)

    async def __aexit__(self, kind: type | None, error: BaseException | None, tb: Any) -> None:
        await self._tasks.__aexit__(None, None, None)


def test_a_shard_runs_in_an_event_loop(run_async: RunAsync, pair: Pair) -> None:
    sender, receiver = pair
    stop = threading.Event()
    sink = MemorySink()
    shard = Shard(receiver, sink)

    async def feed() -> None:
        for start in range(0, 500, 100):
            sender.send_many(frames(*range(start, start + 100)))
            await anyio.sleep(0.005)
        while sender.applied_offset != 499:
            await anyio.sleep(0.005)
        stop.set()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed)
            result = await shard.run_async(stop.is_set)
        assert (result.end, result.applied_offset, result.frames) == (RunEnd.STOPPED, 499, 500)
        sender.send_many(frames(500, 501))
        sender.close()
        result = await shard.run_async()
        assert (result.end, result.applied_offset) == (RunEnd.SENDER_GONE, 501)

    run_async(main)
    assert sink.keyspace(0)[b"k"].value == b"501"


class Durable:
    """Keeps offsets. A flush makes them durable."""

    durable = True

    def __init__(self) -> None:
        self.applied: list[int] = []
        self.flushed = 0

    def __call__(self, offset: int, argv: object) -> None:
        self.applied.append(offset)

    def flush(self) -> None:
        self.flushed = len(self.applied)


def test_a_cancelled_shard_has_marked_what_it_applied(run_async: RunAsync, pair: Pair) -> None:
    sender, receiver = pair
    store = Durable()
    shard = Shard(receiver, PythonSink(store), flush_interval_s=1000.0)
    sender.send_many(frames(*range(10)))

    async def main() -> None:
        with anyio.move_on_after(0.05):
            await shard.run_async()
        assert (sender.applied_offset, store.flushed) == (9, 10)
        sender.send_many(frames(10))
        sender.close()
        with anyio.move_on_after(0.1):
            await shard.run_async(outlives_sender=True)
        await shard.run_async()

    run_async(main)
    assert store.applied == list(range(11))
    assert store.flushed == 11


def test_a_failing_sink_fails_the_shards_task(run_async: RunAsync, pair: Pair) -> None:
    sender, receiver = pair
    sender.send_many(frames(*range(10)))
    failing = True

    def take(offset: int, argv: object) -> None:
        if offset == 5 and failing:
            raise Failed

    shard = Shard(receiver, PythonSink(take))

    async def main() -> None:
        nonlocal failing
        with pytest.raises(Failed):
            await shard.run_async()
        assert sender.applied_offset == 4
        failing = False
        sender.close()
        assert (await shard.run_async()).applied_offset == 9

    run_async(main)


def test_the_running_library_is_told_apart(run_async: RunAsync, request: pytest.FixtureRequest) -> None:
    async def main() -> str:
        return running_library()

    assert run_async(main) == ("trio" if "trio" in request.node.name else "asyncio")


def test_without_a_loop_an_error_says_so(pair: Pair) -> None:
    coroutine = pair[1].wait_async()
    with pytest.raises(RuntimeError, match="no running event loop"):
        coroutine.send(None)


def test_asyncio_users_import_nothing_else() -> None:
    program = """
import asyncio, sys
from kevy_ring import Frame, replica_inbox_pair
assert "asyncio.runners" in sys.modules
sender, receiver = replica_inbox_pair(1 << 12)
async def main():
    sender.send(Frame(1, [b"x"]))
    assert (await receiver.recv_async()).offset == 1
    assert not await receiver.wait_async(0.01)
asyncio.run(main())
assert not {"trio", "anyio", "sniffio", "uvloop"} & set(sys.modules)
"""
    check(program)


def test_threads_that_never_wait_for_tasks_import_no_event_loop() -> None:
    check("""
import sys
from kevy_ring import Frame, replica_inbox_pair
sender, receiver = replica_inbox_pair(1 << 12)
sender.send(Frame(1, [b"x"]))
assert receiver.recv().offset == 1
assert "asyncio" not in sys.modules
""")


def test_a_task_that_outlives_its_loop_does_no_harm() -> None:
    check("""
import asyncio, warnings
from kevy_ring import replica_inbox_pair
warnings.simplefilter("ignore")
sender, receiver = replica_inbox_pair(1 << 12)
loop = asyncio.new_event_loop()
task = loop.create_task(receiver.wait_async())
loop.run_until_complete(asyncio.sleep(0.01))
loop.close()
receiver.close()
task._log_destroy_pending = False
del task
""")


def check(program: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_a_selector_watches_receivers_and_consumers(pair: Pair, ends: tuple[Producer, Consumer]) -> None:
    sender, receiver = pair
    producer, consumer = ends
    with selectors.DefaultSelector() as selector:
        for end in (receiver, consumer):
            selector.register(end, selectors.EVENT_READ, end)

        def ready() -> set[object]:
            return {key.data for key, _ in selector.select(0)}

        assert not ready()
        sender.send_many(frames(1, 2))
        assert ready() == {receiver}
        assert len(receiver.recv_many(1)) == 1
        producer.try_write(b"x")
        assert ready() == {receiver, consumer}
        receiver.recv()
        consumer.read()
        assert not ready()
        sender.close()
        producer.close()
        assert ready() == {receiver, consumer}, "the end stays readable"


def test_a_selector_watches_a_producer_for_space(ends: tuple[Producer, Consumer]) -> None:
    producer, consumer = ends
    with selectors.DefaultSelector() as selector:
        selector.register(producer, selectors.EVENT_READ)
        assert selector.select(0), "there is room"
        while producer.try_write(BIG):
            pass
        producer.wait(len(BIG), timeout=0)
        assert not selector.select(0)
        consumer.read_many(1)
        assert selector.select(DEADLINE_S)
        assert producer.try_write(BIG)


def test_a_selector_watches_a_sender_for_an_empty_overflow(pair: Pair) -> None:
    sender, receiver = pair
    with selectors.DefaultSelector() as selector:
        selector.register(sender, selectors.EVENT_READ)
        assert selector.select(0)
        sender.send_many(frames(1))
        assert selector.select(0), "all of it lies in the ring"
        for _ in range(3):
            sender.send_many([Frame(offset, [BIG]) for offset in range(200)])
            assert not selector.select(0)
            while not selector.select(0):
                with receiver.drain(max_events=16):
                    pass
            assert not sender.overflow.events
        assert sender.fileno() == selector.get_key(sender).fd
        sender.send_many([Frame(offset, [BIG]) for offset in range(200)])
        receiver.close()
        assert selector.select(DEADLINE_S), "what waits behind the ring never goes into it"
    with pytest.warns(ResourceWarning):
        sender.close(0)
    with pytest.raises(ClosedError):
        sender.fileno()
