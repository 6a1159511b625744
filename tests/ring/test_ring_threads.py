"""One consumer that several threads use."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from kevy_ring import BatchOpen, Ring


@pytest.mark.parametrize("way", ["drain", "read_many"])
def test_threads_that_take_different_numbers_of_records_take_each_once(way: str) -> None:
    """One thread has a batch at a time. The others get an error that says so."""
    records, taken, failures = 20_000, [], []
    lock = threading.Lock()

    def take(max_records: int) -> None:
        while len(taken) < records and not failures:
            try:
                if way == "drain":
                    with consumer.drain(max_records) as batch:
                        found = [bytes(record) for record in batch]
                        assert [len(record) for record in found] == batch.lengths.tolist()
                        with lock:
                            taken.extend(found)
                else:
                    found = consumer.read_many(max_records)
                    with lock:
                        taken.extend(found)
            except BatchOpen:
                pass
            except BaseException as failure:
                failures.append(failure)
                raise

    with Ring.create(1 << 14) as ring, ring.producer() as producer, ring.consumer() as consumer:
        threads = [threading.Thread(target=take, args=(number,), daemon=True) for number in (1, 7, 1500)]
        for thread in threads:
            thread.start()
        sent = [b"%d" % number * (number % 9) for number in range(records)]
        left = sent
        while left and not failures:
            left = left[producer.write_many(left[:100]) :]
        for thread in threads:
            thread.join(40)
            assert not thread.is_alive()
    assert not failures
    assert sorted(taken) == sorted(sent)


def test_lengths_that_another_thread_changes_never_reach_foreign_memory() -> None:
    count = 4000
    memory = np.full(1 << 20, ord("F"), np.uint8)
    packed = memory[: count * 8]
    packed[:] = ord("o")
    lengths = np.full(count, 8, np.uint32)
    ends = time.monotonic() + 1.5
    outcomes = [0, 0]

    def change() -> None:
        last = lengths[-1:]
        while time.monotonic() < ends:
            for _ in range(200):
                last[0] = 60_000
                last[0] = 8

    with Ring.create(1 << 20) as ring, ring.producer() as producer, ring.consumer() as consumer:
        changing = threading.Thread(target=change)
        changing.start()
        while changing.is_alive():
            try:
                taken = producer.write_packed(packed, lengths)
            except ValueError:
                outcomes[0] += 1
                taken = 0
            else:
                outcomes[1] += 1
            found = consumer.read_many(count + 1)
            assert len(found) == taken
            assert {len(record) for record in found} <= {8}
            assert not any(b"F" in record for record in found)
        changing.join()
        lengths[-1] = 8
        assert producer.write_packed(packed, lengths) == count
    assert sum(outcomes) > 0
