"""A short torture of a group, and one death of the process that reads it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import pytest

import group_children as children
from group_torture import Torture
from kevy_ring import RingGroup, SendError

Ended = Callable[[BaseProcess], BaseProcess]


@pytest.mark.parametrize("keeps_rings", [False, True])
def test_of_producers_that_are_killed_at_random_nothing_is_lost_doubled_or_reordered(keeps_rings: bool) -> None:
    report = Torture(4, 11, keeps_rings=keeps_rings).run(1.5, least_kills=8)
    assert report.problems == []
    assert report.records > 1000
    assert report.deaths_told == report.kills >= 8


def read_until_killed(names: list[str], said: Connection) -> None:
    """Release 30 records of each ring, drain more, and wait to be killed with them."""
    group = RingGroup.attach(names)
    counts = dict.fromkeys(names, 0)
    while any(count < 30 for count in counts.values()):
        with group.drain(max_records=10) as batch:
            counts[batch.ring_name] += len(batch)
    batch = group.drain()
    said.send(counts)
    said.recv()


def test_after_a_kill_of_the_reader_each_producer_fails_and_a_successor_gets_what_was_not_released(
    ended: Ended,
) -> None:
    context = multiprocessing.get_context("fork")
    group, producers = RingGroup.create(3, 1 << 16)
    for producer in producers:
        assert producer.write_many([b"%d" % number for number in range(100)]) == 100
    ours, theirs = context.Pipe()
    reader = ended(context.Process(target=read_until_killed, args=([each.name for each in producers], theirs)))
    reader.start()
    released = ours.recv()
    children.kill(reader.pid, 0)
    reader.join(60)
    for producer in producers:
        with pytest.raises(SendError) as raised:
            producer.try_write(b"x")
        assert (raised.value.name, raised.value.pid) == (producer.name, reader.pid)
    left: dict[str, list[bytes]] = {producer.name: [] for producer in producers}
    successor = RingGroup.attach([producer.name for producer in producers])
    while sum(map(len, left.values())) < 300 - sum(released.values()):
        with successor.drain() as batch:
            left[batch.ring_name] += batch.copies()
    for producer in producers:
        assert left[producer.name] == [b"%d" % number for number in range(released[producer.name], 100)]
        assert producer.accept_successor()
        assert producer.try_write(b"x")
    assert sorted(successor.read_many() + successor.read_many() + successor.read_many()) == [b"x"] * 3
    successor.close()
    group.close()
