"""A round of the latency case: a caller and an echo in forks of their own, two transports between them.

Round trips first; then, unless the receiver only spins or other processes take the cores, wake-ups of a sleeping
receiver, and the CPU time that waiting costs it.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from bench.measure import WrongAnswer, quantile
from bench.processes import Report, answer, at_the_start, now_ns, time_sides
from bench.rivals import transport_class
from bench.rounds.pair import make_records
from bench.transport import Transport

RECORD_BYTES = 88
_CAPACITY_BYTES = 1 << 16
_WARM_UP = 200
_TRICKLE_S = 0.004  # "an event every few milliseconds"
_ASLEEP_S = 0.003  # after this long every receiver that sleeps at all is asleep
_END, _WAKE, _MARK, _CALM = b"E", b"W", b"M", b"C"


@dataclass(frozen=True)
class Job:
    """What the two sides do."""

    rival: str
    spins: bool  # poll without end, instead of waiting as the rival waits
    hogs: int  # processes that compute all the time, to take the cores away
    round_trips_s: float
    window_s: float  # how long the CPU time of a waiting receiver is watched
    wakes: int


def _first(found: Any) -> Any:
    return found[0] if isinstance(found, list) else found


def _spinning(poll: Callable[[], Any]) -> Callable[[], Any]:
    def take() -> Any:
        while not (found := poll()):
            pass
        return found

    return take


def _commanded(command: bytes, stamp: int = 0) -> bytes:
    return (command + stamp.to_bytes(8, "little")).ljust(RECORD_BYTES, b".")


def _stay_on(core: int) -> None:
    """Keep the two sides on different cores. On one core, waiting costs a tenth, and the figure means little."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})


def _echo(job: Job, there: Transport, back: Transport, connection: Connection) -> Report:
    _stay_on(1)
    there.open_receiver()
    back.open_sender()
    put = back.put
    take = _spinning(there.poll) if job.spins else there.get
    at_the_start(connection)
    while True:  # round trips, until the record that ends them
        record = _first(take())
        if record[:1] == _END:
            break
        put(record)
    wakes, marks = [], []
    while job.window_s:
        record = _first(take())
        now = now_ns()
        command = record[:1]
        if command == _WAKE:
            wakes.append(now - int.from_bytes(record[1:9], "little"))
        elif command == _MARK:
            marks.append((now, time.process_time_ns()))
        elif command == _END:
            break
    return {"wakes": wakes, "marks": marks}


def _round_trips(job: Job, put: Callable[[bytes], Any], take: Callable[[], Any]) -> list[int]:
    clock, samples = now_ns, []
    records = make_records(64, RECORD_BYTES)
    for i in range(_WARM_UP):
        put(records[i & 63])
        if _first(take())[:RECORD_BYTES] != records[i & 63]:
            raise WrongAnswer("another record came back")
    ends, i = clock() + int(job.round_trips_s * 1e9), 0
    now = clock()
    while now < ends:
        record = records[i & 63]
        began = clock()
        put(record)
        found = take()
        now = clock()
        samples.append(now - began)
        i += 1
        if _first(found)[:RECORD_BYTES] != record:
            raise WrongAnswer("another record came back")
    return samples


def _call(job: Job, there: Transport, back: Transport, connection: Connection) -> list[int]:
    _stay_on(0)
    there.open_sender()
    back.open_receiver()
    put = there.put
    take = _spinning(back.poll) if job.spins else back.get
    at_the_start(connection)
    samples = _round_trips(job, put, take)
    put(_commanded(_END))
    if job.window_s:
        for _ in range(job.wakes):
            time.sleep(_ASLEEP_S)
            put(_commanded(_WAKE, now_ns()))
        time.sleep(_ASLEEP_S)
        put(_commanded(_MARK))
        time.sleep(job.window_s)
        put(_commanded(_MARK))
        ends = time.monotonic() + job.window_s
        while time.monotonic() < ends:
            time.sleep(_TRICKLE_S)
            put(_commanded(_CALM))
        put(_commanded(_MARK))
        put(_commanded(_END))
    return samples


def _figures(samples: list[int], echo: Report) -> dict[str, float]:
    one_way = sorted(sample / 2000 for sample in samples)  # microseconds, half a round trip
    figures = {f"p{q:g}": quantile(one_way, q / 100) for q in (50, 99, 99.9)}
    if echo["wakes"]:
        figures["wake"] = quantile(sorted(wake / 1000 for wake in echo["wakes"]), 0.5)
    marks = echo["marks"]
    for name, before, after in (("idle CPU", 0, 1), ("trickle CPU", 1, 2)):
        if len(marks) > after:
            wall, cpu = marks[after][0] - marks[before][0], marks[after][1] - marks[before][1]
            figures[name] = 100 * cpu / wall
    return figures


def _compute() -> None:
    while True:
        sum(range(10_000))


def run(tag: str, **arguments: Any) -> Report:
    """Run both sides, and the other processes that compute at the same time if the job wants them."""
    job = Job(**arguments)
    kind = transport_class(job.rival)
    for module in kind.modules:
        importlib.import_module(module)
    there, back = (kind(f"{tag}{way}", RECORD_BYTES, _CAPACITY_BYTES) for way in "tb")
    hogs = [multiprocessing.get_context("fork").Process(target=_compute) for _ in range(job.hogs)]

    def before() -> None:
        there.settle()
        back.settle()
        for hog in hogs:
            hog.start()

    there.create()
    back.create()
    try:
        roles = [lambda c: _echo(job, there, back, c), lambda c: {"samples": _call(job, there, back, c)}]
        echo, call = time_sides(roles, before, lambda: None)
    finally:
        for hog in hogs:
            if hog.pid:
                hog.kill()
                hog.join()
        there.remove()
        back.remove()
    samples = call["samples"]
    return answer(sum(samples) / 1e9, len(samples), _figures(samples, echo))
