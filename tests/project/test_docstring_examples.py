"""The examples in the docstrings of public calls run."""

from __future__ import annotations

import doctest
import json
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

import msgspec
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

import kevy_ring
from kevy_ring import Frame, InboxGroup, KeyedDistributor, Producer, Ring, RingGroup, RingQueue, shard
from kevy_ring import objects as objects_package
from kevy_ring.metrics import collector
from kevy_ring.metrics.fleet_collector import FleetCollector
from kevy_ring.replica.apply_lag import ApplyLagWatch
from kevy_ring.replica.fleet import Fleet
from kevy_ring.replica.stop import StopSignal
from kevy_ring.ring import Segment
from kevy_ring.shard.refused.policy import ErrorPolicy
from kevy_ring.shard.sinks.memory import MemorySink
from kevy_ring.shard.sinks.retention import Retention
from kevy_ring.testing import EmbeddedPrimary
from reference import all_calls, docstring_examples

EXAMPLES = [
    (f"{call.name}-{number}", text) for call in all_calls() for number, text in enumerate(docstring_examples(call.doc))
]
#: 16 bytes, as the array of an example has them.
RECORD = b"a record of 16 B"
FRAMES = [Frame(0, [b"SET", b"k", b"v"]), Frame(1, [b"DEL", b"k"])]


class Names(dict[str, Any]):
    """The names that the examples of docstrings use without making them. Rings are made when they are asked for.

    ``example``: the name of the call. A sender and a receiver are of objects in the examples of objects.
    """

    def __init__(self, example: str, close: Callable[[Any], Any]) -> None:
        super().__init__(
            Segment=Segment, StopSignal=StopSignal, EmbeddedPrimary=EmbeddedPrimary, MemorySink=MemorySink,
            ErrorPolicy=ErrorPolicy, Retention=Retention, Fleet=Fleet, FleetCollector=FleetCollector,
            ApplyLagWatch=ApplyLagWatch,
            RingGroup=WorkedRingGroup, Process=Worker, work=work,
            collector=collector, registry=CollectorRegistry(), url="redis://127.0.0.1:1", shard_main=print,
            signal=signal, json=json, np=np, msgspec=msgspec, cloudpickle=pickle,
            record=RECORD, keys=[b"k"], records=[RECORD], total=0.0,
            get_context=lambda method: NoProcesses, shard=None, sock=Socket(), apply=lambda *_: None,
            print=lambda *_: None,
        )  # fmt: skip
        self._example = example
        self._close = close

    def __missing__(self, name: str) -> Any:
        if name in ("ring", "producer", "consumer"):
            ring = self._close(Ring.create(1 << 16))
            producer, consumer = self._close(ring.producer()), self._close(ring.consumer())
            producer.try_write(RECORD)
            producer.close() if name == "consumer" else None
            self.update(ring=ring, producer=producer, consumer=consumer)
        elif name in ("sender", "receiver") and self._example.startswith("kevy_ring.objects."):
            sender, receiver = (self._close(each) for each in objects_package.object_pair(1 << 23))
            sender.send_many([np.ones(3), np.zeros(3)])
            sender.close() if name == "receiver" else None
            self.update(sender=sender, receiver=receiver)
        elif name in ("sender", "receiver", "batch"):
            sender, receiver = (self._close(each) for each in kevy_ring.replica_inbox_pair(1 << 16))
            sender.send_many(FRAMES)
            self.update(sender=sender, receiver=receiver)
            if name == "batch":
                self["batch"] = self._close(receiver.drain())
        elif name == "replica_inbox_pairs" and "InboxGroup" in self._example:
            self[name] = worked_inbox_pairs
        elif name == "group" and "InboxGroup" in self._example:
            self["group"] = self._close(InboxGroup(receiver for _, receiver in worked_inbox_pairs(2)))
        elif name == "group":
            self["group"] = self._close(WorkedRingGroup.create(2)[0])
        elif name == "distributor":
            distributor, consumers = KeyedDistributor.create(2)
            self["distributor"] = self._close(distributor)
            for consumer in consumers:
                self._close(consumer)
        else:
            self[name] = exported(name)
        return self[name]


def exported(name: str) -> Any:
    """The public class or function of this name. Raises KeyError, so that Python looks among its own names."""
    for package in (kevy_ring, shard, objects_package):
        if name in package.__all__:
            return getattr(package, name)
    raise KeyError(name)


class WorkedRingGroup(RingGroup):
    """A group whose producers have written and ended, as if they were those of other processes."""

    @classmethod
    def create(cls, rings: int, *arguments: Any, **options: Any) -> tuple[Self, list[Producer]]:
        group, producers = super().create(rings, *arguments, **options)
        for producer in producers:
            with producer:
                producer.try_write(RECORD)
        return group, producers


def worked_inbox_pairs(count: int) -> list[Any]:
    """Inboxes whose senders have sent and ended."""
    pairs = kevy_ring.replica_inbox_pairs(count)
    for sender, _ in pairs:
        with sender:
            sender.send_many(FRAMES)
    return pairs


class Worker(threading.Thread):
    """Stands for a process of multiprocessing."""

    def __init__(self, target: Callable[..., object], args: tuple[Any, ...] = ()) -> None:
        super().__init__(target=target, args=args, daemon=True)


def work(end: Any) -> None:
    """Do the one task of a queue, or receive one object."""
    if isinstance(end, RingQueue):
        end.get()
        end.task_done()
    else:
        end.recv(timeout=60)


class NoProcesses:
    """Stands for a context of multiprocessing."""

    class Process:
        def __init__(self, **_: Any) -> None: ...
        def start(self) -> None: ...


class Socket:
    """Stands for a socket that has four bytes."""

    def recv_into(self, view: memoryview) -> int:
        view[:4] = b"four"
        return 4

    def sendmsg(self, pieces: Any) -> int:
        return sum(map(len, pieces))


def ran(text: str, name: str, names: Names) -> None:
    """Run an example. One with prompts also shows its results."""
    if not text.startswith(">>>"):
        exec(compile(text, name, "exec"), names)
        return
    for example in doctest.DocTestParser().get_examples(text):
        assert repr(eval(example.source, names)) == example.want.strip()


@pytest.fixture
def names(name: str) -> Iterator[Names]:
    opened: list[Any] = []

    def close_later(found: Any) -> Any:
        opened.append(found)
        return found

    yield Names(name, close_later)
    for each in reversed(opened):
        getattr(each, "close", getattr(each, "release", None))()


@pytest.mark.parametrize(("name", "text"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_an_example_in_a_docstring_runs(name: str, text: str, names: Names) -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        ran(text, name, names)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for left in ("group", "distributor", "fleet", "jobs", "ring", "sender", "receiver", "producer", "consumer"):
            if left in names and hasattr(names[left], "close"):
                names[left].close()
