"""Fan-in: several processes send records, and one takes them all. Beside the queues that have many producers.

    python -m bench.fan_in [--quick] [--producers 4] [--rounds 7]

Rounds of all contenders take turns. The table has the median rate of each, its spread, and the median of the ratios of
kevy-ring to it in the same turn. ``a call``: how many records each call of a sender writes.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from kevy_ring import RingGroup

FORK = multiprocessing.get_context("fork")
RECORD = b"x" * 88
BATCH = 64
CAPACITY_BYTES = 1 << 20

Send = Callable[[int, int], None]  # the producer's number, and how many records
Take = Callable[[int], None]  # how many records in all


def ring_group(producers: int, many: bool) -> tuple[Send, Take]:
    """RingGroup: try_write or write_many; read_many."""
    group, ends = RingGroup.create(producers, CAPACITY_BYTES)

    def send(number: int, count: int) -> None:
        records = [RECORD] * BATCH
        with ends[number] as producer:
            while count:
                done = producer.write_many(records[:count]) if many else producer.try_write(RECORD)
                count -= done
                if not done:
                    producer.wait(len(RECORD))

    def take(count: int) -> None:
        with group:
            while count:
                if not (found := len(group.read_many())):
                    group.wait()
                count -= found

    return send, take


def mp_queue(producers: int, many: bool) -> tuple[Send, Take]:
    """multiprocessing.Queue: put, get. It has no batches."""
    queue: Any = FORK.Queue(CAPACITY_BYTES // len(RECORD))

    def send(number: int, count: int) -> None:
        for _ in range(count):
            queue.put(RECORD)

    def take(count: int) -> None:
        for _ in range(count):
            queue.get()

    return send, take


def faster_fifo(producers: int, many: bool) -> tuple[Send, Take]:
    """faster-fifo: put or put_many; get_many."""
    import faster_fifo as module

    bare = {"loads": bytes, "dumps": bytes}  # it takes bytes as they are
    queue: Any = module.Queue(CAPACITY_BYTES * producers, **bare)

    def send(number: int, count: int) -> None:
        while count:
            size = min(count, BATCH) if many else 1
            queue.put_many([RECORD] * size, timeout=60) if many else queue.put(RECORD, timeout=60)
            count -= size

    def take(count: int) -> None:
        while count:
            count -= len(queue.get_many(timeout=60, max_messages_to_get=1024))

    return send, take


CONTENDERS = {
    "kevy-ring RingGroup": (ring_group, "kevy_ring"),
    "multiprocessing.Queue": (mp_queue, "multiprocessing"),
    "faster-fifo": (faster_fifo, "faster_fifo"),
}


def one_round(make: Callable[[int, bool], tuple[Send, Take]], producers: int, many: bool, records: int) -> float:
    """Records a second, from the start of the senders to the last record taken."""
    send, take = make(producers, many)
    go = FORK.Event()

    def run(number: int) -> None:
        go.wait()
        send(number, records // producers)

    senders = [FORK.Process(target=run, args=(number,)) for number in range(producers)]
    for sender in senders:
        sender.start()
    began = time.monotonic()
    go.set()
    take(records // producers * producers)
    seconds = time.monotonic() - began
    for sender in senders:
        sender.join()
    return records / seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few small rounds: shows that it works, no speed")
    parser.add_argument("--producers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=0)
    options = parser.parse_args()
    rounds = options.rounds or (3 if options.quick else 7)
    present = {name: make for name, (make, module) in CONTENDERS.items() if importlib.util.find_spec(module)}
    ours = next(iter(CONTENDERS))
    for many in (False, True):
        rates: dict[str, list[float]] = {name: [] for name in present}
        for _ in range(rounds):
            for name, make in present.items():
                records = (20_000 if options.quick else 200_000) * (20 if name == ours else 1)
                rates[name].append(one_round(make, options.producers, many, records))
        a_call = BATCH if many else 1
        print(f"\n{options.producers} producers, {len(RECORD)} B, {a_call} records a call, {rounds} rounds\n")
        print("| | records/s, median | spread | kevy-ring is x times as fast |\n|---|---|---|---|")
        for name, found in sorted(rates.items(), key=lambda each: -statistics.median(each[1])):
            ratio = statistics.median(a / b for a, b in zip(rates[ours], found, strict=True))
            print(
                f"| {name} | {statistics.median(found):,.0f} | {min(found):,.0f} to {max(found):,.0f} | {ratio:.1f} |"
            )
    for name in CONTENDERS.keys() - present.keys():
        print(f"not here: {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
