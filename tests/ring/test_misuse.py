"""A refusal names the mistake, and every handle has a repr that describes it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from kevy_ring import (
    Frame,
    ReplicaInboxReceiver,
    ReplicaInboxSender,
    Ring,
    SegmentError,
    replica_inbox_pair,
    replica_inbox_pairs,
)
from kevy_ring.replica.fleet import Fleet
from kevy_ring.ring.consumer import Consumer
from kevy_ring.ring.producer import Producer

Ends = tuple[Producer, Consumer]
Inbox = tuple[ReplicaInboxSender, ReplicaInboxReceiver]
NAN = float("nan")


@pytest.fixture
def ends() -> Iterator[Ends]:
    with Ring.create(1 << 16) as ring, ring.producer() as producer, ring.consumer() as consumer:
        yield producer, consumer


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    sender, receiver = replica_inbox_pair(1 << 16)
    with sender, receiver:
        yield sender, receiver


@pytest.mark.parametrize(
    ("records", "kind"), [((bytes(1) for _ in range(3)), "generator"), (b"abc", "bytes"), ("abc", "str"), (5, "int")]
)
def test_write_many_takes_a_sequence_of_records(ends: Ends, records: Any, kind: str) -> None:
    with pytest.raises(TypeError, match=f"records are a list.* and not a {kind}: write_many returns how many"):
        ends[0].write_many(records)
    assert ends[1].read_many() == []


def test_a_generator_is_no_argv(inbox: Inbox) -> None:
    with pytest.raises(TypeError, match=r"argv is a list, or another sequence.*not a generator"):
        inbox[0].send(Frame(1, (b"x" for _ in range(2))))  # type: ignore[arg-type]


@pytest.mark.parametrize("capacity", [65536.0, 1e30, "65536", None])
@pytest.mark.parametrize("make", [Ring.create, replica_inbox_pair, lambda capacity: replica_inbox_pairs(2, capacity)])
def test_a_capacity_is_a_whole_number(make: Callable[[Any], object], capacity: Any) -> None:
    with pytest.raises(TypeError, match=f"capacity is a whole number of bytes, not a {type(capacity).__name__}: "):
        make(capacity)


def test_a_capacity_may_be_an_integer_of_numpy() -> None:
    with Ring.create(np.int64(1 << 16)) as ring:  # type: ignore[arg-type]
        assert ring.capacity == 1 << 16


STRIDED = np.arange(20, dtype=np.uint8)[::2]


@pytest.mark.parametrize("part", [STRIDED, memoryview(STRIDED)], ids=["array", "memoryview"])
def test_an_array_that_is_not_contiguous_is_refused_as_that(ends: Ends, inbox: Inbox, part: Any) -> None:
    uses: list[Callable[[], object]] = [
        lambda: ends[0].try_write(part),
        lambda: ends[0].write_many([b"fine", part]),
        lambda: inbox[0].send(Frame(1, [b"SET", part])),
        lambda: inbox[0].send_many([Frame(1, [b"SET", part])]),
    ]
    for use in uses:
        with pytest.raises(TypeError, match=r"has to be contiguous.* lie \(2,\) bytes apart: copy it"):
            use()
    assert ends[1].read_many() == []


def test_lengths_that_are_not_contiguous_are_taken_one_by_one(ends: Ends) -> None:
    assert ends[0].write_packed(b"abc", np.ones(6, np.uint32)[::2]) == 3
    assert ends[1].read_many() == [b"a", b"b", b"c"]


def others() -> dict[str, Callable[[Path], object]]:
    """Files that may have a ring's name and are not rings."""
    return {
        "a file for all to read": lambda path: (path.write_bytes(b"x" * 100_000), path.chmod(0o644)),
        "a file of our own": lambda path: (path.write_bytes(b"x" * 100_000), path.chmod(0o600)),
        "a short file": lambda path: (path.write_bytes(b"x"), path.chmod(0o644)),
        "an empty file for all to read": lambda path: (path.touch(), path.chmod(0o644)),
        "a folder": Path.mkdir,
        "a link": lambda path: path.symlink_to("/etc/hostname"),
        "a pipe": os.mkfifo,
    }


@pytest.mark.parametrize("what", others())
def test_what_is_no_ring_is_called_that(what: str) -> None:
    path = Path(f"/dev/shm/other-{os.getpid()}")
    others()[what](path)
    try:
        with pytest.raises(SegmentError, match="something else has this name") as refused:
            Ring.attach(path.name)
    finally:
        path.rmdir() if path.is_dir() else path.unlink()
    assert refused.value.reason == "not-a-ring"


