"""The application words of the header: one table, one decoding each, and the core writes at the listed places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from kevy_ring import Frame, SnapshotBegin, SnapshotEnd, replica_inbox_pair
from kevy_ring.inbox.header_words import (
    FREE_CONSUMER_WORDS,
    FREE_PRODUCER_WORDS,
    ConsumerWord,
    HeaderWord,
    LinkState,
    ProducerWord,
    how_far_behind,
    is_snapshot_pending,
    link_state,
    offset_of_word,
    packed_counts,
    received_offset,
    unpacked_counts,
    upstream_offset,
    word_of_offset,
)
from kevy_ring.ring import Ring, RingStats
from places import DOCS


def stats_with(words: dict[HeaderWord, int], **fields: int) -> RingStats:
    """The statistics of an empty ring in which some words are set."""
    sides = {ProducerWord: [0] * 16, ConsumerWord: [0] * 16}
    for word, value in words.items():
        sides[type(word)][word] = value
    with Ring.create(4096) as ring:
        empty = ring.stats()
    return replace(
        empty, producer_words=tuple(sides[ProducerWord]), consumer_words=tuple(sides[ConsumerWord]), **fields
    )


def documented_rows(table: type[HeaderWord], side: str) -> list[str]:
    return [f"| {side} | {int(word)} | `{word.name}` | {word.owner} | {word.meaning} |" for word in table]


@pytest.mark.parametrize(("table", "side"), [(ProducerWord, "producer"), (ConsumerWord, "consumer")])
def test_the_reference_has_the_same_table(table: type[HeaderWord], side: str) -> None:
    page = (DOCS / "reference" / "inbox.md").read_text(encoding="utf-8")
    assert [line for line in page.splitlines() if line.startswith(f"| {side} |")] == documented_rows(table, side)


@pytest.mark.parametrize(("table", "free"), [(ProducerWord, FREE_PRODUCER_WORDS), (ConsumerWord, FREE_CONSUMER_WORDS)])
def test_a_number_has_one_word_and_only_the_application_uses_the_free_ones(
    table: type[HeaderWord], free: Sequence[int]
) -> None:
    assert len(table) == len(table.__members__)  # two names with one number would be one member
    for word in table:
        assert (word in free) == (word.owner in ("runner", "shard")), word.name


def test_an_offset_is_stored_plus_one_and_no_offset_as_zero() -> None:
    assert [word_of_offset(offset) for offset in (None, 0, 41)] == [0, 1, 42]
    assert [offset_of_word(word) for word in (0, 1, 42)] == [None, 0, 41]


def test_a_ring_without_a_runner_has_no_link_and_no_offsets() -> None:
    offsets: dict[HeaderWord, int] = {ProducerWord.RECEIVED_OFFSET: 8, ProducerWord.UPSTREAM_OFFSET: 10}
    for state in (0, max(LinkState) + 1, 2**64 - 1):
        stats = stats_with({ProducerWord.LINK_STATE: state, **offsets}, applied_offset=5)
        assert link_state(stats) is LinkState.NONE
        assert (received_offset(stats), upstream_offset(stats), how_far_behind(stats)) == (None, None, None)
    stats = stats_with({ProducerWord.LINK_STATE: LinkState.STREAMING, **offsets}, applied_offset=5)
    assert link_state(stats) is LinkState.STREAMING
    assert (received_offset(stats), upstream_offset(stats), how_far_behind(stats)) == (7, 9, 2)


def test_counts_are_packed_and_a_large_one_stays_at_the_most() -> None:
    assert unpacked_counts(packed_counts([1, 2, 3, 4, 5, 6])) == [1, 2, 3, 4, 5, 6]
    assert unpacked_counts(packed_counts([1 << 40, 2, 3])) == [(1 << 21) - 1, 2, 3]
    assert max(packed_counts([1 << 40] * 3)) < 1 << 64


def test_the_core_and_the_receiver_write_their_words_where_the_table_says() -> None:
    sender, receiver = replica_inbox_pair(4096)
    with sender, receiver:
        sender.send_many([SnapshotBegin(), SnapshotBegin(), SnapshotEnd(6)])
        with receiver.drain() as batch:
            assert len(list(batch)) == 3
            receiver.mark_applied(6)
        for offset in range(7, 107):
            sender.send(Frame(offset, [b"x" * 100]))
        stats, overflow = receiver.stats(), sender.overflow
        produced, consumed = stats.producer_words, stats.consumer_words
        assert overflow.events > 0
        assert produced[ProducerWord.OVERFLOW_EVENTS] == stats.overflow_events == overflow.events
        assert produced[ProducerWord.OVERFLOW_BYTES] == stats.overflow_bytes == overflow.bytes
        assert produced[ProducerWord.OVERFLOW_PEAK_BYTES] == stats.overflow_peak_bytes == overflow.peak_bytes
        assert produced[ProducerWord.OVERFLOW_OLDEST_NS] > 0
        assert produced[ProducerWord.SNAPSHOTS_ENDED] == 1
        assert consumed[ConsumerWord.APPLIED_OFFSET] == stats.applied_offset == 6
        assert consumed[ConsumerWord.HAS_APPLIED] == 1
        assert consumed[ConsumerWord.SNAPSHOTS_APPLIED] == 1
        assert consumed[ConsumerWord.LOST_OFFSET] == 0
        while receiver.try_recv() is not None or sender.overflow.events:
            pass


def test_a_snapshot_is_pending_until_it_is_marked_for_whoever_asks() -> None:
    sender, receiver = replica_inbox_pair(4096)
    with sender, receiver:
        sender.send_many([SnapshotBegin(), SnapshotEnd(6)])
        stats = receiver.stats()
        assert (is_snapshot_pending(stats), sender.loading) == (True, True)
        assert receiver.published.has_unapplied_snapshot(stats)
        with receiver.drain() as batch:
            assert len(list(batch)) == 2
            receiver.mark_applied(6)
        stats = receiver.stats()
        assert (is_snapshot_pending(stats), sender.loading) == (False, False)
        assert not receiver.published.has_unapplied_snapshot(stats)
        sender.send(SnapshotBegin())
        assert sender.loading
        assert receiver.published.has_unapplied_snapshot(stats)
        assert not is_snapshot_pending(stats)  # no event of it is whole
