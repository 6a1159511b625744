"""The process of one round: forks a sender and a receiver, starts both at once, prints one line of JSON."""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import resource
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn

from bench.measured import WrongAnswer
from bench.native import WRONG_ANSWER_EXIT
from bench.pair import Job
from bench.sink import DigestSink, Sink
from bench.transport import Transport, transport_class

Role = Callable[[Connection], Any]


_forked: list[int] = []


class ChildFailed(Exception):
    """A forked process ended without its report. ``wrong``: it found a wrong answer."""

    def __init__(self, what: str, *, wrong: bool = False) -> None:
        super().__init__(what)
        self.wrong = wrong


def make_records(count: int, length: int, seed: int = 1) -> list[bytes]:
    """Distinct records: a number first where it fits, then bytes that do not compress."""
    noise = random.Random(seed).randbytes(length + count)
    head = min(8, length)
    return [(i.to_bytes(8, "little")[:head] + noise[i : i + length])[:length] for i in range(count)]


def fork_role(role: Role) -> Connection:
    """Run ``role`` in a fork; returns the connection to it."""
    ours, theirs = Pipe()
    pid = os.fork()
    if not pid:
        ours.close()
        _play(role, theirs)
    theirs.close()
    _forked.append(pid)
    return ours


def _play(role: Role, connection: Connection) -> NoReturn:
    code = 1
    try:
        connection.send(("report", role(connection)))
        connection.recv()  # both sides stay until both have reported: some rivals lose what is unread when one leaves
        code = 0
    except EOFError:
        pass
    except BaseException as error:
        traceback.print_exc()
        connection.send(("wrong" if isinstance(error, WrongAnswer) else "failed", f"{type(error).__name__}: {error}"))
    finally:
        sys.stderr.flush()
        os._exit(code)


def gather(connections: list[Connection], wanted: str) -> list[Any]:
    """What each role sends next, in their order. Raises :class:`ChildFailed` when one fails or ends."""
    found: dict[int, Any] = {}
    while len(found) < len(connections):
        waiting = [c for i, c in enumerate(connections) if i not in found]
        for connection in wait(waiting):
            assert isinstance(connection, Connection)
            try:
                what, said = connection.recv()
            except EOFError:
                raise ChildFailed("a process ended without a word") from None
            if what != wanted:
                raise ChildFailed(said, wrong=what == "wrong")
            found[connections.index(connection)] = said
    return [found[i] for i in range(len(connections))]


def dismiss(connections: list[Connection]) -> None:
    """Let both sides end, and wait for it: their CPU time counts as ours only then."""
    for connection in connections:
        connection.send("done")
    while _forked:
        os.waitpid(_forked.pop(), 0)


def at_the_start(connection: Connection) -> None:
    """Say that this side is ready and wait for the word to go."""
    gc.collect()
    gc.freeze()
    connection.send(("ready", None))
    connection.recv()


def cpu_seconds() -> float:
    """The CPU that this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _send(transport: Transport, job: Job, records: list[bytes], connection: Connection) -> dict[str, Any]:
    transport.open_sender()
    send = transport.sending_loop(job.way)
    at_the_start(connection)
    cpu, began = cpu_seconds(), time.monotonic_ns()
    send(records, job.repeats)
    return {"at": began, "cpu_s": cpu_seconds() - cpu}


def _take(transport: Transport, job: Job, records: list[bytes], connection: Connection) -> dict[str, Any]:
    transport.open_receiver()
    sink = DigestSink() if job.is_checked else Sink(job.record_bytes if job.reads_whole else 0)
    take = transport.taking_loop(job.way)
    count = len(records) * job.repeats
    at_the_start(connection)
    cpu = cpu_seconds()
    last = take(count, sink)
    ended = time.monotonic_ns()
    cpu = cpu_seconds() - cpu
    if bytes(last)[: job.record_bytes] != records[-1]:
        raise WrongAnswer("the last record is another one")
    sink.verify(records, job.repeats)
    return {"at": ended, "cpu_s": cpu}


def run(job: Job, tag: str) -> dict[str, Any]:
    """Run both sides; seconds from the first send to the last take."""
    kind = transport_class(job.rival)
    for module in kind.modules:
        importlib.import_module(module)
    records = make_records(job.records, job.record_bytes)
    transport = kind(tag, job.record_bytes, job.capacity_bytes)
    transport.create()
    try:
        sides = [fork_role(lambda c: _take(transport, job, records, c))]
        sides.append(fork_role(lambda c: _send(transport, job, records, c)))
        transport.settle()
        gather(sides, "ready")
        for side in sides:
            side.send("go")
        taken, sent = gather(sides, "report")
        dismiss(sides)
    finally:
        transport.remove()
    seconds = (taken["at"] - sent["at"]) / 1e9
    cpu = {"sender_cpu_s": sent["cpu_s"], "receiver_cpu_s": taken["cpu_s"]}
    return {"seconds": seconds, "work": len(records) * job.repeats, "figures": cpu}


def main(run_job: Callable[[], dict[str, Any]]) -> int:
    """Print the result of a job as one line, or tell on stderr why there is none."""
    try:
        print(json.dumps(run_job()), flush=True)
    except ChildFailed as error:
        print(error, file=sys.stderr)
        return WRONG_ANSWER_EXIT if error.wrong else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(lambda: run(Job(**json.loads(sys.argv[1])), sys.argv[2])))
