"""kill -9 of producers at random, under load, while one process reads them all; and a ledger of every record.

python tests/support/group_torture.py --seconds 20
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import signal
import struct
import sys
import time
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from typing import Any

from kevy_ring import GroupEnded, RecvError, Ring, RingGroup
from kevy_ring.ring import inspect_ring

HEADER = struct.Struct("<IIQ")  # slot, generation, number
FORK = multiprocessing.get_context("fork")


def write_until_killed(name: str, slot: int, generation: int, told: Any, seed: int) -> None:
    """Write numbered records in every way there is. ``told[slot]``: how many calls have reported as written."""
    chance, number = random.Random(seed), 0

    def record(of: int) -> bytes:
        return HEADER.pack(slot, generation, of) + bytes(chance.randrange(0, 200))

    with Ring.attach(name, timeout=60).producer() as producer:
        while True:
            done, way = 0, chance.randrange(3)
            if way == 0:
                done = int(producer.try_write(record(number)))
            elif way == 1:
                done = producer.write_many([record(number + i) for i in range(chance.randrange(1, 40))])
            elif (grant := producer.try_reserve(HEADER.size)) is not None:
                with grant:
                    grant.view[:] = HEADER.pack(slot, generation, number)
                    grant.commit(HEADER.size)
                producer.publish()
                done = 1
            number += done
            told[slot] = number
            if not done:
                producer.wait(300)


@dataclass
class Report:
    """``problems``: empty if nothing was lost, doubled or reordered, and every death was named once."""

    records: int = 0
    kills: int = 0
    deaths_told: int = 0
    replayed: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass
class Slot:
    """A place for one producer process after another. ``seen``: the records of this generation that were delivered."""

    name: str
    generation: int = 0
    seen: int = 0
    in_ring: int = 0
    process: BaseProcess | None = None
    is_killed: bool = False


class Torture:
    """``keeps_rings``: successors take the rings over. Otherwise each gets a new ring, which joins the group."""

    def __init__(self, producers: int, seed: int, *, keeps_rings: bool) -> None:
        self.chance = random.Random(seed)
        self.report = Report()
        self.keeps_rings = keeps_rings
        self.told = FORK.RawArray("Q", producers)
        self.rings: dict[str, Ring] = {}
        self.group = RingGroup(on_end=self.on_end, awaits_successors=keeps_rings)
        self.slots = [Slot(self.new_ring()) for _ in range(producers)]
        for number in range(producers):
            self.start(number)

    def new_ring(self) -> str:
        ring = Ring.create(1 << self.chance.choice((12, 14, 16)))
        self.rings[ring.name] = ring
        self.group.add(ring.consumer())
        return ring.name

    def start(self, number: int) -> None:
        slot = self.slots[number]
        slot.seen, slot.is_killed, self.told[number] = 0, False, 0
        slot.generation += 1
        arguments = (slot.name, number, slot.generation, self.told, self.chance.randrange(2**32))
        slot.process = FORK.Process(target=write_until_killed, args=arguments)
        slot.process.start()

    def on_end(self, consumer: Any, error: RecvError) -> None:
        """Every record that the dead process published has been delivered. Start its successor."""
        report = self.report
        number, slot = next((i, slot) for i, slot in enumerate(self.slots) if slot.name == error.name)
        assert slot.process is not None
        report.deaths_told += 1
        if not slot.is_killed or error.cause != "dead" or error.pid != slot.process.pid:
            report.problems.append(f"{error!r} of a process {slot.process.pid} that was not killed")
        if slot.seen < self.told[number]:
            report.problems.append(f"{slot.name}: {self.told[number]} were written and {slot.seen} delivered")
        stats = inspect_ring(slot.name)
        if stats.used_bytes or stats.events_out != slot.in_ring:
            report.problems.append(f"{slot.name}: {stats.used_bytes} bytes are left, {slot.in_ring} were delivered")
        slot.process.join()
        if not self.keeps_rings:
            self.rings.pop(slot.name).close()
            slot.name, slot.in_ring = self.new_ring(), 0
        self.start(number)

    def check(self, record: Any) -> None:
        number, generation, position = HEADER.unpack_from(record)
        slot = self.slots[number]
        if (generation, position) != (slot.generation, slot.seen):
            self.report.problems.append(
                f"slot {number}: record {position} of {generation} instead of {slot.seen} of {slot.generation}"
            )
        slot.seen, slot.in_ring = position + 1, slot.in_ring + 1
        self.report.records += 1

    def read_some(self) -> None:
        way = self.chance.randrange(4)
        if way == 0:
            record = self.group.try_read()
            if record is not None:
                self.check(record)
        elif way == 1:
            for record in self.group.read_many(self.chance.randrange(1, 100)):
                self.check(record)
        else:
            stop_at = self.chance.randrange(60) if way == 2 else -1
            with contextlib.suppress(ZeroDivisionError), self.group.drain(self.chance.randrange(1, 200)) as batch:
                view = None
                for i, view in enumerate(batch):
                    if i == stop_at:
                        self.report.replayed += 1
                        raise ZeroDivisionError  # this record and those behind it come again
                    self.check(view)
                view = None  # a view would keep the batch from being released

    def kill(self, number: int) -> None:
        """Kill a producer, if it has written: before it has its role, nothing tells of its death."""
        slot = self.slots[number]
        if not slot.is_killed and self.told[number] and slot.process is not None and slot.process.pid is not None:
            slot.is_killed = True
            self.report.kills += 1
            os.kill(slot.process.pid, signal.SIGKILL)

    def run(self, seconds: float, least_kills: int = 0) -> Report:
        """Read and kill for ``seconds``, and until ``least_kills``; then kill all, and look at what is left."""
        until, next_kill = time.monotonic() + seconds, 0.0
        while time.monotonic() < until or self.report.kills < least_kills:
            self.group.wait(timeout=0.05)
            for _ in range(20):
                self.read_some()
            if time.monotonic() > next_kill:
                self.kill(self.chance.randrange(len(self.slots)))
                next_kill = time.monotonic() + self.chance.uniform(0.0, 0.1)
        self.end()
        return self.report

    def end(self) -> None:
        open_slots = {slot.name for slot in self.slots}
        self.start = lambda number: open_slots.discard(self.slots[number].name)  # type: ignore[method-assign]
        self.keeps_rings = True
        while open_slots:
            for number in range(len(self.slots)):
                self.kill(number)
            self.group.wait(timeout=0.05)
            with contextlib.suppress(GroupEnded):  # the read that reports the last end has nothing to return
                self.read_some()
        if self.report.deaths_told != self.report.kills:
            self.report.problems.append(f"{self.report.kills} kills and {self.report.deaths_told} deaths told")
        self.group.close()
        for ring in self.rings.values():
            ring.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--producers", type=int, default=4)
    options = parser.parse_args()
    print(f"seed {options.seed}")
    bad = 0
    for keeps_rings in (False, True):
        report = Torture(options.producers, options.seed, keeps_rings=keeps_rings).run(options.seconds / 2)
        print(f"{'successors in the same rings' if keeps_rings else 'new rings'}: {report}")
        bad += bool(report.problems)
    return bad


if __name__ == "__main__":
    sys.exit(main())
