"""The age of the oldest event that is not applied, from looks at the header, against what the test knows."""

from __future__ import annotations

import contextlib
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import pytest

from kevy_ring import Frame, ReplicaInboxReceiver, ReplicaInboxSender, SnapshotBegin, replica_inbox_pair
from kevy_ring.inbox.header_words import LinkState, ProducerWord
from kevy_ring.replica.apply_lag import NO_LAG, NOTES_MAX, ApplyLagWatch
from kevy_ring.ring import Ring, RingStats

Inbox = tuple[ReplicaInboxSender, ReplicaInboxReceiver]


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    """A ring of 4 KiB, so that most events pass through the overflow."""
    sender, receiver = replica_inbox_pair(4096)
    yield sender, receiver
    with contextlib.suppress(Exception):
        receiver.close()
    sender.close(timeout=0)


def settled(receiver: ReplicaInboxReceiver) -> RingStats:
    """A header that was not read during a move from the overflow to the ring."""
    stats = receiver.stats()
    while True:
        before, stats = stats, receiver.stats()
        if (before.tail, before.overflow_bytes) == (stats.tail, stats.overflow_bytes):
            return stats


@pytest.mark.parametrize("seed", range(8))
def test_the_true_age_lies_between_the_bounds_through_ring_and_overflow(inbox: Inbox, seed: int) -> None:
    sender, receiver = inbox
    chance = random.Random(seed)
    watch, now, offset = ApplyLagWatch(), 100.0, 0
    received: deque[float] = deque()
    name = receiver.stats().name
    assert watch.look([receiver.stats()], now)[name] == NO_LAG
    looked_at, longest = now, 0.0
    for _ in range(150):
        now += chance.choice((0.01, 0.1, 3.0))
        longest, looked_at = max(longest, now - looked_at), now
        count = chance.randrange(20)
        sender.send_many([Frame(offset + n, [b"x" * chance.randrange(100)]) for n in range(count)])
        received.extend([now] * count)
        offset += count
        for _ in range(chance.choice((0, 0, 3, 3, 3, 60))):
            if (event := receiver.try_recv()) is not None:
                assert isinstance(event, Frame)
                received.popleft()
        lag = watch.look([settled(receiver)], now)[name]
        true_age = now - received[0] if received else 0.0
        assert lag.at_least_s <= true_age + 1e-9
        assert true_age <= lag.at_most_s + 1e-9
        assert lag.at_most_s - lag.at_least_s <= longest + 1e-9
    assert receiver.stats().overflow_peak_bytes > 0


def header(received: int, applied: int, *, overflow: int = 0, state: int = 0) -> RingStats:
    words = [0] * 16
    words[ProducerWord.LINK_STATE] = state
    return replace(
        EMPTY, tail=received, head=applied, used_bytes=received - applied, overflow_bytes=overflow,
        overflow_events=int(overflow > 0), producer_words=tuple(words),
    )  # fmt: skip


with Ring.create(4096) as _ring:
    EMPTY = _ring.stats()


def ages(looks: list[tuple[float, RingStats]]) -> list[tuple[float, float]]:
    watch = ApplyLagWatch()
    return [tuple(watch.look([stats], now)[EMPTY.name]) for now, stats in looks]  # type: ignore[misc]


def test_an_idle_ring_has_no_lag_and_an_event_after_hours_is_young() -> None:
    looks = [(float(now), header(800, 800)) for now in range(0, 36_000, 600)]
    assert ages([*looks, (36_000.0, header(880, 800)), (36_000.5, header(880, 800))])[-2:] == [(0, 600), (0.5, 600.5)]


def test_a_ring_that_was_full_at_the_first_look_is_as_old_as_that_look() -> None:
    assert ages([(50.0, header(800, 0)), (53.0, header(880, 80))])[-1] == (3.0, 3.0)


def test_a_torn_look_that_sees_moving_bytes_twice_is_forgotten_when_two_looks_agree() -> None:
    looks = [(1.0, header(800, 0)), (2.0, header(800, 400, overflow=400))]  # the bytes were moved into the ring already
    looks += [(3.0, header(800, 800)), (4.0, header(800, 800)), (9000.0, header(880, 800))]
    assert ages(looks)[-1] == (0.0, 8996.0)


def test_a_torn_look_that_misses_moving_bytes_makes_nothing_younger() -> None:
    looks = [(1.0, header(400, 0, overflow=400)), (5.0, header(400, 400, overflow=0)), (6.0, header(800, 400))]
    assert ages(looks)[-1] == (5.0, 5.0)


def test_a_snapshot_counts_as_one_event_until_it_is_applied(inbox: Inbox) -> None:
    looks = [(1.0, header(0, 0)), (2.0, header(80, 80, state=LinkState.SNAPSHOT))]
    looks += [(12.0, header(160, 160, state=LinkState.SNAPSHOT)), (13.0, header(160, 160, state=LinkState.STREAMING))]
    assert ages(looks)[-2:] == [(10.0, 11.0), (0.0, 0.0)]


def test_another_ring_of_the_same_name_begins_without_a_past() -> None:
    new = replace(header(80, 0), created_unix_s=EMPTY.created_unix_s + 1)
    assert ages([(1.0, header(800, 0)), (100.0, new)])[-1] == (0.0, 0.0)


def test_a_slow_stream_behind_a_shard_that_hangs_keeps_the_oldest_note_and_bounded_memory() -> None:
    looks = [(float(now), header(8 * now, 0)) for now in range(1, 3 * NOTES_MAX)]
    assert ages(looks)[-1][0] == 3 * NOTES_MAX - 2
    watch = ApplyLagWatch()
    for now, stats in looks:
        watch.look([stats], now)
    assert len(watch._rings[EMPTY.name]._notes) <= NOTES_MAX
    # The shard wakes: half of it is applied, and the rest is dated from a note that was kept.
    lag = watch.look([header(looks[-1][1].tail, looks[-1][1].tail // 2)], looks[-1][0])[EMPTY.name]
    assert abs(lag.at_least_s - looks[-1][0] / 2) < 8


def test_begins_are_events_too(inbox: Inbox) -> None:
    sender, receiver = inbox
    watch = ApplyLagWatch()
    watch.look([receiver.stats()], 1.0)
    sender.send(SnapshotBegin())
    watch.look([receiver.stats()], 2.0)
    assert watch.look([receiver.stats()], 4.5)[receiver.name] == (2.5, 3.5)
