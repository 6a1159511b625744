"""A ring in the shape of queue.Queue. The first tests are the documented uses of the standard library."""

from __future__ import annotations

import multiprocessing
import pickle
import queue
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess

import pytest

import group_children as children
from kevy_ring import RecvError, RingQueue, RoleTaken, SendError, TasksLost
from kevy_ring.group import ShutDown

Ended = Callable[[BaseProcess], BaseProcess]


@pytest.fixture
def jobs() -> Iterator[RingQueue]:
    """A queue of a page."""
    made = RingQueue(4096)
    yield made
    made.close()


def test_the_librarys_example_of_a_worker_and_join(jobs: RingQueue) -> None:
    """https://docs.python.org/3/library/queue.html#queue.Queue.join"""
    q, finished = jobs, []

    def worker() -> None:
        while True:
            try:
                item = q.get()
            except ShutDown:  # as in the example of Python 3.13
                return
            finished.append(item)
            q.task_done()

    threading.Thread(target=worker, daemon=True).start()
    for item in range(30):
        q.put(item)
    q.join()
    assert finished == list(range(30))
    q.shutdown()


def test_the_librarys_example_of_a_queue_between_two_processes(jobs: RingQueue, ended: Ended) -> None:
    """https://docs.python.org/3/library/multiprocessing.html#exchanging-objects-between-processes"""
    p = ended(multiprocessing.get_context("spawn").Process(target=put_one, args=(jobs,)))
    p.start()
    assert jobs.get(timeout=60) == [42, None, "hello"]
    p.join(60)


def put_one(q: RingQueue) -> None:
    q.put([42, None, "hello"])


def test_the_methods_do_what_those_of_a_queue_do(jobs: RingQueue) -> None:
    """The same calls on a queue.Queue and on a RingQueue."""
    for q in (queue.Queue(170), jobs):  # a page holds 170 records of 8 bytes and their headers
        seen: list[object] = [q.qsize(), q.empty(), q.full()]
        q.put("a")
        q.put("b", block=False)
        q.put("c", timeout=60)
        q.put_nowait("d")
        seen += [q.qsize(), q.empty(), q.full()]
        seen += [q.get(), q.get(block=False), q.get(True, 60), q.get_nowait()]
        for call in (q.get_nowait, lambda q=q: q.get(timeout=0.01), lambda q=q: q.get(False)):
            with pytest.raises(queue.Empty):
                call()
        for _ in range(4):
            q.task_done()
        q.join()
        for call in (q.task_done, lambda q=q: q.get(timeout=-1), lambda q=q: q.put(1, timeout=-1)):
            with pytest.raises(ValueError, match=r"task_done|non-negative"):
                call()
        with pytest.raises(queue.Full):
            while True:
                q.put_nowait("x")
        with pytest.raises(queue.Full):
            q.put("x", timeout=0.01)
        seen += [q.full(), q.empty(), q.qsize() > 0]
        assert seen == [0, True, False, 4, False, False, "a", "b", "c", "d", True, False, True]


def test_join_does_not_return_before_the_last_task_is_done(jobs: RingQueue) -> None:
    for number in range(3):
        jobs.put(number)
    for _ in range(3):
        jobs.get()
    jobs.task_done()
    jobs.task_done()
    with pytest.raises(TimeoutError, match="1 tasks"):
        jobs.join(timeout=0.05)
    threading.Timer(0.1, jobs.task_done).start()
    jobs.join(timeout=60)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_jobs_go_to_a_worker_process_and_join_waits_for_it(method: str, ended: Ended) -> None:
    context = multiprocessing.get_context(method)
    jobs = RingQueue(4096)
    ours, theirs = context.Pipe()
    worker = ended(context.Process(target=children.work, args=(jobs, theirs)))
    worker.start()
    for number in range(1000):
        jobs.put({"n": number})
        if number % 250 == 0:
            jobs.join(timeout=60)
            assert jobs.empty()
    jobs.join(timeout=60)
    assert jobs.qsize() == 0
    jobs.shutdown()
    jobs.shutdown()
    assert ours.recv() == [{"n": number} for number in range(1000)]
    worker.join(60)
    with pytest.raises(ShutDown):
        jobs.put("more")
    jobs.close()


def test_shutdown_delivers_what_is_left_and_then_says_so(jobs: RingQueue) -> None:
    jobs.put(1)
    jobs.put(2)
    jobs.shutdown()
    assert [jobs.get(), jobs.get_nowait()] == [1, 2]
    for call in (jobs.get, jobs.get_nowait):
        with pytest.raises(ShutDown):
            call()


def test_an_immediate_shutdown_drops_what_is_left_and_wakes_both_sides(jobs: RingQueue) -> None:
    with pytest.raises(queue.Full):
        while True:
            jobs.put_nowait("x")
    ends: list[type[BaseException]] = []

    def wait(call: Callable[[], object]) -> None:
        try:
            call()
        except BaseException as error:
            ends.append(type(error))
        else:
            ends.append(bool)

    waits = [threading.Thread(target=wait, args=(call,)) for call in (lambda: jobs.put("x"), jobs.join)]
    for each in waits:
        each.start()
    time.sleep(0.05)
    jobs.shutdown(immediate=True)
    for each in waits:
        each.join(60)
    assert set(ends) <= {ShutDown, bool}
    assert len(ends) == 2
    with pytest.raises(ShutDown):
        jobs.get()
    with pytest.raises(ShutDown):
        jobs.put(1)
    assert jobs.qsize() == 0
    jobs.join(timeout=0)


