"""The time that records spend in a ring, measured from outside."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from kevy_ring import Ring
from kevy_ring.metrics.time_in_ring import BOUNDS_S, TimeInRing, Times
from kevy_ring_command import wait_until

PREFIX = f"kr-times-{os.getpid()}"


@pytest.fixture
def sampler() -> Iterator[TimeInRing]:
    sampler = TimeInRing(lambda name: name.startswith(PREFIX), 0.005)
    yield sampler
    sampler.close()


def test_a_record_is_measured_from_the_look_that_sees_it_to_the_look_that_misses_it(sampler: TimeInRing) -> None:
    with Ring.create(4096, f"{PREFIX}-a") as ring, ring.producer() as producer, ring.consumer() as consumer:
        sampler.look(0.0)
        producer.try_write(b"one")
        sampler.look(1.0)
        producer.try_write(b"two")
        sampler.look(1.2)
        assert sampler.times(ring.name) == Times(waiting_since=1.0)
        consumer.read_many(1)
        sampler.look(3.0)
        times = sampler.times(ring.name)
        assert times is not None
        assert (sum(times.counts), times.counts[BOUNDS_S.index(2.5)], times.total_s) == (1, 1, 2.0)
        assert times.waiting_since == 1.2
        consumer.read_many(1)
        sampler.look(3.2)
        times = sampler.times(ring.name)
        assert times is not None
        assert (sum(times.counts), times.total_s, times.waiting_since) == (2, 4.0, None)


def test_what_comes_and_goes_between_two_looks_counts_as_nothing_and_stillness_does_not_count(
    sampler: TimeInRing,
) -> None:
    with Ring.create(4096, f"{PREFIX}-a") as ring, ring.producer() as producer, ring.consumer() as consumer:
        for now in range(20):
            if now in (5, 9):
                producer.try_write(b"one")
                consumer.read_many(1)
            sampler.look(float(now))
        times = sampler.times(ring.name)
        assert times is not None
        assert (times.counts[0], sum(times.counts), times.total_s) == (2, 2, 0.0)


def test_a_long_stall_costs_no_memory_and_keeps_its_beginning(sampler: TimeInRing) -> None:
    with Ring.create(1 << 16, f"{PREFIX}-a") as ring, ring.producer() as producer, ring.consumer() as consumer:
        sampler.look(0.0)
        for now in range(1, 1500):
            assert producer.try_write(b"")
            sampler.look(float(now))
        times = sampler.times(ring.name)
        assert times is not None
        assert times.waiting_since == 1.0
        consumer.read_many(5000)
        sampler.look(1500.0)
        times = sampler.times(ring.name)
        assert times is not None
        assert 256 <= sum(times.counts) <= 512
        assert times.waiting_since is None


def test_a_ring_that_is_gone_or_made_anew_begins_anew(sampler: TimeInRing) -> None:
    for _ in range(2):
        with Ring.create(4096, f"{PREFIX}-a") as ring, ring.producer() as producer:
            producer.try_write(b"x")
            sampler.look(0.0)
            assert sampler.times(ring.name) == Times()
            producer.try_write(b"x")
            sampler.look(9.0)
            assert sampler.times(ring.name) == Times(waiting_since=9.0)
            sampler._watch.close()  # the next look reads the directory again


def test_the_thread_looks_by_itself_and_ends(sampler: TimeInRing) -> None:
    with Ring.create(4096, f"{PREFIX}-a") as ring, ring.producer() as producer, ring.consumer() as consumer:
        sampler.start()
        sampler.start()

        def measured() -> bool:
            producer.try_write(b"x")
            consumer.read_many(10)
            times = sampler.times(ring.name)
            return times is not None and sum(times.counts) > 0

        wait_until(measured)
        sampler.close()
        sampler.start()
        assert sampler._thread is not None
        assert not sampler._thread.is_alive()
