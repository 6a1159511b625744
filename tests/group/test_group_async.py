"""Groups and distributors in an event loop: asyncio, uvloop and trio."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from multiprocessing.process import BaseProcess

import pytest

import group_children as children
from event_loops import RunAsync, anyio, no_second_look, run_async
from kevy_ring import (
    ClosedError,
    ConsumerGone,
    Distributor,
    GroupEnded,
    KeyedDistributor,
    RecvError,
    RingGroup,
    RingQueue,
)
from kevy_ring.group import ShutDown

__all__ = ["no_second_look", "run_async"]

pytestmark = pytest.mark.usefixtures("no_second_look")

Ended = Callable[[BaseProcess], BaseProcess]


async def soon(act: Callable[[], object], after_s: float = 0.05) -> None:
    await anyio.sleep(after_s)
    act()


def test_batches_of_all_rings_come_until_all_producers_are_gone(run_async: RunAsync) -> None:
    group, producers = RingGroup.create(3, 4096)

    async def write(ring: int) -> None:
        with producers[ring] as producer:
            for number in range(100):
                while not producer.try_write(b"%d:%d" % (ring, number)):
                    await producer.wait_async(20)
                await anyio.sleep(0)

    async def main() -> list[bytes]:
        seen: list[bytes] = []
        async with anyio.create_task_group() as tasks:
            for ring in range(3):
                tasks.start_soon(write, ring)
            async for batch in group:
                seen += [bytes(record) for record in batch]
        return seen

    seen = run_async(main)
    assert len(seen) == 300
    for ring in range(3):
        assert [record for record in seen if record.startswith(b"%d:" % ring)] == [
            b"%d:%d" % (ring, number) for number in range(100)
        ]


def test_a_death_ends_the_loop_with_the_name_and_another_loop_continues(run_async: RunAsync, ended: Ended) -> None:
    context = get_context("fork")
    group, producers = RingGroup.create(2, 4096)
    ours, theirs = context.Pipe()
    victim = ended(context.Process(target=children.write_and_hang, args=(producers[0], 10, theirs)))
    victim.start()
    assert ours.recv() == "written"

    async def main() -> None:
        seen: list[bytes] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(soon, partial(children.kill, victim.pid, 0))
            with pytest.raises(RecvError) as raised:
                async for batch in group:
                    seen += batch.copies()
            assert (raised.value.name, raised.value.cause) == (producers[0].name, "dead")
            assert len(seen) == 10
            tasks.start_soon(soon, partial(producers[1].try_write, b"alive"))
            async for batch in group:
                assert batch.copies() == [b"alive"]
                producers[1].close()
                break
        with pytest.raises(GroupEnded):
            await group.read_async()

    run_async(main)
    group.close()


def test_single_reads_wait_and_end(run_async: RunAsync) -> None:
    group, (one, two) = RingGroup.create(2, 4096)

    async def main() -> None:
        assert await group.read_async(timeout=0.02) is None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(soon, partial(two.try_write, b"x"))
            assert await group.read_async() == b"x"
        assert not await group.wait_async(0.02)
        one.try_write(b"last")
        one.close()
        two.close()
        assert await group.read_async() == b"last"
        with pytest.raises(GroupEnded):
            await group.read_async()

    run_async(main)


def test_a_close_wakes_the_tasks_that_wait(run_async: RunAsync) -> None:
    group, producers = RingGroup.create(2, 4096)

    async def wait() -> None:
        with pytest.raises(ClosedError):
            await group.wait_async()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            tasks.start_soon(wait)
            tasks.start_soon(soon, group.close)

    run_async(main)
    assert producers


def test_a_distributor_waits_for_any_ring(run_async: RunAsync) -> None:
    distributor, consumers = Distributor.create(2, 4096)

    async def main() -> None:
        distributor.write_many([b"x"] * 1000)
        assert not await distributor.write_async(b"y", timeout=0.02)
        assert not await distributor.wait_async(1, timeout=0.02)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(soon, partial(consumers[1].read_many, 1))
            assert await distributor.write_async(b"y")
        consumers[0].read_many(0x1000)
        consumers[0].close()
        async with anyio.create_task_group() as tasks:
            with pytest.raises(ConsumerGone, match=consumers[0].name):
                await distributor.write_async(b"z")
                await distributor.write_async(b"z")
            tasks.cancel_scope.cancel()

    run_async(main)
    distributor.close()


def test_by_key_a_task_waits_for_its_own_ring(run_async: RunAsync) -> None:
    distributor, consumers = KeyedDistributor.create(2, 4096)
    ring = distributor.ring_of(b"k")

    async def main() -> None:
        distributor.write_many([b"k"] * 1000, [b"x"] * 1000)
        assert not await distributor.write_async(b"k", b"y", timeout=0.02)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(soon, partial(consumers[ring].read_many, 1))
            assert await distributor.write_async(b"k", b"y")
            tasks.start_soon(soon, consumers[ring].close)
            with pytest.raises(ConsumerGone, match=consumers[ring].name):
                await distributor.write_async(b"k", b"z")

    run_async(main)
    distributor.close()


def test_a_queue_in_tasks(run_async: RunAsync) -> None:
    jobs = RingQueue(4096)

    async def put() -> None:
        for number in range(500):
            await jobs.put_async(number)
        jobs.shutdown()

    async def main() -> None:
        got: list[int] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(put)
            with pytest.raises(ShutDown):
                while True:
                    got.append(await jobs.get_async())
        assert got == list(range(500))

    run_async(main)
    jobs.close()
