"""Delays double from the first to the longest, with jitter, and start over after a success."""

from __future__ import annotations

import random

import pytest

from kevy_ring.replica.backoff import FIRST_S, LONGEST_S, Backoff


def test_delays_stay_between_a_quarter_of_a_second_and_ten_seconds() -> None:
    backoff = Backoff(source=random.Random(1))
    delays = [backoff.next_delay() for _ in range(2000)]
    assert (FIRST_S, LONGEST_S) == (0.25, 10.0)
    assert all(FIRST_S <= delay <= LONGEST_S for delay in delays)
    assert delays[0] <= 2 * FIRST_S
    assert min(delays[20:]) >= LONGEST_S / 2


def test_each_ceiling_is_twice_the_one_before() -> None:
    class Highest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    backoff = Backoff(0.25, 10, source=Highest())
    assert [backoff.next_delay() for _ in range(7)] == [0.5, 1, 2, 4, 8, 10, 10]


def test_two_replicas_do_not_come_back_together() -> None:
    one, other = Backoff(source=random.Random(1)), Backoff(source=random.Random(2))
    assert [one.next_delay() for _ in range(5)] != [other.next_delay() for _ in range(5)]


def test_a_success_starts_over() -> None:
    backoff = Backoff()
    for _ in range(10):
        backoff.next_delay()
    backoff.reset()
    assert backoff.attempts == 0
    assert backoff.next_delay() <= 0.5


@pytest.mark.parametrize(("first", "longest"), [(0, 1), (-1, 1), (2, 1)])
def test_bounds_that_make_no_sense_are_refused(first: float, longest: float) -> None:
    with pytest.raises(ValueError, match="first_s"):
        Backoff(first, longest)