def test_a_shutdown_in_a_process_that_neither_puts_nor_gets_is_refused(ended: Ended) -> None:
    context = multiprocessing.get_context("fork")
    jobs = RingQueue(4096)
    ours, theirs = context.Pipe()
    child = ended(context.Process(target=children.fill, args=(jobs, theirs)))
    child.start()
    ours.recv()
    with pytest.raises(RoleTaken):
        jobs.shutdown()
    children.kill(child.pid, 0)


@pytest.mark.parametrize("sleeps", [False, True])
def test_a_killed_worker_ends_put_and_join_with_its_pid(ended: Ended, sleeps: bool) -> None:
    context = multiprocessing.get_context("fork")
    jobs = RingQueue(4096)
    ours, theirs = context.Pipe()
    worker = ended(context.Process(target=children.get_and_hang, args=(jobs, theirs)))
    worker.start()
    for number in range(100):
        jobs.put(number)
    assert ours.recv() == 0
    if sleeps:
        threading.Thread(target=children.kill, args=(worker.pid, 0.1)).start()
    else:
        children.kill(worker.pid, 0)
    with pytest.raises(SendError) as raised:
        jobs.join()
    assert (raised.value.cause, raised.value.pid) == ("dead", worker.pid)
    with pytest.raises(SendError):
        jobs.put("x")
    jobs.close()


def test_a_worker_that_is_killed_while_the_queue_is_full_wakes_put(ended: Ended) -> None:
    context = multiprocessing.get_context("fork")
    jobs = RingQueue(4096)
    ours, theirs = context.Pipe()
    worker = ended(context.Process(target=children.get_and_hang, args=(jobs, theirs)))
    worker.start()
    jobs.put(0)
    assert ours.recv() == 0
    with pytest.raises(queue.Full):
        while True:
            jobs.put_nowait("x")
    threading.Thread(target=children.kill, args=(worker.pid, 0.1)).start()
    with pytest.raises(SendError) as raised:
        jobs.put("x")
    assert raised.value.pid == worker.pid
    jobs.close()


def test_a_killed_putter_delivers_everything_and_is_named(ended: Ended) -> None:
    context = multiprocessing.get_context("fork")
    jobs = RingQueue(4096)
    ours, theirs = context.Pipe()
    child = ended(context.Process(target=children.fill, args=(jobs, theirs)))
    child.start()
    count = ours.recv()
    threading.Thread(target=children.kill, args=(child.pid, 0.1)).start()
    assert [jobs.get(timeout=60) for _ in range(count)] == list(range(count))
    with pytest.raises(RecvError) as raised:
        jobs.get()
    assert (raised.value.cause, raised.value.pid) == ("dead", child.pid)
    jobs.close()


def test_tasks_that_were_lost_with_a_worker_are_counted_when_a_successor_did_the_rest(ended: Ended) -> None:
    context = multiprocessing.get_context("fork")
    jobs = RingQueue(4096)
    ours, theirs = context.Pipe()
    # Before anything is put: a producer that saw its consumer die stays unusable.
    for number in range(3):
        jobs.put(number)
    worker = ended(context.Process(target=children.get_and_hang, args=(jobs, theirs)))
    worker.start()
    assert ours.recv() == 0
    children.kill(worker.pid, 0)
    worker.join(60)
    assert [jobs.get(), jobs.get()] == [1, 2]
    jobs.task_done()
    jobs.task_done()
    with pytest.raises(ValueError, match="too many times"):
        jobs.task_done()
    with pytest.raises(TasksLost, match="1 objects") as raised:
        jobs.join(timeout=60)
    assert raised.value.lost == 1
    jobs.close()


def test_objects_and_codecs() -> None:
    with RingQueue(1 << 16) as jobs:
        for item in (None, 1.5, {"k": [1, 2]}, b"x" * 10_000, ValueError("x")):
            jobs.put(item)
            got = jobs.get()
            assert type(got) is type(item)
            assert repr(got) == repr(item)
        with pytest.raises(ValueError, match="larger than the ring"):
            jobs.put(b"x" * (1 << 16))
        with pytest.raises((AttributeError, pickle.PicklingError, TypeError)):
            jobs.put(lambda: None)
        assert jobs.empty()
    with RingQueue(4096, dumps=bytes, loads=bytes) as jobs:
        assert repr(jobs).endswith("4096 bytes: its role is not taken yet>")
        jobs.put(bytearray(b"as it is"))
        assert repr(jobs).endswith("4096 bytes: puts>")
        assert jobs.get() == b"as it is"
        assert repr(jobs).endswith("4096 bytes: puts and gets>")
    assert repr(jobs).endswith("4096 bytes: closed>")


def test_several_threads_on_each_side(jobs: RingQueue) -> None:
    got: list[int] = []

    def get() -> None:
        try:
            while True:
                got.append(jobs.get(timeout=60))
                jobs.task_done()
        except ShutDown:
            return

    getters = [threading.Thread(target=get) for _ in range(3)]
    putters = [threading.Thread(target=lambda n=n: [jobs.put(n * 1000 + i) for i in range(500)]) for n in range(3)]
    for each in (*getters, *putters):
        each.start()
    for each in putters:
        each.join(60)
    jobs.join(timeout=60)
    jobs.shutdown()
    for each in getters:
        each.join(60)
    assert sorted(got) == sorted(n * 1000 + i for n in range(3) for i in range(500))
