"""One shard of the upstream: preparing, publishing, and the limits of its backlog."""

from __future__ import annotations

from kevy_ring.events import Frame
from kevy_ring.replica.protocols.kevy import KevyProtocol
from kevy_ring.testing.keyspace import Keyspace
from kevy_ring.testing.upstream_shard import UpstreamShard, encode_frame
from kevy_ring.testing.workload import Workload

WORKLOAD = Workload(shard=0, shards=1, keys=100, ops=3000, big_values=2)


def shard(backlog_bytes: int = 64 << 20) -> UpstreamShard:
    return UpstreamShard(WORKLOAD, generation=1, backlog_bytes=backlog_bytes)


def test_frames_of_any_size_are_encoded_as_the_protocol_has_them() -> None:
    assert encode_frame(7, (b"DEL", b"k")) == b"*2\r\n:7\r\n*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n"
    assert encode_frame(0, (b"SET", b"", b"\r\n")) == b"*2\r\n:0\r\n*3\r\n$3\r\nSET\r\n$0\r\n\r\n$2\r\n\r\n\r\n"
    replica = KevyProtocol(version=1, replica_id="me")
    argvs = [tuple(b"%d" % at for at in range(argc)) for argc in range(1, 8)]
    wire = b"+ACK 0\r\n" + b"".join(encode_frame(offset, argv) for offset, argv in enumerate(argvs))
    assert replica.receive_data(wire) == [Frame(offset, list(argv)) for offset, argv in enumerate(argvs)]


def test_preparing_publishes_nothing() -> None:
    upstream = shard()
    before = upstream.entries()
    while upstream.prepare():
        pass
    assert upstream.is_prepared
    assert (upstream.published, upstream.done, upstream.entries()) == (0, False, before)


def test_all_that_is_published_is_in_the_backlog_and_in_the_keyspace() -> None:
    upstream = shard()
    while not upstream.done:
        upstream.prepare()
        upstream.publish(700)
    assert upstream.published == 3000
    assert upstream.backlog.next_offset == WORKLOAD.final_offset + 1
    model = Keyspace(WORKLOAD.preload())
    for argv in WORKLOAD.commands():
        model.apply(argv)
    assert upstream.keyspace.entries == model.entries
    wire = b"".join(encode_frame(o, argv) for o, argv in enumerate(WORKLOAD.commands(), WORKLOAD.first_offset))
    assert upstream.backlog.read(WORKLOAD.first_offset, len(wire)) == (wire, WORKLOAD.final_offset + 1)


def test_publishing_stops_before_a_kept_offset_would_be_forgotten() -> None:
    upstream = shard(backlog_bytes=20_000)
    upstream.prepare()
    kept = WORKLOAD.first_offset
    while upstream.publish(1000, keep_from=kept):
        pass
    assert upstream.backlog.reaches(kept)
    published = upstream.published
    assert 0 < published < 3000
    assert upstream.publish(1, keep_from=kept + 1) == 1
    assert not upstream.backlog.reaches(kept)


def test_one_step_never_replaces_the_whole_backlog() -> None:
    upstream = shard(backlog_bytes=20_000)
    while upstream.prepare():
        pass
    upstream.publish(100)
    at = upstream.backlog.next_offset
    while not upstream.done:
        assert upstream.publish(10**6) > 0
        assert upstream.backlog.reaches(at) or _is_big(upstream)
        at = upstream.backlog.next_offset


def _is_big(upstream: UpstreamShard) -> bool:
    newest, _ = upstream.backlog.read(upstream.backlog.next_offset - 1, 1)
    return len(newest) > 20_000
