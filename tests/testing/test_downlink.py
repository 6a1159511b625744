"""The primary's end of a link, without sockets: handshakes, snapshots, frames, pings, refusals."""

from __future__ import annotations

import pytest

from kevy_ring.events import Frame, SnapshotBegin, SnapshotChunk, SnapshotEnd
from kevy_ring.replica.protocols.kevy import KevyProtocol
from kevy_ring.replica.snapshots.kevysnap import SnapshotReader
from kevy_ring.testing.downlink import BATCH_BYTES, PING_INTERVAL_S, Downlink, DownlinkState
from kevy_ring.testing.upstream_shard import UpstreamShard
from kevy_ring.testing.workload import Workload

GENERATION = 4600608018879059


def upstream(keys: int = 40, ops: int = 300, backlog_bytes: int = 1 << 20) -> UpstreamShard:
    workload = Workload(shard=0, shards=1, keys=keys, ops=ops)
    shard = UpstreamShard(workload, generation=GENERATION, backlog_bytes=backlog_bytes)
    while shard.prepare():
        pass
    return shard


def said(shard: UpstreamShard, downlink: Downlink, now_s: float = 0.0) -> bytes:
    """All bytes that the downlink sends until it has nothing more to send."""
    out: list[bytes] = []
    while True:
        shard.advance_snapshot()
        batch = downlink.next_bytes(now_s)
        if not batch and not shard.advance_snapshot():
            return b"".join(out)
        out.append(batch)


def asked(shard: UpstreamShard, request: bytes) -> tuple[Downlink, bytes]:
    downlink = Downlink(shard)
    downlink.receive(request)
    return downlink, said(shard, downlink)


def test_protocol_1_gets_a_snapshot_and_no_pings() -> None:
    shard = upstream()
    downlink, reply = asked(shard, b"REPLICATE FROM 0 ID me\r\n")
    assert reply.startswith(b"+ACK 0\r\n+SNAPSHOT\r\n$")
    assert reply.endswith(b"\r\n+SNAPSHOT_END 40\r\n")
    assert b"+PING" not in reply
    assert downlink.is_synced
    assert shard.publish(1) == 1
    assert said(shard, downlink).startswith(b"*2\r\n:40\r\n*")


def test_protocol_2_gets_pings_in_and_after_the_snapshot() -> None:
    shard = upstream()
    _, reply = asked(shard, b"REPLICATE FROM 0 0 ID me\r\n")
    ping = b"+PING %d 40\r\n" % GENERATION
    assert reply.startswith(b"+ACK %d 0\r\n+SNAPSHOT\r\n" % GENERATION + ping + b"$")
    assert reply.endswith(b"\r\n+SNAPSHOT_END 40\r\n" + ping)


def test_pings_come_every_second_and_only_between_frames() -> None:
    shard = upstream(keys=0)
    downlink, _ = asked(shard, b"REPLICATE FROM 0 0 ID me\r\n")
    assert said(shard, downlink, 0.5) == b""
    shard.publish(2)
    live = said(shard, downlink, PING_INTERVAL_S)
    assert live.startswith(b"+PING %d 2\r\n*2\r\n:0\r\n" % GENERATION)
    assert live.count(b"+PING") == 1


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("keys", [0, 40])
def test_the_replica_side_of_the_protocol_understands_all_of_it(version: int, keys: int) -> None:
    shard = upstream(keys=keys)
    replica = KevyProtocol(version=version, replica_id="me")
    downlink = Downlink(shard)
    downlink.receive(replica.data_to_send())
    events = replica.receive_data(said(shard, downlink))
    shard.publish(1000)
    events += replica.receive_data(said(shard, downlink, 5.0))
    frames = [event for event in events if isinstance(event, Frame)]
    assert [frame.offset for frame in frames] == list(range(keys, keys + 300))
    assert [tuple(frame.argv) for frame in frames] == list(shard.workload.commands())
    before = events[: -len(frames)]
    if keys == 0:
        assert before == []
        return
    assert (before[0], before[-1]) == (SnapshotBegin(), SnapshotEnd(ack_offset=keys))
    reader = SnapshotReader(0)
    chunks = [event.data for event in before if isinstance(event, SnapshotChunk)]
    assert [entry for chunk in chunks for entry in reader.feed(chunk)] == list(shard.workload.preload())
    downlink.receive(replica.acknowledge(keys + 100))
    assert downlink.acked == (keys + 101 if version == 2 else None)


def test_a_known_position_goes_on_without_a_snapshot() -> None:
    shard = upstream()
    shard.publish(20)
    for request in (b"REPLICATE FROM 55 ID me\r\n", b"REPLICATE FROM %d 55 ID me\r\n" % GENERATION):
        downlink, reply = asked(shard, request)
        assert b"\r\n*2\r\n:55\r\n" in reply
        assert b"+SNAPSHOT" not in reply
        assert downlink.next_offset == 60


