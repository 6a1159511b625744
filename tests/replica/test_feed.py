"""A feed gives the same events for any split of its bytes, and receives chunks directly into the ring."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import pytest

from kevy_ring import replica_inbox_pair
from kevy_ring.events import Frame, ReplicaApply, SnapshotBegin, SnapshotChunk
from kevy_ring.inbox.header_words import ProducerWord
from kevy_ring.replica.link_words import LinkWords
from kevy_ring.replica.protocols.kevy import KevyProtocol
from kevy_ring.replica.runner.feed import EndCause, Feed
from kevy_ring.replica.stop import StopSignal
from kevy_ring.replica.upstream_url import parse_upstream
from places import DATA
from recording_sender import RecordingSender

TRANSCRIPTS = {"kevy-1.22-frames.bin": 1, "kevy-1.22-snapshot.bin": 1, "kevy-5.4-live.bin": 2}


class PieceLink:
    """Replaces a Link: returns ``wire`` in pieces of the given sizes, then its end."""

    def __init__(self, wire: bytes, sizes: list[int]) -> None:
        self.upstream = parse_upstream("kevy://127.0.0.1:1")
        self.unsent_bytes = 0
        self._wire = wire
        self._sizes = sizes
        self._turn = 0

    def recv_into(self, view: memoryview, timeout: float) -> int:
        size = min(self._sizes[self._turn % len(self._sizes)], len(view), len(self._wire))
        self._turn += 1
        view[:size] = self._wire[:size]
        self._wire = self._wire[size:]
        return size

    def send(self, wire: bytes) -> None:
        pass


def run(wire: bytes, version: int, sizes: list[int], sender: object) -> EndCause:
    protocol = KevyProtocol(version=version, replica_id="test")
    with StopSignal() as stop:
        return Feed(PieceLink(wire, sizes), protocol, sender, LinkWords(sender), stop).run().cause  # type: ignore[arg-type]


def joined(events: list[ReplicaApply]) -> list[ReplicaApply | bytes]:
    """The events, with neighbouring chunks joined, because the borders of chunks have no meaning."""
    out: list[ReplicaApply | bytes] = []
    for event in events:
        if isinstance(event, SnapshotChunk):
            if out and isinstance(out[-1], bytes):
                out[-1] += bytes(event.data)
            else:
                out.append(bytes(event.data))
        else:
            out.append(event)
    return out


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_the_recorded_streams_give_the_same_events_in_any_pieces(name: str) -> None:
    wire, version = (DATA / name).read_bytes(), TRANSCRIPTS[name]
    protocol = KevyProtocol(version=version, replica_id="test")
    expected = joined(protocol.receive_data(wire))
    dice = random.Random(7)
    ways = [[1 << 20], [1000], [4096], [65_536], [7, 300, 2], [dice.randrange(1, 5000) for _ in range(40)]]
    for sizes in ways if len(wire) > 100_000 else [*ways, [1], [2], [3]]:
        sender = RecordingSender()
        assert run(wire, version, sizes, sender) is EndCause.CLOSED
        got = joined(sender.events)
        if isinstance(expected[0], Frame):
            got = got[3:]  # the feed puts an empty snapshot before a stream that starts at frame 0 without one
        assert got == expected


def test_chunks_are_received_into_the_ring_itself() -> None:
    body = bytes(range(256)) * 256
    wire = b"+ACK 0\r\n+SNAPSHOT\r\n" + (b"$%d\r\n%s\r\n" % (len(body), body)) * 20 + b"+SNAPSHOT_END 0\r\n"
    sender, receiver = replica_inbox_pair(4 << 20)
    with receiver, sender:
        assert run(wire, 1, [50_000], sender) is EndCause.CLOSED
        events = joined([event for event in iter(receiver.try_recv, None) if event is not None])
        assert events[1] == body * 20
        assert len(events) == 3


@pytest.mark.parametrize("tail", [b"xx", b"\n\r"])
def test_a_chunk_that_does_not_end_where_its_length_says_is_not_sent(tail: bytes) -> None:
    wire = b"+ACK 0\r\n+SNAPSHOT\r\n$4\r\nbody" + tail + b"$4\r\nmore\r\n"
    for sizes in ([1000], [1]):
        sender = RecordingSender()
        assert run(wire, 1, sizes, sender) is EndCause.VIOLATION
        assert [event for event in sender.events if isinstance(event, SnapshotChunk)] == []


@pytest.mark.parametrize(
    "head", [b"$0\r\n", b"$65537\r\n", b"$-1\r\n", b"$04\r\nbody\r\n", b"$4x\r\n", b"$99999999999\r\n"]
)
def test_a_chunk_with_an_invalid_head_is_a_violation(head: bytes) -> None:
    for sizes in ([1000], [1]):
        sender = RecordingSender()
        assert run(b"+ACK 0\r\n+SNAPSHOT\r\n" + head + b"x" * 70_000, 1, sizes, sender) is EndCause.VIOLATION


def test_a_link_that_ends_within_a_chunk_sends_nothing_of_it() -> None:
    sender, receiver = replica_inbox_pair(1 << 20)
    with receiver, sender:
        assert run(b"+ACK 0\r\n+SNAPSHOT\r\n$60000\r\n" + b"x" * 30_000, 1, [10_000], sender) is EndCause.CLOSED
        assert receiver.try_recv() is not None
        assert receiver.try_recv() is None
        sender.send(SnapshotChunk(b"next"))
        assert receiver.recv(1) == SnapshotChunk(b"next")


class WatchedSender(RecordingSender):
    """Keeps the number of full syncs in the words at the moment when a snapshot is sent."""

    told: int | None = None

    def send_many(self, events: Sequence[ReplicaApply]) -> None:
        if self.told is None and any(isinstance(event, SnapshotBegin) for event in events):
            self.told = self.word(ProducerWord.FULL_SYNCS)
        super().send_many(events)


def test_a_full_sync_is_counted_before_its_snapshot_is_sent_although_all_of_it_comes_at_once() -> None:
    # If it were counted afterwards, a wait for the shard to catch up would wait for a second snapshot without end.
    sender = WatchedSender()
    wire = b"+ACK 0\r\n+SNAPSHOT\r\n$4\r\nbody\r\n+SNAPSHOT_END 0\r\n"
    assert run(wire, 1, [1 << 20], sender) is EndCause.CLOSED
    assert sender.told == 1


def test_the_time_of_the_last_byte_is_published_and_an_earlier_runners_stays_until_then() -> None:
    wire = (DATA / "kevy-1.22-frames.bin").read_bytes()
    sender = RecordingSender()
    sender.set_word(ProducerWord.HEARD_NS, 7)
    run(b"", 1, [1], sender)
    assert sender.word(ProducerWord.HEARD_NS) == 7
    before = time.monotonic_ns()
    run(wire, 1, [100], sender)
    assert before <= sender.word(ProducerWord.HEARD_NS) + 1000 <= time.monotonic_ns() + 1000
