"""The null sink: counts, and digests that depend only on the bytes."""

from __future__ import annotations

import zlib

import pytest

from draining import drain
from kevy_ring import Frame, ReplicaInboxReceiver, ReplicaInboxSender
from kevy_ring.replica.snapshots.canonical import digest_frames, encode_record
from kevy_ring.shard import Shard
from kevy_ring.shard.sinks.null import NullSink
from snapshot_events import snapshot_events, strings

Pair = tuple[ReplicaInboxSender, ReplicaInboxReceiver]


def frames(first: int, count: int) -> list[Frame]:
    return [Frame(at, [b"SET", b"k" * (at % 9), bytes([at % 256]) * (at % 70)]) for at in range(first, first + count)]


@pytest.mark.parametrize("max_events", [1, 3, 64, 1024])
def test_the_digest_is_over_the_canonical_records_whatever_the_batches(pair: Pair, max_events: int) -> None:
    sender, receiver = pair
    sink = NullSink()
    sent = frames(7, 500)
    sender.send_many(sent)
    shard = Shard(receiver, sink, max_events=max_events)
    while sender.overflow.events or receiver.wait(0):
        drain(shard)
    drain(shard)
    assert (sink.frames, sink.digest) == digest_frames(sent)
    assert sink.first_offset == 7
    assert sink.frame_bytes == sum(len(encode_record(frame)) for frame in sent)


def test_frames_beside_a_snapshot_are_digested_alike(pair: Pair) -> None:
    sender, receiver = pair
    sink = NullSink()
    sent = frames(10, 20)
    sender.send_many([*snapshot_events(strings(a="1"), 10), *sent])
    drain(Shard(receiver, sink))
    assert (sink.frames, sink.digest) == digest_frames(sent)


def test_a_frame_larger_than_the_ring_is_digested_alike(pair: Pair) -> None:
    sender, receiver = pair
    sink = NullSink()
    sent = [Frame(0, [b"SET", b"k", bytes(range(251)) * 1000]), *frames(1, 3)]
    sender.send_many(sent)
    shard = Shard(receiver, sink)
    while sink.frames < 4:
        receiver.wait(60)
        drain(shard)
    assert sink.digest == digest_frames(sent)[1]


def test_any_other_byte_offset_or_order_gives_another_digest() -> None:
    def digest(*sent: Frame) -> bytes:
        sink = NullSink()
        for frame in sent:
            sink.apply(frame.offset, frame.argv)
        return sink.digest

    a, b = Frame(0, [b"SET", b"k", b"v"]), Frame(1, [b"SET", b"k", b"w"])
    others = [(b, a), (a,), (Frame(0, [b"SET", b"kv", b""]), b), (Frame(2, a.argv), b), (a, b, b)]
    digests = {digest(*other) for other in others}
    assert len(digests) == len(others)
    assert digest(a, b) not in digests


@pytest.mark.parametrize("chunk_bytes", [1, 5, 65536])
def test_the_digest_of_a_snapshot_does_not_depend_on_chunk_borders(pair: Pair, chunk_bytes: int) -> None:
    sender, receiver = pair
    sink = NullSink()
    body = strings(a="1", b="2", c="3")
    sender.send_many(snapshot_events(body, 5, chunk_bytes))
    drain(Shard(receiver, sink))
    assert sink.snapshot_digest == zlib.crc32(body).to_bytes(4, "big")
    assert (sink.entries, sink.snapshots) == (3, 1)


def test_a_half_snapshot_leaves_no_trace_and_a_whole_one_starts_the_digest_anew(pair: Pair) -> None:
    sender, receiver = pair
    sink = NullSink()
    shard = Shard(receiver, sink)
    sender.send_many([*frames(0, 5), *snapshot_events(strings(a="1"), 5)[:-1]])
    drain(shard)
    assert sink.digest == digest_frames(frames(0, 5))[1]
    body = strings(b="2")
    sender.send_many([*snapshot_events(body, 100), *frames(100, 4)])
    drain(shard)
    assert sink.snapshot_digest == zlib.crc32(body).to_bytes(4, "big")
    assert sink.digest == digest_frames(frames(100, 4))[1]
    assert (sink.frames, sink.first_offset, sink.snapshots) == (9, 100, 1)
