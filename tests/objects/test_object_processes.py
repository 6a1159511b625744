"""Objects between processes and threads, in event loops, and when one of them dies."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Awaitable, Callable
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest

from kevy_ring import ClosedError, GrantOpen, RecvError, Ring, RoleTaken, SendError
from kevy_ring.objects import ArrayCodec, ObjectReceiver, ObjectSender, Parts, PickleCodec, object_pair

anyio = pytest.importorskip("anyio") if os.environ.get("CI") != "true" else __import__("anyio")
DEADLINE_S = 120.0
Run = Callable[[Callable[[], Awaitable[Any]]], Any]


def echo(receiver: ObjectReceiver, sender: ObjectSender) -> None:
    assert type(receiver._codec) is ArrayCodec
    with pytest.raises(TypeError):
        sender.send("not an array")
    for obj in receiver:
        sender.send(obj, DEADLINE_S)
    sender.close()


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_handles_go_to_a_child_of_every_start_method_with_their_codec(method: str) -> None:
    context = get_context(method)
    there, far_receiver = object_pair(1 << 16, codec=ArrayCodec())
    far_sender, back = object_pair(1 << 16, codec=ArrayCodec())
    child = context.Process(target=echo, args=(far_receiver, far_sender))
    child.start()
    sent = [np.arange(n, dtype=np.float32) for n in (0, 5, 3000)]
    for array in sent:
        assert there.send(array, DEADLINE_S)
        np.testing.assert_array_equal(back.recv(DEADLINE_S), array)
    there.close()
    with pytest.raises(RecvError) as told:
        back.recv(DEADLINE_S)
    assert told.value.cause == "closed"
    child.join(DEADLINE_S)
    assert child.exitcode == 0


def forked(work: Callable[[], object]) -> int:
    """The pid of a child that runs ``work`` and exits with 0."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def test_what_a_killed_sender_was_writing_is_not_there_and_all_before_it_is() -> None:
    sender, receiver = object_pair(1 << 16)

    class DiesInPlace(Parts):
        def write_into(self, view: memoryview) -> int:
            super().write_into(view)
            os.kill(os.getpid(), signal.SIGKILL)
            return 0

    def work() -> None:
        sender.send_many([1, np.arange(1000)])
        parts = PickleCodec().encode(np.arange(2000))
        assert isinstance(parts, Parts)
        parts.__class__ = DiesInPlace
        sender._write_in_place(parts)

    pid = forked(work)
    assert receiver.recv(DEADLINE_S) == 1
    assert receiver.recv(DEADLINE_S).size == 1000
    os.waitpid(pid, 0)
    with pytest.raises(RecvError) as told:
        receiver.recv(DEADLINE_S)
    assert (told.value.cause, told.value.pid) == ("dead", pid)


def test_a_killed_receiver_ends_a_sender_that_waits_for_space() -> None:
    sender, receiver = object_pair(4096)

    def work() -> None:
        receiver.recv(DEADLINE_S)
        os.kill(os.getpid(), signal.SIGKILL)

    pid = forked(work)
    with pytest.raises(SendError) as told:
        while True:
            assert sender.send(np.zeros(300), DEADLINE_S)
    assert told.value.pid == pid
    assert told.value.unsent[0].shape == (300,)
    os.waitpid(pid, 0)


def test_a_new_receiver_sees_again_what_a_killed_one_held_in_a_batch() -> None:
    with Ring.create(1 << 16) as ring:
        sender = ObjectSender.attach(ring.name)
        sender.send_many([np.arange(5), "second"])

        def work() -> None:
            receiver = ObjectReceiver.attach(ring.name)
            with receiver.drain() as batch:
                batch.release(1)
                os.kill(os.getpid(), signal.SIGKILL)

        os.waitpid(forked(work), 0)
        receiver = ObjectReceiver.attach(ring.name)
        assert receiver.recv_many() == ["second"]
        with pytest.raises(RoleTaken):
            ObjectReceiver.attach(ring.name)
        sender.close()
        receiver.close()


