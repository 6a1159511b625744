"""The process of one latency round: a caller and an echo in forks of their own, two transports between them."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from bench.latency import RECORD_BYTES, LatencyJob
from bench.measured import WrongAnswer
from bench.pair_process import at_the_start, dismiss, fork_role, gather, main, make_records
from bench.result import quantile
from bench.transport import Transport, transport_class

_CAPACITY_BYTES = 1 << 16
_WARM_UP = 200
_TRICKLE_S = 0.004  # "an event every few milliseconds"
_ASLEEP_S = 0.003  # after this long every receiver that sleeps at all is asleep
_END, _WAKE, _MARK, _CALM = b"E", b"W", b"M", b"C"


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
    """Keep this process on one core of its own: where both share one, waiting costs a tenth and tells little."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})


def _echo(job: LatencyJob, there: Transport, back: Transport, connection: Connection) -> dict[str, Any]:
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
        now = time.monotonic_ns()
        command = record[:1]
        if command == _WAKE:
            wakes.append(now - int.from_bytes(record[1:9], "little"))
        elif command == _MARK:
            marks.append((now, time.process_time_ns()))
        elif command == _END:
            break
    return {"wakes": wakes, "marks": marks}


def _round_trips(job: LatencyJob, put: Callable[[bytes], Any], take: Callable[[], Any]) -> list[int]:
    clock, samples = time.monotonic_ns, []
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


def _call(job: LatencyJob, there: Transport, back: Transport, connection: Connection) -> list[int]:
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
            put(_commanded(_WAKE, time.monotonic_ns()))
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


def _figures(samples: list[int], echo: dict[str, Any]) -> dict[str, float]:
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


def _compute_for_ever() -> None:
    while True:
        sum(range(10_000))


def run(job: LatencyJob, tag: str) -> dict[str, Any]:
    """Run both sides, with other processes computing beside them when the job says so."""
    kind = transport_class(job.rival)
    for module in kind.modules:
        importlib.import_module(module)
    there = kind(f"{tag}t", RECORD_BYTES, _CAPACITY_BYTES)
    back = kind(f"{tag}b", RECORD_BYTES, _CAPACITY_BYTES)
    hogs = [multiprocessing.get_context("fork").Process(target=_compute_for_ever) for _ in range(job.hogs)]
    there.create()
    back.create()
    try:
        sides = [fork_role(lambda c: _echo(job, there, back, c)), fork_role(lambda c: _call(job, there, back, c))]
        there.settle()
        back.settle()
        for hog in hogs:
            hog.start()
        gather(sides, "ready")
        for side in sides:
            side.send("go")
        echo, samples = gather(sides, "report")
        dismiss(sides)
    finally:
        for hog in hogs:
            if hog.pid:
                hog.kill()
                hog.join()
        there.remove()
        back.remove()
    return {"seconds": sum(samples) / 1e9, "work": len(samples), "figures": _figures(samples, echo)}


if __name__ == "__main__":
    sys.exit(main(lambda: run(LatencyJob(**json.loads(sys.argv[1])), sys.argv[2])))
