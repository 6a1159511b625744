"""A sink that keeps the offset with the data: a shard commits before it releases, and applies nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from draining import drain
from kevy_ring import (
    ClosedError,
    EventTruncated,
    Frame,
    ReplicaInboxReceiver,
    ReplicaInboxSender,
    Ring,
    SnapshotBegin,
    replica_inbox_pair,
)
from kevy_ring.errors import SinkError
from kevy_ring.events import SnapshotChunk
from kevy_ring.inbox.header_words import ConsumerWord
from kevy_ring.replica.fleet.child import EXIT_TRUNCATED
from kevy_ring.replica.stop import StopSignal
from kevy_ring.shard import ResumableSink, Shard
from kevy_ring.shard.shard_process import ShardProcess
from recording_sink import RecordingSink, ResumableRecordingSink
from snapshot_events import snapshot_events, strings

Pair = tuple[ReplicaInboxSender, ReplicaInboxReceiver]


def frames(first: int, count: int) -> list[Frame]:
    return [Frame(offset, [b"SET", b"k%d" % offset, b"v"]) for offset in range(first, first + count)]


def peeked(receiver: ReplicaInboxReceiver) -> list[int]:
    batch = receiver.drain()
    offsets = [int(offset) for offset in batch.offsets]
    with pytest.raises(ZeroDivisionError), batch:
        raise ZeroDivisionError
    return offsets


def test_which_sinks_are_resumable() -> None:
    assert isinstance(ResumableRecordingSink(), ResumableSink)
    assert not isinstance(RecordingSink(durable=True), ResumableSink)


@pytest.mark.parametrize(("stored", "applied"), [(None, [0, 1, 2, 3]), (0, [1, 2, 3]), (2, [3]), (3, []), (9, [])])
def test_frames_up_to_the_stored_offset_are_skipped(pair: Pair, stored: int | None, applied: list[int]) -> None:
    sender, receiver = pair
    sink = ResumableRecordingSink(stored)
    shard = Shard(receiver, sink)
    assert shard.applied_offset == stored
    sender.send_many(frames(0, 4))
    drain(shard)
    assert sink.kept == applied
    assert (shard.frames, shard.frames_skipped) == (len(applied), 4 - len(applied))
    assert shard.applied_offset == (3 if applied else stored)


def test_frames_are_skipped_across_batches_and_offsets_may_have_gaps(pair: Pair) -> None:
    sender, receiver = pair
    sink = ResumableRecordingSink(45)
    shard = Shard(receiver, sink, max_events=2)
    sender.send_many([Frame(offset, [b"PING"]) for offset in range(10, 100, 10)])
    drain(shard)
    assert (sink.kept, shard.frames_skipped) == ([50, 60, 70, 80, 90], 4)


def test_the_stored_offset_is_marked_before_anything_comes(pair: Pair) -> None:
    sender, receiver = pair
    Shard(receiver, ResumableRecordingSink(0), flush_interval_s=3600.0).tick()
    assert sender.applied_offset == 0


def test_nothing_is_marked_where_nothing_is_stored(pair: Pair) -> None:
    sender, receiver = pair
    Shard(receiver, ResumableRecordingSink()).tick()
    assert sender.applied_offset is None


def test_a_snapshot_ends_the_skipping_though_offsets_go_back(pair: Pair) -> None:
    sender, receiver = pair
    sink = ResumableRecordingSink(100)
    shard = Shard(receiver, sink)
    sender.send_many([*frames(99, 3), *snapshot_events(strings(a="1"), 5), *frames(5, 3)])
    drain(shard)
    shard.close()
    assert sink.kept == [5, 6, 7]
    assert (shard.frames, shard.frames_skipped, shard.applied_offset, sender.applied_offset) == (4, 2, 7, 7)


def test_frames_are_skipped_while_a_snapshot_has_only_begun_elsewhere(pair: Pair) -> None:
    sender, receiver = pair
    shard = Shard(receiver, ResumableRecordingSink(100))
    sender.send_many([*frames(100, 1), SnapshotBegin(), SnapshotChunk(b"KEVY")])
    drain(shard)
    assert (shard.frames_skipped, shard.applied_offset) == (1, 100)


def test_everything_is_committed_before_its_space_is_given_back(pair: Pair) -> None:
    sender, receiver = pair
    sink = ResumableRecordingSink()
    shard = Shard(receiver, sink, max_events=3, flush_interval_s=3600.0)
    sender.send_many(frames(0, 7))
    for kept in ([0, 1, 2], [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5, 6]):
        shard.tick()
        assert sink.kept == kept
        assert peeked(receiver) == list(range(len(kept), 7))


def test_what_cannot_be_committed_is_not_given_back_and_comes_again(pair: Pair) -> None:
    sender, receiver = pair
    sink = ResumableRecordingSink()
    shard = Shard(receiver, sink, flush_interval_s=0.0)
    sender.send_many(frames(0, 3))
    drain(shard)
    sender.send_many(frames(3, 3))
    sink.fail_commit = True
    for _ in range(2):
        with pytest.raises(OSError, match="told to fail"):
            shard.tick()
        assert (shard.applied_offset, shard.frames, sender.applied_offset) == (2, 3, 2)
        assert peeked(receiver) == [3, 4, 5]
    sink.fail_commit = False
    drain(shard)
    assert sink.kept == [0, 1, 2, 3, 4, 5]
    assert (shard.frames, shard.frames_skipped, sender.applied_offset) == (6, 0, 5)


def test_the_events_before_one_that_fails_are_committed_and_given_back(pair: Pair) -> None:
    sender, receiver = pair
    sink = ResumableRecordingSink()
    sink.fail_at = 3
    shard = Shard(receiver, sink)
    sender.send_many(frames(0, 6))
    with pytest.raises(ValueError, match="told to fail at 3"):
        shard.tick()
    assert (sink.kept, sender.applied_offset) == ([0, 1, 2], 2)
    assert peeked(receiver) == [3, 4, 5]
    sink.fail_at = None
    drain(shard)
    assert (sink.kept, shard.frames, shard.frames_skipped) == ([0, 1, 2, 3, 4, 5], 6, 0)


def test_where_an_event_fails_and_those_before_it_cannot_be_committed_nothing_is_given_back(pair: Pair) -> None:
    sender, receiver = pair
    sink = ResumableRecordingSink()
    sink.fail_at, sink.fail_commit = 3, True
    shard = Shard(receiver, sink)
    sender.send_many(frames(0, 6))
    with pytest.raises(OSError, match="told to fail") as raised:
        shard.tick()
    assert isinstance(raised.value.__context__, ValueError)
    assert peeked(receiver) == [0, 1, 2, 3, 4, 5]
    sink.fail_at, sink.fail_commit = None, False
    drain(shard)
    assert (sink.kept, shard.frames) == ([0, 1, 2, 3, 4, 5], 6)


def test_a_snapshot_is_given_back_at_its_end_and_not_with_the_frames_behind_it(pair: Pair) -> None:
    sender, receiver = pair
    sink = ResumableRecordingSink()
    sink.fail_at, sink.fail_commit = 9, True
    shard = Shard(receiver, sink)
    sender.send_many([*snapshot_events(strings(a="1"), 8), *frames(8, 3)])
    with pytest.raises(OSError, match="told to fail"):
        shard.tick()
    assert peeked(receiver) == [8, 9, 10]
    assert not sender.loading
    assert sender.applied_offset == 7


def test_a_second_shard_goes_on_where_the_first_one_ended() -> None:
    sender, receiver = replica_inbox_pair(1 << 16)
    sink = ResumableRecordingSink()
    sender.send_many(frames(0, 10))
    first = Shard(receiver, sink, max_events=4)
    first.tick()
    # The shard committed and was killed before the release. Its successor sees the batch again.
    batch = receiver.drain(max_events=4)
    for event in batch:
        sink.apply(event.offset, event.argv)  # type: ignore[union-attr]
    sink.commit()
    with pytest.raises(ZeroDivisionError), batch:
        raise ZeroDivisionError
    second = Shard(receiver, sink)
    drain(second)
    assert sink.kept == list(range(10))
    assert (second.frames, second.frames_skipped) == (2, 4)
    receiver.close()
    sender.close(timeout=0)


def test_a_sink_that_has_less_than_was_marked_is_not_the_one_that_the_ring_was_for(pair: Pair) -> None:
    sender, receiver = pair
    sender.send_many(frames(0, 5))
    drain(Shard(receiver, ResumableRecordingSink(), flush_interval_s=0.0))
    assert sender.applied_offset == 4
    sender.send_many(frames(5, 1))
    for stored in (None, 3):
        other = Shard(receiver, ResumableRecordingSink(stored))
        for _ in range(2):
            with pytest.raises(SinkError, match="applied up to 4 of 5, to another sink") as raised:
                other.tick()
            assert raised.value.reason == "refused"
    same = ResumableRecordingSink(4)
    drain(Shard(receiver, same))
    assert same.kept == [5]


def test_a_sink_that_has_what_was_never_in_the_ring_is_not_the_one_that_it_was_for(pair: Pair) -> None:
    sender, receiver = pair
    sender.send_many(frames(0, 5))
    drain(Shard(receiver, ResumableRecordingSink(), flush_interval_s=0.0))
    sender.send_many(frames(5, 3))
    with pytest.raises(SinkError, match=r"ends at offset 8, but ring .* was applied up to 4 of 7, to another sink"):
        Shard(receiver, ResumableRecordingSink(8)).tick()
    same = ResumableRecordingSink(7)  # the shard committed everything, and was killed before it marked it
    drain(Shard(receiver, same))
    assert same.kept == []
    assert sender.applied_offset == 7


def test_a_sink_may_be_beyond_a_stream_that_is_sent_again(pair: Pair) -> None:
    """The shard marks the sink's position, so that the next shard knows it."""
    sender, receiver = pair
    sender.send_many(frames(0, 2))
    for _ in range(2):
        drain(Shard(receiver, ResumableRecordingSink(8), flush_interval_s=0.0))
    assert sender.applied_offset == 8


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_sink_may_be_beyond_a_snapshot_that_waits(pair: Pair, is_whole: bool) -> None:
    sender, receiver = pair
    sender.send_many(frames(0, 5))
    drain(Shard(receiver, ResumableRecordingSink(), flush_interval_s=0.0))
    snapshot = snapshot_events(strings(key="value"), 2)
    sender.send_many([Frame(9, [b"last"]), *(snapshot if is_whole else snapshot[:-1])])
    assert receiver.published.has_unapplied_snapshot(receiver.stats())
    assert (receiver.published.in_snapshot, receiver.published.offset == 2) == (not is_whole, is_whole)
    sink = ResumableRecordingSink(9)
    drain(Shard(receiver, sink, flush_interval_s=0.0))
    assert receiver.published.has_unapplied_snapshot(receiver.stats()) == (not is_whole)
    receiver.close()
    with pytest.raises(ClosedError):
        _ = receiver.published


