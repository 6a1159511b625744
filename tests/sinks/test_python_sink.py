"""The user's own code as a sink."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from kevy_ring import Frame, replica_inbox_pair
from kevy_ring.errors import SinkError, ViewsEscaped
from kevy_ring.shard import BatchSink, Shard, Sink, Snapshot, sink_from_url
from kevy_ring.shard.sinks.python import PythonSink
from snapshot_events import snapshot_events, strings

seen: list[tuple[int, list[bytes]]] = []


def note(offset: int, argv: Sequence[Any]) -> None:
    seen.append((offset, [bytes(item) for item in argv]))


class Store:
    """A read model with every optional method of a sink."""

    durable = True

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def __call__(self, offset: int, argv: Sequence[Any]) -> None:
        self.calls.append((offset, [bytes(item) for item in argv]))

    def load(self, snapshot: Snapshot) -> None:
        self.calls.append({entry.key: entry.value for entry in snapshot})

    def flush(self) -> None:
        self.calls.append("flush")

    def close(self) -> None:
        self.calls.append("close")


class Holder:
    store = Store()


not_callable = 7


def apply_all(sink: Sink, events: list[Any]) -> None:
    sender, receiver = replica_inbox_pair(1 << 16)
    with receiver:
        sender.send_many(events)
        sender.close()
        Shard(receiver, sink).run(lambda: False)


def test_a_function_is_called_for_each_frame() -> None:
    seen.clear()
    sink = sink_from_url(f"python:{__name__}:note")
    assert not sink.durable
    assert not isinstance(sink, BatchSink)
    apply_all(sink, [Frame(3, [b"SET", b"k", b"\x00"]), Frame(4, [b"DEL", b"k"])])
    assert seen == [(3, [b"SET", b"k", b"\x00"]), (4, [b"DEL", b"k"])]


def test_an_object_may_load_flush_and_close() -> None:
    sink = sink_from_url(f"python:{__name__}:Holder.store")
    assert sink.durable
    apply_all(sink, [*snapshot_events(strings(a="1"), 5), Frame(5, [b"PING"])])
    sink.close()
    calls = Holder.store.calls
    assert calls[:2] == [{b"a": b"1"}, "flush"]
    assert (5, [b"PING"]) in calls
    assert calls[-2:] == ["flush", "close"]


def test_without_a_load_the_entries_of_snapshots_are_dropped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    sink = PythonSink(f"{__name__}:note")
    apply_all(sink, snapshot_events(strings(a="1", b="2"), 5))
    assert sink.dropped_entries == 2
    assert f"python:{__name__}:note has no load(): 2 entries of a snapshot were dropped" in caplog.text
    sink.flush()
    sink.close()


def test_a_callable_that_takes_batches_is_given_batches() -> None:
    class Batches:
        lengths: list[int]

        def __init__(self) -> None:
            self.lengths = []

        def __call__(self, offset: int, argv: Sequence[Any]) -> None:
            raise AssertionError("the batch is taken as one")

        def apply_batch(self, batch: Any) -> None:
            self.lengths.append(len(batch))

    target = Batches()
    sink = PythonSink(target)
    assert isinstance(sink, BatchSink)
    apply_all(sink, [Frame(at, [b"PING"]) for at in range(10)])
    assert sum(target.lengths) == 10


def test_what_the_callable_raises_comes_out_as_it_is() -> None:
    def fail(offset: int, argv: Sequence[Any]) -> None:
        raise LookupError(f"no place for {offset}")

    with pytest.raises(LookupError, match="no place for 9"):
        apply_all(PythonSink(fail), [Frame(9, [b"PING"])])


def test_a_view_that_is_kept_is_found_out() -> None:
    kept: list[Any] = []
    with pytest.raises(ViewsEscaped):
        apply_all(PythonSink(lambda offset, argv: kept.append(argv[0])), [Frame(9, [b"PING"])])
    kept.clear()


@pytest.mark.parametrize("path", ["nosuchmodule:f", f"{__name__}:nothing", f"{__name__}:not_callable"])
def test_what_cannot_be_found_or_called_is_a_typed_error(path: str) -> None:
    with pytest.raises(SinkError) as raised:
        sink_from_url(f"python:{path}")
    assert raised.value.reason == "load"


@pytest.mark.parametrize("path", ["module", "module:", ":callable"])
def test_a_path_without_two_parts_is_a_bad_url(path: str) -> None:
    with pytest.raises(ValueError, match="MODULE:CALLABLE"):
        sink_from_url(f"python:{path}")
