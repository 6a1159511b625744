"""The examples in the docstrings of public calls run."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from kevy_ring import Frame, Ring, SnapshotChunk, replica_inbox_pair, replica_inbox_pairs
from kevy_ring.metrics import collector
from kevy_ring.replica.stop import StopSignal
from kevy_ring.ring import Consumer, Producer, Segment
from kevy_ring.testing import EmbeddedPrimary
from reference import all_calls, docstring_examples

EXAMPLES = [
    (f"{call.name}-{number}", text) for call in all_calls() for number, text in enumerate(docstring_examples(call.doc))
]


class Names(dict[str, Any]):
    """The names that the examples of docstrings use without making them. Rings are made when they are asked for."""

    def __init__(self, close: Callable[[Any], Any]) -> None:
        super().__init__(
            Frame=Frame, Ring=Ring, Segment=Segment, Producer=Producer, Consumer=Consumer, SnapshotChunk=SnapshotChunk,
            StopSignal=StopSignal, EmbeddedPrimary=EmbeddedPrimary,
            replica_inbox_pair=replica_inbox_pair, replica_inbox_pairs=replica_inbox_pairs, collector=collector,
            registry=CollectorRegistry(), signal=signal, record=b"a record", get_context=lambda method: NoProcesses,
            shard=None, sock=Socket(), apply=lambda *_: None, print=lambda *_: None,
        )  # fmt: skip
        self._close = close

    def __missing__(self, name: str) -> Any:
        if name in ("ring", "producer", "consumer"):
            ring = self._close(Ring.create(1 << 16))
            producer, consumer = self._close(ring.producer()), self._close(ring.consumer())
            producer.try_write(b"a record")
            producer.close() if name == "consumer" else None
            self.update(ring=ring, producer=producer, consumer=consumer)
        elif name in ("sender", "receiver", "batch"):
            sender, receiver = (self._close(each) for each in replica_inbox_pair(1 << 16))
            sender.send_many([Frame(0, [b"SET", b"k", b"v"]), Frame(1, [b"DEL", b"k"])])
            self.update(sender=sender, receiver=receiver)
            if name == "batch":
                self["batch"] = self._close(receiver.drain())
        else:
            raise KeyError(name)
        return self[name]


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


@pytest.fixture
def names() -> Iterator[Names]:
    opened: list[Any] = []

    def close_later(found: Any) -> Any:
        opened.append(found)
        return found

    yield Names(close_later)
    for each in reversed(opened):
        getattr(each, "close", getattr(each, "release", None))()


@pytest.mark.parametrize(("name", "text"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_an_example_in_a_docstring_runs(name: str, text: str, names: Names) -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        exec(compile(text, name, "exec"), names)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for left in ("ring", "sender", "receiver", "producer", "consumer"):
            if left in names and hasattr(names[left], "close"):
                names[left].close()