def test_a_handle_from_before_a_fork_is_refused_in_the_child_even_if_a_thread_was_writing() -> None:
    sender, receiver = object_pair(1 << 16)
    sender.send(0)

    def work() -> None:
        for obj in (1, np.zeros(3)):
            with pytest.raises(ClosedError) as told:
                sender.send(obj)
            assert told.value.reason == "forked"

    with sender._turn():  # as if another thread wrote in place
        pid = forked(work)
    assert os.waitpid(pid, 0)[1] == 0
    assert receiver.recv_many() == [0]


def test_threads_send_arrays_and_small_objects_at_once_and_each_arrives_whole() -> None:
    sender, receiver = object_pair(1 << 16)
    rounds, errors = 200, []

    def work(thread: int) -> None:
        try:
            for n in range(rounds):
                assert sender.send((thread, n) if n % 2 else np.full(1000, thread * rounds + n), DEADLINE_S)
                sender.send_many([(thread, n, "many")], DEADLINE_S)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    next_of = [0] * 4
    for _ in range(4 * 2 * rounds):
        found = receiver.recv(DEADLINE_S)
        if isinstance(found, np.ndarray):
            assert (found == found[0]).all()
            thread, n = divmod(int(found[0]), rounds)
        elif len(found) == 3:
            continue
        else:
            thread, n = found
        assert n == next_of[thread]
        next_of[thread] += 1
    for thread in threads:
        thread.join()
    assert errors == []


def test_an_open_grant_of_the_application_is_told_and_not_waited_for() -> None:
    sender, receiver = object_pair(1 << 16)
    grant = sender.try_reserve(10)
    assert grant is not None
    for obj in (1, np.zeros(3)):
        with pytest.raises(GrantOpen):
            sender.send(obj)
        with pytest.raises(GrantOpen):
            sender.send_many([obj])
    grant.abort()
    assert sender.send(1)
    assert receiver.recv() == 1


def test_an_error_while_an_object_is_written_gives_the_space_back(monkeypatch: pytest.MonkeyPatch) -> None:
    sender, receiver = object_pair(1 << 16)
    with monkeypatch.context() as patch:
        patch.setattr(Parts, "write_into", lambda self, view: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            sender.send(np.zeros(3))
    assert receiver.try_recv("nothing") == "nothing"
    assert sender.send(np.ones(3))
    assert receiver.recv(1.0).sum() == 3


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run an async function to its end in each kind of loop, with a deadline."""

    async def limited(main: Callable[[], Awaitable[Any]]) -> Any:
        with anyio.fail_after(DEADLINE_S):
            return await main()

    return lambda main: anyio.run(limited, main, backend=request.param)


def test_tasks_send_and_receive_and_wait_for_each_other(run: Run) -> None:
    sender, receiver = object_pair(1 << 14)
    found: list[int] = []

    async def send() -> None:
        for n in range(200):
            assert await sender.send_async(np.full(500, n) if n % 2 else n)
        sender.close()

    async def receive() -> None:
        found.append(await receiver.recv_async())
        async for obj in receiver:
            found.append(int(np.max(obj)))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            tasks.start_soon(receive)

    run(main)
    assert found == list(range(200))


def test_a_wait_in_a_task_has_a_deadline(run: Run) -> None:
    sender, receiver = object_pair(4096)

    async def main() -> None:
        assert await receiver.recv_async(0.01, "nothing") == "nothing"
        while await sender.send_async(np.zeros(100), 0.01):
            pass
        receiver.close()
        with pytest.raises(SendError) as told:
            await sender.send_async("lost")
        assert told.value.unsent == ["lost"]

    run(main)


def test_async_batches_hold_views_until_the_body_ends(run: Run) -> None:
    sender, receiver = object_pair(1 << 16)
    sender.send_many([np.full(10, n) for n in range(5)])
    sender.close()

    async def main() -> list[int]:
        total = []
        async for batch in receiver.batches(2):
            total += [int(array.sum()) for array in batch]
            assert not batch[0].flags.writeable
        return total

    assert run(main) == [0, 10, 20, 30, 40]