def test_a_ring_whose_mode_was_changed_says_which_mode_it_needs() -> None:
    with Ring.create(4096) as ring:
        path = Path("/dev/shm") / ring.name
        path.chmod(0o640)
        with pytest.raises(SegmentError, match="mode is 0640, and that of a ring is 0600: run chmod") as refused:
            Ring.attach(ring.name)
        assert refused.value.reason == "permission"
        path.chmod(0o600)
        Ring.attach(ring.name).close()


def timeouts(ends: Ends, inbox: Inbox) -> dict[str, Callable[[], object]]:
    """Every call that takes a timeout, with a NaN."""
    (producer, consumer), (sender, receiver) = ends, inbox

    def in_a_loop(call: Callable[..., Any]) -> Callable[[], object]:
        return lambda: anyio.run(lambda: call(timeout=NAN))

    return {
        "read": lambda: consumer.read(NAN),
        "read by name": lambda: consumer.read(timeout=NAN),
        "recv": lambda: receiver.recv(NAN),
        "wait": lambda: consumer.wait(NAN),
        "wait for space": lambda: producer.wait(1, NAN),
        "wait of a receiver": lambda: receiver.wait(NAN),
        "flush": lambda: sender.flush(NAN),
        "close": lambda: sender.close(NAN),
        "attach": lambda: Ring.attach("no-such-ring", NAN),
        "attach a sender": lambda: ReplicaInboxSender.attach("no-such-ring", NAN),
        "attach a receiver": lambda: ReplicaInboxReceiver.attach("no-such-ring", NAN),
        "close a fleet": lambda: Fleet.close(Fleet.__new__(Fleet), NAN),
        "wait_async": in_a_loop(consumer.wait_async),
        "wait_async for space": in_a_loop(producer.wait_async),
        "read_async": in_a_loop(consumer.read_async),
        "recv_async": in_a_loop(receiver.recv_async),
        "flush_async": in_a_loop(sender.flush_async),
    }


@pytest.mark.parametrize(
    "call",
    [
        *("read", "read by name", "recv", "wait", "wait for space", "wait of a receiver", "flush", "close"),
        *("attach", "attach a sender", "attach a receiver", "close a fleet"),
        *("wait_async", "wait_async for space", "read_async", "recv_async", "flush_async"),
    ],
)
def test_a_timeout_that_is_no_number_is_refused(ends: Ends, inbox: Inbox, call: str) -> None:
    with pytest.raises(ValueError, match="a timeout is a number of seconds, or None to wait without end: nan"):
        timeouts(ends, inbox)[call]()
    inbox[0].send(Frame(1, [b"PING"]))
    assert inbox[1].recv(1) == Frame(1, [b"PING"])


def test_every_handle_says_what_it_is_without_taking_its_role(ends: Ends, inbox: Inbox) -> None:
    (producer, consumer), (sender, receiver) = ends, inbox
    assert repr(sender) == f"<ReplicaInboxSender of ring {sender.name!r}, 65536 bytes: its role is not taken yet>"
    assert re.fullmatch(
        r"<ReplicaInboxReceiver of ring 'kevy-\w+', 65536 bytes: its role is not taken yet>", repr(receiver)
    )
    sender.send(Frame(1, [b"PING"]))
    producer.write_many([b"1", b"2"])
    with consumer.drain() as records, receiver.drain() as events, sender.reserve_chunk(8) as chunk:
        records.release(1)
        assert repr(records) == f"<RecordBatch of ring {consumer.name!r}, 2 records: 1 released, open>"
        assert repr(events) == f"<Batch of ring {receiver.name!r}, 1 records: 0 released, open>"
        assert repr(chunk) == f"<ChunkGrant of ring {sender.name!r}, 8 bytes: open>"
        assert repr(receiver.drain).startswith("<built-in method")
    assert repr(records).endswith("2 records: released>")
    assert repr(consumer.drain()) == "<RecordBatch of no records>"
    grant = producer.try_reserve(4)
    assert repr(grant) == f"<Grant of ring {producer.name!r}, 4 bytes: open>"
    for handle in (producer, consumer, sender, receiver):
        assert repr(handle).endswith("65536 bytes: open>")
        handle.close()
        assert repr(handle).endswith("65536 bytes: closed>")