@pytest.mark.parametrize(
    "request_line",
    [
        pytest.param(b"REPLICATE FROM 0 ID me\r\n", id="fresh, protocol 1"),
        pytest.param(b"REPLICATE FROM %d 0 ID me\r\n" % GENERATION, id="fresh, protocol 2"),
        pytest.param(b"REPLICATE FROM 61 ID me\r\n", id="ahead of the stream"),
        pytest.param(b"REPLICATE FROM 39 ID me\r\n", id="before the backlog"),
        pytest.param(b"REPLICATE FROM 7 55 ID me\r\n", id="another generation"),
        pytest.param(b"REPLICATE FROM 0 55 ID me\r\n", id="no generation"),
    ],
)
def test_a_position_that_cannot_be_continued_gets_a_snapshot(request_line: bytes) -> None:
    shard = upstream()
    shard.publish(20)
    downlink, reply = asked(shard, request_line)
    assert b"+SNAPSHOT\r\n" in reply
    assert b"+SNAPSHOT_END 60\r\n" in reply
    assert downlink.next_offset == 60


def test_a_snapshot_in_the_middle_of_the_stream_has_the_keys_of_its_offset() -> None:
    shard = upstream()
    shard.publish(150)
    expected = {entry.key: entry for entry in shard.entries()}
    downlink = Downlink(shard)
    downlink.receive(b"REPLICATE FROM 0 ID me\r\n")
    assert shard.publish(10) == 0
    wire = said(shard, downlink)
    replica = KevyProtocol(version=1, replica_id="me")
    reader = SnapshotReader(0)
    got = {}
    for event in replica.receive_data(wire):
        if isinstance(event, SnapshotChunk):
            got.update({entry.key: entry for entry in reader.feed(event.data)})
    reader.close()
    assert got == expected
    assert shard.publish(10) == 10


def test_two_links_at_one_offset_share_a_snapshot() -> None:
    shard = upstream()
    first, second = Downlink(shard), Downlink(shard)
    first.receive(b"REPLICATE FROM 0 ID one\r\n")
    second.receive(b"REPLICATE FROM 0 ID two\r\n")
    assert shard.snapshot() is shard.snapshot()
    assert said(shard, first) == said(shard, second)
    shard.publish(1)
    third, reply = asked(shard, b"REPLICATE FROM 0 ID three\r\n")
    assert b"+SNAPSHOT_END 41\r\n" in reply
    assert third.next_offset == 41


def test_a_link_whose_place_is_forgotten_closes() -> None:
    shard = upstream(backlog_bytes=1000)
    downlink, _ = asked(shard, b"REPLICATE FROM 0 ID me\r\n")
    while shard.publish(10):
        pass
    assert said(shard, downlink) == b""
    assert downlink.is_closing


def test_a_batch_is_bounded() -> None:
    shard = upstream(keys=0, ops=3000)
    downlink, _ = asked(shard, b"REPLICATE FROM 0 ID me\r\n")
    while shard.publish(10_000):
        pass
    batch = downlink.next_bytes(0.0)
    assert 0 < len(batch) <= BATCH_BYTES


@pytest.mark.parametrize(("protocols", "request_line"), [((1,), b"FROM 0 0"), ((2,), b"FROM 0")])
def test_the_other_protocol_is_refused_without_a_byte(protocols: tuple[int], request_line: bytes) -> None:
    downlink = Downlink(upstream(), protocols)
    downlink.receive(b"REPLICATE " + request_line + b" ID me\r\n")
    assert downlink.is_closing
    assert downlink.next_bytes(0.0) == b""


@pytest.mark.parametrize(
    "request_line",
    [
        b"PING\r\n",
        b"REPLICATE\r\n",
        b"REPLICATE FROM 0 ME me\r\n",
        b"REPLICATE FROM -1 ID me\r\n",
        b"REPLICATE FROM 9223372036854775808 ID me\r\n",
        b"REPLICATE FROM 18446744073709551616 0 ID me\r\n",
        b"REPLICATE FROM " + b"9" * 40 + b" ID me\r\n",
        b"*1000000\r\n",
        b"x" * 5000,
    ],
)
def test_a_bad_handshake_gets_an_error_and_the_end(request_line: bytes) -> None:
    downlink = Downlink(upstream())
    downlink.receive(request_line)
    assert downlink.is_closing
    reply = downlink.next_bytes(0.0)
    assert reply.startswith(b"-ERR ")
    assert reply.endswith(b"\r\n")
    assert downlink.next_bytes(9.0) == b""


@pytest.mark.parametrize("garbage", [b"REPLCONF ACK -1\r\n", b"REPLCONF ACK x\r\n", b"FLUSHALL\r\n", b"\x00" * 5000])
def test_garbage_after_the_handshake_closes_without_an_error_line(garbage: bytes) -> None:
    shard = upstream()
    downlink, _ = asked(shard, b"REPLICATE FROM 0 ID me\r\nREPLCONF ACK 40\r\n")
    assert (downlink.acked, downlink.state) == (40, DownlinkState.STREAMING)
    downlink.receive(garbage)
    downlink.receive(b"REPLCONF ACK 41\r\n")
    assert downlink.is_closing
    assert downlink.acked == 40
    assert downlink.next_bytes(9.0) == b""
