"""The time of records in a ring. One in 1,024 is measured, and counted when it is released."""

from __future__ import annotations

import time
from math import inf

import pytest

from kevy_ring import ClosedError, Frame, Ring, replica_inbox_pair
from kevy_ring.ring import TIME_BOUNDS_S, TimeInRing

EVERY = 1024


def times(counts: dict[int, int]) -> TimeInRing:
    return TimeInRing(tuple(counts.get(i, 0) for i in range(len(TIME_BOUNDS_S) + 1)), 0.0, None)


@pytest.mark.parametrize("at_once", [1, 10])
def test_one_record_in_1024_is_measured(at_once: int) -> None:
    with Ring.create(1 << 16) as ring, ring.producer() as producer, ring.consumer() as consumer:
        for _ in range(0, 5 * EVERY, at_once):
            assert producer.write_many([b"record"] * at_once) == at_once
            consumer.read_many(at_once)
        assert ring.time_in_ring().measured == 5


def test_a_publish_of_many_is_measured_once() -> None:
    with Ring.create(1 << 20) as ring, ring.producer() as producer, ring.consumer() as consumer:
        for publishes in (1, 2, 3):
            assert producer.write_many([b""] * 5 * EVERY) == 5 * EVERY
            consumer.read_many(5 * EVERY)
            assert ring.time_in_ring().measured == publishes


def test_it_counts_from_the_publish_to_the_release() -> None:
    sender, receiver = replica_inbox_pair(1 << 16)
    with sender, receiver:
        assert receiver.time_in_ring() == times({})
        sender.send(Frame(1, [b"a"]))
        time.sleep(0.03)
        waiting = receiver.time_in_ring().oldest_age_s
        assert waiting is not None
        assert waiting >= 0.03
        with receiver.drain():
            time.sleep(0.03)
            assert receiver.time_in_ring().measured == 0
        found = receiver.time_in_ring()
        assert found.oldest_age_s is None
        assert found.measured == 1
        assert found.total_s >= 0.06
        median = found.quantile(0.5)
        assert median is not None
        assert found.total_s <= median
    with pytest.raises(ClosedError):
        receiver.time_in_ring()


def test_a_closed_ring_has_none() -> None:
    ring = Ring.create(4096)
    ring.close()
    with pytest.raises(ClosedError):
        ring.time_in_ring()


def test_quantiles_are_bounds() -> None:
    assert (TIME_BOUNDS_S[0], TIME_BOUNDS_S[1], TIME_BOUNDS_S[-1]) == (1e-6, 2.5e-6, 100.0)
    assert times({}).quantile(0.5) is None
    found = times({0: 50, 3: 49, len(TIME_BOUNDS_S): 1})
    assert [found.quantile(q) for q in (0, 0.5, 0.51, 0.99, 1)] == [1e-6, 1e-6, 1e-5, 1e-5, inf]
    assert list(found.cumulative())[-2:] == [(100.0, 99), (inf, 100)]
    for q in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            found.quantile(q)


def test_a_liars_counts_are_only_wrong() -> None:
    found = TimeInRing((2**64 - 1,) * (len(TIME_BOUNDS_S) + 1), 1.0, None)
    assert found.quantile(1.0) == inf