def test_after_a_frame_that_was_lost_only_a_snapshot_goes_on(pair: Pair) -> None:
    sender, receiver = pair
    receiver._publish_word(ConsumerWord.LOST_OFFSET, 8)
    sink = ResumableRecordingSink()
    sender.send_many(frames(8, 2))
    for _ in range(2):
        with pytest.raises(EventTruncated) as raised:
            Shard(receiver, sink).tick()
        assert raised.value.offset == 7
    assert sink.kept == []


def test_a_shard_process_tells_such_a_loss_by_its_exit_code(tmp_path: Path) -> None:
    with Ring.create(1 << 16) as ring:
        with ReplicaInboxReceiver.attach(ring.name) as receiver:
            receiver._publish_word(ConsumerWord.LOST_OFFSET, 8)
            with ReplicaInboxSender.attach(ring.name) as sender:
                sender.send_many(frames(8, 2))
        with pytest.raises(SystemExit) as ended:
            ShardProcess(f"jsonl:{tmp_path}")(ring.name, 0, StopSignal())
    assert ended.value.code == EXIT_TRUNCATED


def test_a_snapshot_heals_the_loss_of_a_frame(pair: Pair) -> None:
    sender, receiver = pair
    receiver._publish_word(ConsumerWord.LOST_OFFSET, 8)
    sink = ResumableRecordingSink()
    sender.send_many([*snapshot_events(strings(a="1"), 8), *frames(8, 2)])
    drain(Shard(receiver, sink))
    assert sink.kept == [8, 9]
    assert receiver.lost_offset is None


def test_a_sink_that_is_not_resumable_starts_with_nothing_and_skips_nothing(pair: Pair) -> None:
    sender, receiver = pair
    sender.send_many(frames(0, 3))
    drain(Shard(receiver, RecordingSink(durable=True)))
    sender.send_many(frames(1, 3))
    sink = RecordingSink(durable=True)
    shard = Shard(receiver, sink)
    drain(shard)
    assert (sink.applied, shard.frames_skipped) == ([1, 2, 3], 0)
