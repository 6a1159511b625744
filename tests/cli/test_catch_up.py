"""The rule for when a replica counts as caught up."""

from __future__ import annotations

from kevy_ring.cli.ingest.catch_up import CatchUp
from kevy_ring.cli.ingest.progress import ShardProgress
from kevy_ring.inbox.header_words import LinkState
from progress_of import progress_of as shard


def first_time(samples: list[tuple[float, ShardProgress]]) -> float | None:
    """The time of the first sample at which it has caught up."""
    catch_up = CatchUp()
    return next((at for at, sample in samples if catch_up.seen([sample], at)), None)


def steady(sample: ShardProgress, start: float = 0.0, seconds: float = 3.0) -> list[tuple[float, ShardProgress]]:
    return [(start + step / 10, sample) for step in range(int(seconds * 10))]


def test_equal_offsets_have_to_hold_for_a_second() -> None:
    level = shard(received=10, upstream=10, applied=10)
    assert first_time(steady(level)) == 1.0
    assert first_time(steady(level, 0, 0.5) + steady(shard(received=20, upstream=20, applied=10), 0.5)) is None


def test_an_applied_offset_behind_the_received_one_is_not_caught_up() -> None:
    assert first_time(steady(shard(received=10, upstream=10, applied=9, waiting_bytes=40))) is None


def test_an_upstream_that_is_ahead_of_what_came_is_not_caught_up() -> None:
    assert first_time(steady(shard(received=10, upstream=11, applied=10))) is None


def test_on_a_busy_stream_what_is_on_its_way_does_not_count() -> None:
    # A hundred frames come with each sample. Those of the last two samples are not applied yet.
    busy = [(n / 10, shard(received=n * 100, upstream=n * 100, applied=n * 100 - 200)) for n in range(3, 40)]
    assert first_time(busy) is not None
    behind = [(n / 10, shard(received=n * 100, upstream=n * 100, applied=n * 60)) for n in range(3, 40)]
    assert first_time(behind) is None


def test_where_the_upstream_tells_no_offset_nothing_must_come_for_a_second() -> None:
    silent = shard(received=10, applied=10)
    assert first_time(steady(silent)) is not None
    moving = [(n / 10, shard(received=n, applied=n)) for n in range(1, 40)]
    assert first_time(moving) is None
    assert first_time(steady(shard(received=10, applied=9))) is None


def test_an_empty_upstream_is_caught_up_with() -> None:
    assert first_time(steady(shard(full_syncs=0, snapshots_sent=0, snapshots_applied=0))) is not None
    # A snapshot of offset 0 is never marked as applied. The empty ring shows that it was.
    assert first_time(steady(shard(snapshots_applied=0))) is not None


def test_a_snapshot_that_is_not_applied_yet_is_not_caught_up() -> None:
    loading = shard(received=10, upstream=10, applied=10, snapshots_sent=2, waiting_bytes=8)
    assert first_time(steady(loading)) is None
    assert first_time(steady(shard(LinkState.SNAPSHOT, received=10, upstream=10, applied=10))) is None


def test_a_full_sync_whose_snapshot_has_not_come_yet_is_not_caught_up() -> None:
    agreed = shard(received=50, applied=50, full_syncs=1, snapshots_sent=0, snapshots_applied=0)
    assert first_time(steady(agreed)) is None
    before = steady(shard(received=50, applied=50), 0, 0.5)
    assert first_time(before + steady(shard(received=50, applied=50, full_syncs=2), 0.5)) is None
    done = shard(received=50, applied=50, full_syncs=2, snapshots_sent=2, snapshots_applied=2)
    assert first_time(before + steady(shard(received=50, applied=50, full_syncs=2), 0.5, 1.0) + steady(done, 1.5))


def test_every_shard_has_to_be_level() -> None:
    catch_up = CatchUp()
    level, behind = shard(received=1, applied=1), shard(received=5, applied=1, index=1)
    assert not any(catch_up.seen([level, behind], n / 10) for n in range(30))
    assert not catch_up.seen([], 9)
