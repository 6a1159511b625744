"""The spin of a wait costs little processor time, and a wait that spins misses nothing."""

from __future__ import annotations

import signal
import statistics
import threading
import time
from collections.abc import Iterator

import pytest

from kevy_ring import Consumer, Ring

SPIN_US = 20_000.0


@pytest.fixture
def ring() -> Iterator[Ring]:
    """A ring of 4 KiB."""
    with Ring.create(4096) as made:
        yield made


def processor_time(consumer: Consumer, timeout: float) -> float:
    """Seconds that this thread computes during one wait."""
    began = time.thread_time()
    consumer.wait(timeout)
    return time.thread_time() - began


def test_waits_in_vain_cost_ever_less_and_at_last_no_spinning(ring: Ring) -> None:
    with ring.producer(), ring.consumer(spin_us=SPIN_US) as consumer:
        costs = [processor_time(consumer, 0.025) for _ in range(20)]
        assert sum(costs[-4:]) < costs[0]


def test_waits_shorter_than_the_window_do_not_spin_for_ever(ring: Ring) -> None:
    with ring.producer(), ring.consumer(spin_us=SPIN_US) as consumer:
        costs = [processor_time(consumer, 0.004) for _ in range(25)]
        assert sum(costs[-4:]) < costs[0] + costs[1]


def test_an_event_every_few_milliseconds_is_awaited_asleep(ring: Ring) -> None:
    """Wait for events of a slow stream. Each comes more than two windows after the one before."""
    window_us, events = 2000.0, 40
    with ring.producer() as producer, ring.consumer(spin_us=window_us) as consumer:
        stop = threading.Event()

        def trickle() -> None:
            for number in range(events):
                stop.wait(0.008)
                assert producer.try_write(number.to_bytes(4, "little"))

        writer = threading.Thread(target=trickle)
        writer.start()
        try:
            costs: list[float] = []
            found: list[bytes] = []
            while len(found) < events:
                costs.append(processor_time(consumer, 20))
                found += consumer.read_many()
        finally:
            stop.set()
            writer.join()
        assert found == [number.to_bytes(4, "little") for number in range(events)]
        assert statistics.median(costs[len(costs) // 2 :]) < window_us / 1e6 / 2


def test_a_consumer_that_spins_no_more_still_hears_every_record(ring: Ring) -> None:
    with ring.producer() as producer, ring.consumer(spin_us=200) as consumer:
        for _ in range(12):
            assert not consumer.wait(0.001)
        for number in range(20):
            late = threading.Timer(0.002, producer.try_write, (bytes([number]),))
            late.start()
            assert consumer.wait(60)
            assert consumer.read_many() == [bytes([number])]
            late.join()


@pytest.mark.parametrize("spin_us", [0.0, 200.0])
def test_a_signal_handler_runs_while_the_wait_goes_on(ring: Ring, spin_us: float) -> None:
    with ring.producer() as producer, ring.consumer(spin_us=spin_us) as consumer:
        ran: list[bool] = []

        def handle(*_: object) -> None:
            ran.append(producer.try_write(b"from the handler"))

        before = signal.signal(signal.SIGALRM, handle)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            assert consumer.wait(60)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert ran == [True]
        assert consumer.read_many() == [b"from the handler"]
