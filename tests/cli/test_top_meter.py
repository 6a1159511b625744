"""The facts that top keeps of each ring between two samples."""

from __future__ import annotations

from dataclasses import replace

from kevy_ring.cli.top.meter import GONE_SHOWN_S, SPARK_LOOKS, TopMeter
from kevy_ring.ring import Ring, RingStats
from kevy_ring.ring.outside.watch import RingLook


def stats_of_a_ring() -> RingStats:
    with Ring.create(4096) as ring:
        return ring.stats()


def test_rates_are_means_over_a_second_of_what_was_sent_and_what_was_released() -> None:
    meter, stats = TopMeter(), stats_of_a_ring()
    for tick in range(9):
        moved = replace(
            stats, events_in=100 * tick, overflow_events=10 * tick, bytes_in=tick, events_out=50 * tick,
            bytes_out=2 * tick, data_wakes=tick, space_wakes=tick,
        )  # fmt: skip
        (ring,) = meter.take([RingLook("a", moved)], tick / 4)
    assert ring.rates == (440, 4, 200, 8, 8)
    assert list(ring.recent) == [440] * 8
    assert not ring.is_quiet


def test_a_ring_in_which_nothing_moves_becomes_quiet() -> None:
    meter, stats = TopMeter(), stats_of_a_ring()
    for tick in range(SPARK_LOOKS + 4):
        (ring,) = meter.take([RingLook("a", stats)], tick / 4)
    assert ring.is_quiet
    (ring,) = meter.take([RingLook("a", replace(stats, events_in=1))], 99)
    assert not ring.is_quiet


def test_a_ring_that_has_gone_is_shown_for_a_while() -> None:
    meter, stats = TopMeter(), stats_of_a_ring()
    meter.take([RingLook("a", stats), RingLook("b", stats)], 0)
    assert [(ring.name, ring.gone_at) for ring in meter.take([RingLook("b", stats)], 1)] == [("a", 1), ("b", None)]
    assert [ring.name for ring in meter.take([RingLook("b", stats)], 1 + GONE_SHOWN_S)] == ["b"]
    assert next(ring.gone_at for ring in meter.take([RingLook("a", stats)], 9)) is None


def test_another_ring_of_the_same_name_begins_anew() -> None:
    meter, stats = TopMeter(), stats_of_a_ring()
    meter.take([RingLook("a", replace(stats, events_in=1000))], 0)
    meter.take([RingLook("a", replace(stats, events_in=2000))], 1)
    (ring,) = meter.take([RingLook("a", replace(stats, created_unix_s=stats.created_unix_s + 1))], 2)
    assert (ring.rates.in_events, list(ring.history)) == (0, [])


def test_a_corrupt_ring_has_no_rates_and_keeps_what_is_wrong() -> None:
    meter, stats = TopMeter(), stats_of_a_ring()
    for tick in range(3):
        meter.take([RingLook("a", replace(stats, events_in=tick))], tick)
    (ring,) = meter.take([RingLook("a", stats, "torn")], 3)
    assert (ring.fault, ring.rates.in_events) == ("torn", 0)
    (ring,) = meter.take([RingLook("a", None, "cut")], 4)
    assert ring.fault == "cut"
    (ring,) = meter.take([RingLook("a", stats)], 5)
    assert ring.fault is None
