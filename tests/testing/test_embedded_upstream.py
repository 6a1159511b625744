"""The whole path from the embedded upstream: snapshot, live frames, cut links, both protocols, key by key."""

from __future__ import annotations

import pytest

from cut_proxy import CutProxy
from kevy_ring.inbox.header_words import LinkState, ProducerWord
from kevy_ring.testing import EmbeddedPrimary
from live_replica import LiveReplica

KEYS = 1500
OPS = 12_000


def follow_to_the_end(primary: EmbeddedPrimary, replica: LiveReplica) -> None:
    final = primary.final_offset(0)
    replica.wait_until(lambda: replica.sender.applied_offset == final, f"applied {final}")
    replica.wait_until(lambda: replica.word(ProducerWord.RECEIVED_OFFSET) == final + 1, "shown")
    replica.stop()
    assert replica.sink.keyspace() == primary.keyspace(0)


@pytest.mark.parametrize("protocol", [1, 2])
def test_a_full_sync_and_all_live_frames_give_the_same_keys(protocol: int) -> None:
    with (
        EmbeddedPrimary.start(shards=1, keys=KEYS, ops=OPS, protocol=protocol) as primary,
        LiveReplica(primary.url) as replica,
    ):
        if protocol == 2:
            replica.wait_until(
                lambda: set(primary.acked(0).values()) == {primary.final_offset(0) + 1},
                "acknowledged to the last frame",
            )
        follow_to_the_end(primary, replica)
        assert replica.word(ProducerWord.FULL_SYNCS) == 1
        assert replica.word(ProducerWord.SNAPSHOT_BYTES) > 0
        assert any(text == f"kevy{protocol}" for state, text in replica.notices if state is LinkState.HANDSHAKE)


@pytest.mark.parametrize("protocol", [1, 2])
def test_links_that_are_dropped_under_load_are_resumed_and_nothing_is_lost_or_doubled(protocol: int) -> None:
    with (
        EmbeddedPrimary.start(shards=1, keys=KEYS, ops=OPS, rate=2000, protocol=protocol) as primary,
        LiveReplica(primary.url) as replica,
    ):
        for at in range(1, 5):
            first = primary.first_offset(0)
            # The ring may still hold events beyond the mark while the link is down: wait for the link too. Its first
            # frame shows how it synced, so the rate leaves seconds of frames after the last drop.
            replica.wait_until(lambda done=at - 1: replica.word(ProducerWord.PARTIAL_SYNCS) == done, "resumed")
            replica.wait_until(lambda mark=first + at * 2000: (replica.sender.applied_offset or 0) > mark, "more")
            assert primary.drop_links() == 1
        replica.wait_until(lambda: replica.word(ProducerWord.PARTIAL_SYNCS) == 4, "resumed after the last drop")
        follow_to_the_end(primary, replica)
        assert replica.word(ProducerWord.FULL_SYNCS) == 1
        assert replica.word(ProducerWord.PARTIAL_SYNCS) == 4


def test_a_backlog_that_no_longer_reaches_gives_a_second_snapshot() -> None:
    with (
        EmbeddedPrimary.start(shards=1, keys=KEYS, ops=OPS, backlog_bytes=64 << 10, auto_live=False) as primary,
        CutProxy(primary.ports[0]) as proxy,
        LiveReplica(f"kevy://127.0.0.1:{proxy.port}", protocol="kevy2") as replica,
    ):
        replica.wait_synced()
        proxy.refusing = True
        proxy.cut()
        primary.start_live()
        replica.wait_until(primary.live_done, "all published while nobody listens")
        proxy.refusing = False
        follow_to_the_end(primary, replica)
        assert replica.word(ProducerWord.FULL_SYNCS) == 2
        assert replica.shard.frames == 0
