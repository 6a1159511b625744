"""Reading the records of a ring without a role."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kevy_ring import Frame, SegmentError, SnapshotChunk, replica_inbox_pair
from kevy_ring.events import Kind
from kevy_ring.inbox import ReplicaInboxReceiver, ReplicaInboxSender
from kevy_ring.ring import Ring
from kevy_ring.ring.outside import peek as peek_module
from kevy_ring.ring.outside.peek import peek_records


@pytest.fixture
def inbox() -> Iterator[tuple[ReplicaInboxSender, ReplicaInboxReceiver]]:
    sender, receiver = replica_inbox_pair(4096)
    yield sender, receiver
    receiver.close()
    sender.close(timeout=0)


Inbox = tuple[ReplicaInboxSender, ReplicaInboxReceiver]


def test_records_are_shown_in_order_and_stay_where_they_are(inbox: Inbox) -> None:
    sender, receiver = inbox
    sender.send_many([SnapshotChunk(b"abc"), Frame(8, [b"SET", b"k", b"v" * 900]), Frame(9, [b"DEL", b"k"])])
    before = sender.name, receiver.stats()
    peek = peek_records(sender.name, payload_bytes=100)
    assert [(r.kind, r.offset) for r in peek.records] == [(Kind.SNAPSHOT_CHUNK, 0), (Kind.FRAME, 8), (Kind.FRAME, 9)]
    assert [(r.length, len(r.payload)) for r in peek.records] == [(3, 3), (920, 100), (16, 16)]
    assert peek.records[0].payload == b"abc"
    assert peek.records[-1].payload.endswith(b"DELk")
    assert (peek.corrupt, peek.moved) == (None, False)
    assert len(peek_records(sender.name, 2).records) == 2
    after = receiver.stats()
    assert (after.head, after.tail, after.consumer, after.drains) == (
        before[1].head, before[1].tail, before[1].consumer, before[1].drains,
    )  # fmt: skip
    assert len(receiver.drain()) == 3


def test_a_record_that_wraps_is_whole(inbox: Inbox) -> None:
    sender, receiver = inbox
    for offset in range(40):
        sender.send(Frame(offset, [b"SET", b"%300d" % offset]))
        (record,) = peek_records(sender.name, payload_bytes=4096).records
        assert (record.offset, record.payload[-300:]) == (offset, b"%300d" % offset)
        receiver.drain().release()


def test_parts_of_an_event_larger_than_the_ring_are_marked(inbox: Inbox) -> None:
    sender, _ = inbox
    sender.send(Frame(1, [b"SET", b"k", b"v" * 10_000]))
    assert all(record.is_fragment for record in peek_records(sender.name).records)


@pytest.mark.parametrize(
    ("at", "value", "fault"),
    [(0, b"\xff\xff\x00\x00", "record length"), (4, b"\x09", "record kind"), (5, b"\x80", "record flags"),
     (6, b"\x01", "reserved bytes of the record header")],
)  # fmt: skip
def test_what_no_producer_writes_is_told_and_not_followed(inbox: Inbox, at: int, value: bytes, fault: str) -> None:
    sender, _ = inbox
    sender.send(Frame(1, [b"a"]))
    sender.send(Frame(2, [b"b"]))
    second = peek_records(sender.name).records[1].position
    with open(f"/dev/shm/{sender.name}", "r+b") as segment:
        segment.seek(os.sysconf("SC_PAGESIZE") + second + at)
        segment.write(value)
    peek = peek_records(sender.name)
    assert [record.offset for record in peek.records] == [1]
    assert (peek.corrupt, peek.corrupt_at) == (fault, second)


def test_a_record_that_was_drained_while_it_was_copied_is_not_shown(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender, receiver = inbox
    for offset in range(3):
        sender.send(Frame(offset, [b"x"]))
    copy = peek_module._copy

    def copy_while_drained(*arguments: object) -> object:
        found = copy(*arguments)  # type: ignore[arg-type]
        receiver.drain(max_events=2).release()
        return found

    monkeypatch.setattr(peek_module, "_copy", copy_while_drained)
    assert [record.offset for record in peek_records(sender.name).records] == [2]


def test_an_empty_ring_shows_nothing_and_a_missing_one_is_an_error() -> None:
    with Ring.create(4096) as ring:
        assert peek_records(ring.name).records == ()
    with pytest.raises(SegmentError) as caught:
        peek_records("kr-no-such-ring")
    assert caught.value.reason == "missing"
    assert not Path("/dev/shm/kr-no-such-ring").exists()
