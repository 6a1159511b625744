"""A round of ``stall``, driven from Python.

The receiver does not read while all events are sent; each send is timed. Then the receiver takes them all, in order.
"""

from __future__ import annotations

import multiprocessing
import os
from array import array
from collections.abc import Callable
from multiprocessing.connection import Connection
from time import perf_counter_ns
from typing import Any

from bench.measure import WrongAnswer
from bench.processes import Report, answer, at_the_start, now_ns, time_two
from kevy_ring import replica_inbox_pair
from kevy_ring.events import Frame

_CAPACITY_BYTES = 8 << 20
_ARGV = [b"SET", b"key:000000123456", b"v" * 64]
_SHARES = {"p50_us": 0.5, "p99_9_us": 0.999, "max_us": 1.0}


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def _send_all(send: Callable[[Frame], object], count: int) -> Report:
    """Send ``count`` frames; microseconds of each send and resident bytes of an event."""
    took = array("Q", bytes(8 * count))
    for i in range(count):
        took[i] = 1  # touched before the memory is looked at
    clock, before, began = perf_counter_ns, _resident_bytes(), now_ns()
    for i in range(count):
        frame = Frame(i, _ARGV)
        start = clock()
        send(frame)
        took[i] = clock() - start
    seconds = (now_ns() - began) / 1e9
    per_event = (_resident_bytes() - before) / count
    ordered = sorted(took)
    figures = {name: ordered[min(count - 1, int(count * share))] / 1000 for name, share in _SHARES.items()}
    return {"seconds": seconds, "figures": {**figures, "bytes_per_event": per_event}}


class Ours:
    """``send`` one by one; the overflow holds what the ring does not, and its pump delivers it."""

    def __init__(self) -> None:
        self.sender, self.receiver = replica_inbox_pair(_CAPACITY_BYTES)

    def send(self, count: int, connection: Connection) -> Report:
        """All sends, then the flush."""
        sender = self.sender
        sender.receiver_gone  # noqa: B018  takes the role before the time begins
        report = _send_all(sender.send, count)
        at_the_start(connection)
        report["at"] = now_ns()
        if not sender.flush(100.0):
            raise WrongAnswer("the overflow did not empty")
        return report

    def receive(self, count: int, connection: Connection) -> Report:
        """Everything, in order, by the columns."""
        receiver, seen = self.receiver, 0
        receiver.stats()
        at_the_start(connection)
        while seen < count:
            with receiver.drain(4096, _CAPACITY_BYTES // 4) as batch:
                if not len(batch):
                    receiver.wait(10.0)
                    continue
                offsets = batch.offsets
                if int(offsets[0]) != seen or int(offsets[-1]) != seen + len(batch) - 1:
                    raise WrongAnswer(f"events out of order at {seen}")
                seen += len(batch)
        return {"at": now_ns()}


class StandardQueue:
    """``multiprocessing.Queue``: what the pipe does not hold waits in a deque of the sender's process."""

    def __init__(self) -> None:
        self.events: Any = multiprocessing.get_context("fork").Queue()

    def send(self, count: int, connection: Connection) -> Report:
        """All puts, then the feeder thread's end."""
        report = _send_all(lambda frame: self.events.put((frame.offset, frame.argv)), count)
        at_the_start(connection)
        report["at"] = now_ns()
        self.events.close()
        self.events.join_thread()
        return report

    def receive(self, count: int, connection: Connection) -> Report:
        """Everything, in order, one by one."""
        at_the_start(connection)
        for i in range(count):
            if self.events.get(timeout=60.0)[0] != i:
                raise WrongAnswer(f"event {i} is another one")
        return {"at": now_ns()}


def run(tag: str, way: str, events: int) -> Report:
    """All sends while the receiver does not read, then the drain of everything."""
    path: Any = {"ours": Ours, "queue": StandardQueue}[way]()
    drained, _, sent = time_two(lambda c: path.receive(events, c), lambda c: path.send(events, c))
    return answer(sent["seconds"], events, {**sent["figures"], "drained_per_s": events / drained})
