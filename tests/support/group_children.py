"""Functions for child processes of the tests of groups. Every start method can import them."""

from __future__ import annotations

import os
import queue
import signal
import time
from multiprocessing.connection import Connection
from typing import Any

from kevy_ring import Consumer, Distributor, KeyedDistributor, Producer, RecvError, Ring, RingGroup, RingQueue
from kevy_ring.group import ShutDown


def write_numbers(producer: Producer, first: int, count: int) -> None:
    """Write ``count`` numbered records, wait for room as needed, and close."""
    with producer:
        for number in range(first, first + count):
            while not producer.try_write(b"%d" % number):
                producer.wait(20)


def write_and_hang(producer: Producer, count: int, said: Connection) -> None:
    """Write ``count`` numbered records, say so, and wait to be killed."""
    assert producer.write_many([b"%d" % number for number in range(count)]) == count
    said.send("written")
    signal.pause()


def write_by_name(name: str, count: int, said: Connection) -> None:
    """As :func:`write_and_hang`, as the successor of a producer."""
    write_and_hang(Ring.attach(name, timeout=60).producer(), count, said)


def read_all(group: RingGroup, results: Connection) -> None:
    """Read everything in the group, and report it."""
    with group:
        results.send(sorted(group))


def count_records(consumer: Consumer, results: Connection) -> None:
    """Report the records of a consumer when its producer is gone."""
    records: list[bytes] = []
    try:
        with consumer:
            while True:
                record = consumer.read(timeout=60)
                assert record is not None
                records.append(record)
    except RecvError as end:
        results.send((end.cause, records))


def take_and_hang(consumer: Consumer, count: int, said: Connection) -> None:
    """Read ``count`` records, say so, and wait to be killed."""
    with consumer:
        for _ in range(count):
            assert consumer.read(timeout=60) is not None
        said.send("taken")
        signal.pause()


def distribute(distributor: Distributor, count: int) -> None:
    """Write ``count`` numbered records in turn, and close."""
    with distributor:
        assert distributor.write_many([b"%d" % number for number in range(count)], timeout=60) == count


def distribute_by_key(distributor: KeyedDistributor, keys: int, count: int) -> None:
    """Write ``count`` numbered records of each key, and close."""
    with distributor:
        for number in range(count):
            for key in range(keys):
                assert distributor.write(b"k%d" % key, b"k%d %d" % (key, number), timeout=60)


def work(jobs: RingQueue, results: Connection) -> None:
    """Get jobs until the queue is shut down, and report them."""
    done: list[Any] = []
    try:
        while True:
            done.append(jobs.get(timeout=60))
            jobs.task_done()
    except ShutDown:
        results.send(done)


def get_and_hang(jobs: RingQueue, said: Connection) -> None:
    """Get one job, and wait to be killed before it is done."""
    said.send(jobs.get(timeout=60))
    signal.pause()


def fill(jobs: RingQueue, said: Connection) -> None:
    """Put jobs until the queue is full, and wait to be killed."""
    number = 0
    try:
        while True:
            jobs.put_nowait(number)
            number += 1
    except queue.Full:
        said.send(number)
    signal.pause()


def kill(pid: int | None, after_s: float) -> None:
    """Kill a process from a thread, after a time in which another one has most likely begun to sleep."""
    assert pid is not None
    time.sleep(after_s)
    os.kill(pid, signal.SIGKILL)
