"""The shard with a real inbox: order, marks, whole snapshots, and the ends of a run."""

from __future__ import annotations

import json
import threading
import time
from contextlib import closing

import pytest

from draining import drain
from kevy_ring import (
    Frame,
    ReplicaInboxReceiver,
    ReplicaInboxSender,
    SnapshotBegin,
    SnapshotChunk,
    SnapshotEnd,
    SnapshotError,
)
from kevy_ring.errors import RemoteProtocolError
from kevy_ring.inbox.header_words import ConsumerWord
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard import RunEnd, Shard, Sink
from kevy_ring.shard.sinks.memory import MemorySink
from keyspaces import as_recorded, recorded_keyspace
from places import DATA
from recording_sink import RecordingSink
from snapshot_events import kevysnap, snapshot_events, strings

Pair = tuple[ReplicaInboxSender, ReplicaInboxReceiver]


pytestmark = pytest.mark.ring_bytes(1 << 20)


def frames(first: int, count: int) -> list[Frame]:
    return [Frame(offset, [b"SET", b"k%d" % offset, b"v"]) for offset in range(first, first + count)]


def test_frames_are_applied_in_order_and_the_last_one_is_marked(pair: Pair) -> None:
    sender, receiver = pair
    sink = RecordingSink()
    shard = Shard(receiver, sink)
    assert shard.tick() == 0
    assert shard.applied_offset is None
    sender.send_many(frames(5, 300))
    assert drain(shard) == 300
    assert sink.applied == list(range(5, 305))
    assert sink.calls[0] == ("apply", 5, [b"SET", b"k5", b"v"])
    assert shard.applied_offset == sender.applied_offset == 304


def test_a_tick_stays_within_its_budget(pair: Pair) -> None:
    sender, receiver = pair
    sink = RecordingSink()
    shard = Shard(receiver, sink, max_events=7)
    sender.send_many(frames(0, 20))
    assert [shard.tick() for _ in range(4)] == [7, 7, 6, 0]
    assert sink.applied == list(range(20))


def test_a_budget_of_bytes_takes_at_least_one_event(pair: Pair) -> None:
    sender, receiver = pair
    shard = Shard(receiver, RecordingSink(), max_bytes=1)
    sender.send_many(frames(0, 3))
    assert [shard.tick() for _ in range(4)] == [1, 1, 1, 0]


def test_is_replicating_is_true_only_inside_apply_and_load(pair: Pair) -> None:
    sender, receiver = pair
    seen: list[bool] = []
    shard: Shard

    def during() -> None:
        seen.append(shard.is_replicating)

    shard = Shard(receiver, RecordingSink(during=during))
    assert not shard.is_replicating
    sender.send_many([*frames(0, 2), *snapshot_events(strings(a="1"), 9)])
    drain(shard)
    assert seen == [True, True, True]
    assert not shard.is_replicating


def test_is_replicating_is_false_for_other_threads_and_after_a_failure(pair: Pair) -> None:
    sender, receiver = pair
    seen: list[bool] = []
    shard: Shard

    def during() -> None:
        other = threading.Thread(target=lambda: seen.append(shard.is_replicating))
        other.start()
        other.join()

    sink = RecordingSink(during=during)
    sink.fail_at = 1
    shard = Shard(receiver, sink)
    sender.send_many(frames(0, 2))
    with pytest.raises(ValueError, match="told to fail at 1"):
        shard.tick()
    assert seen == [False]
    assert not shard.is_replicating


def test_the_events_before_one_that_fails_are_applied_once_and_the_failed_one_is_seen_again(pair: Pair) -> None:
    sender, receiver = pair
    sink = RecordingSink()
    sink.fail_at = 3
    shard = Shard(receiver, sink)
    sender.send_many(frames(0, 6))
    with pytest.raises(ValueError, match="told to fail at 3"):
        shard.tick()
    assert sink.applied == [0, 1, 2]
    assert sender.applied_offset == 2
    sink.fail_at = None
    assert drain(shard) == 3
    assert sink.applied == [0, 1, 2, 3, 4, 5]
    assert sender.applied_offset == 5


def test_a_durable_sink_is_flushed_before_its_offset_is_marked(pair: Pair) -> None:
    sender, receiver = pair
    sink = RecordingSink(durable=True)
    shard = Shard(receiver, sink, flush_interval_s=0.0)
    sender.send_many(frames(0, 3))
    sink.fail_flush = True
    with pytest.raises(OSError, match="told to fail"):
        shard.tick()
    assert sink.applied == [0, 1, 2]
    assert sender.applied_offset is None
    sink.fail_flush = False
    assert shard.tick() == 0
    assert sink.calls[-1] == ("flush",)
    assert sender.applied_offset == 2


def test_a_durable_sink_is_flushed_once_per_interval_and_not_per_batch(pair: Pair) -> None:
    sender, receiver = pair
    sink = RecordingSink(durable=True)
    shard = Shard(receiver, sink, max_events=1, flush_interval_s=3600.0)
    sender.send_many(frames(0, 50))
    drain(shard)
    assert ("flush",) not in sink.calls
    assert sender.applied_offset is None
    shard.close()
    assert sink.calls.count(("flush",)) == 1
    assert sender.applied_offset == 49


def test_what_waits_for_a_flush_is_marked_while_nothing_more_comes(pair: Pair) -> None:
    sender, receiver = pair
    sink = RecordingSink(durable=True)
    shard = Shard(receiver, sink, flush_interval_s=0.05)
    deadline = time.monotonic() + 60
    sender.send_many(frames(0, 3))
    shard.run(lambda: sender.applied_offset == 2 or time.monotonic() > deadline)
    assert sender.applied_offset == 2


def test_a_sink_without_durability_is_never_flushed_and_marked_at_once(pair: Pair) -> None:
    sender, receiver = pair
    sink = RecordingSink()
    shard = Shard(receiver, sink, flush_interval_s=3600.0)
    sender.send(frames(0, 1)[0])
    shard.tick()
    assert sender.applied_offset == 0
    assert ("flush",) not in sink.calls


def test_no_offset_is_marked_inside_a_transaction(pair: Pair) -> None:
    sender, receiver = pair
    sink = RecordingSink()
    shard = Shard(receiver, sink)
    sender.send(frames(0, 1)[0])
    shard.tick()
    sink.in_transaction = True
    sender.send_many(frames(1, 3))
    shard.tick()
    assert sink.applied == [0, 1, 2, 3]
    assert sender.applied_offset == 0
    sink.in_transaction = False
    shard.tick()
    assert sender.applied_offset == 3


@pytest.mark.parametrize("durable", [False, True])
def test_an_open_transaction_does_not_keep_an_idle_shard_busy(pair: Pair, durable: bool) -> None:
    sender, receiver = pair
    sink = RecordingSink(durable=durable)
    sink.in_transaction = True
    shard = Shard(receiver, sink, flush_interval_s=0.01)
    sender.send(frames(0, 1)[0])
    asked = 0
    until = time.monotonic() + 0.5

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return time.monotonic() > until

    shard.run(stop)
    assert asked < 20


def test_a_snapshot_is_loaded_in_one_step_at_its_end(pair: Pair) -> None:
    sender, receiver = pair
    sink = RecordingSink()
    shard = Shard(receiver, sink)
    *most, end = snapshot_events(strings(a="1", b="2"), 8, chunk_bytes=3)
    sender.send_many(most)
    drain(shard)
    assert sink.calls == []
    assert shard.in_snapshot
    assert shard.snapshot_bytes == len(strings(a="1", b="2"))
    assert sender.loading
    sender.send_many([end, *frames(8, 2)])
    drain(shard)
    assert sink.calls[0] == ("load", {b"a": b"1", b"b": b"2"})
    assert sink.applied == [8, 9]
    assert not shard.in_snapshot
    assert not sender.loading
    assert (shard.entries, shard.snapshots, shard.snapshot_bytes) == (2, 1, 0)


def test_a_kevy_snapshot_marks_the_offset_before_the_next_frame(pair: Pair) -> None:
    sender, receiver = pair
    shard = Shard(receiver, RecordingSink())
    sender.send_many(snapshot_events(strings(a="1"), 8))
    drain(shard)
    assert shard.applied_offset == sender.applied_offset == 7


def test_a_kevy_snapshot_of_offset_0_leaves_nothing_applied(pair: Pair) -> None:
    sender, receiver = pair
    shard = Shard(receiver, RecordingSink())
    sender.send_many(snapshot_events(strings(), 0))
    drain(shard)
    assert shard.applied_offset is None
    assert sender.applied_offset is None
    sender.send(frames(0, 1)[0])
    drain(shard)
    assert sender.applied_offset == 0
    assert not sender.loading


def test_a_snapshot_may_take_the_offset_back_and_may_repeat_it(pair: Pair) -> None:
    sender, receiver = pair
    shard = Shard(receiver, RecordingSink())
    sender.send_many([*frames(100, 3), *snapshot_events(strings(a="1"), 20)])
    drain(shard)
    assert sender.applied_offset == 19
    sender.send_many(snapshot_events(strings(a="2"), 20))
    assert sender.loading
    drain(shard)
    assert sender.applied_offset == 19
    assert not sender.loading


def test_a_snapshot_that_begins_in_mid_snapshot_restarts_it(pair: Pair) -> None:
    sender, receiver = pair
    sink = RecordingSink()
    shard = Shard(receiver, sink)
    sender.send_many(snapshot_events(strings(old="1"), 5)[:-1])
    sender.send_many(snapshot_events(strings(new="2"), 8))
    drain(shard)
    assert sink.calls == [("load", {b"new": b"2"})]
    assert shard.applied_offset == 7


def test_a_frame_inside_a_snapshot_is_a_violation_and_nothing_of_either_is_applied(pair: Pair) -> None:
    sender, receiver = pair
    sink = RecordingSink()
    shard = Shard(receiver, sink)
    sender.send_many([SnapshotBegin(), Frame(77, [b"SET", b"k", b"v"])])
    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match=r"offset 77.*inside a snapshot"):
            shard.tick()
    assert sink.calls == []
    assert sender.applied_offset is None


@pytest.mark.parametrize("event", [SnapshotChunk(b"x"), SnapshotEnd(3)])
def test_a_part_of_a_snapshot_outside_of_one_is_a_violation(pair: Pair, event: SnapshotChunk | SnapshotEnd) -> None:
    sender, receiver = pair
    sink = RecordingSink()
    shard = Shard(receiver, sink)
    sender.send_many([Frame(0, [b"SET", b"k", b"v"]), event])
    with pytest.raises(RemoteProtocolError, match="outside a snapshot"):
        shard.tick()
    assert sink.applied == [0]
    assert sender.applied_offset == 0


def test_a_snapshot_that_is_not_whole_is_an_error_and_changes_nothing(pair: Pair) -> None:
    sender, receiver = pair
    sink = MemorySink()
    shard = Shard(receiver, sink)
    sender.send_many([Frame(0, [b"SET", b"k", b"v"]), *snapshot_events(strings(a="1")[:-1], 9)])
    with pytest.raises(SnapshotError):
        drain(shard)
    assert list(sink.keyspace()) == [b"k"]
    assert sender.applied_offset == 0


def test_a_run_ends_when_the_sender_is_gone_and_all_is_applied(pair: Pair) -> None:
    sender, receiver = pair
    sink = RecordingSink()
    shard = Shard(receiver, sink, max_events=10)
    sender.send_many(frames(0, 95))
    sender.close()
    result = shard.run(lambda: False)
    assert result.end is RunEnd.SENDER_GONE
    assert (result.applied_offset, result.frames, result.snapshots, result.snapshot_unfinished) == (94, 95, 0, False)
    assert sink.applied == list(range(95))


def test_a_run_that_ends_in_mid_snapshot_says_so_and_applies_nothing_of_it(pair: Pair) -> None:
    sender, receiver = pair
    sink = MemorySink()
    shard = Shard(receiver, sink)
    sender.send_many([Frame(0, [b"SET", b"k", b"v"]), *snapshot_events(strings(a="1"), 9)[:-1]])
    sender.close()
    result = shard.run(lambda: False)
    assert result.end is RunEnd.SENDER_GONE
    assert result.snapshot_unfinished
    assert result.applied_offset == 0
    assert list(sink.keyspace()) == [b"k"]
    assert not shard.in_snapshot


def test_a_run_stops_when_it_is_told_to_and_can_go_on(pair: Pair) -> None:
    sender, receiver = pair
    sink = RecordingSink(durable=True)
    shard = Shard(receiver, sink, flush_interval_s=3600.0)
    sender.send_many(frames(0, 5))
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()
    assert shard.run(stop.is_set).end is RunEnd.STOPPED
    assert sender.applied_offset == 4
    sender.send_many(frames(5, 5))
    sender.close()
    assert shard.run(lambda: False).end is RunEnd.SENDER_GONE
    assert sink.applied == list(range(10))


def test_a_stop_inside_a_batch_of_slow_events_ends_it_between_two_of_them(pair: Pair) -> None:
    sender, receiver = pair
    sink = RecordingSink(during=lambda: time.sleep(0.02))
    shard = Shard(receiver, sink)
    sender.send_many(frames(0, 1000))
    began = time.monotonic()
    result = shard.run(lambda: time.monotonic() - began > 0.1)
    assert result.end is RunEnd.STOPPED
    assert 0 < result.frames < 1000
    assert sink.applied == list(range(result.frames))
    assert sender.applied_offset == result.applied_offset == result.frames - 1
    with receiver.drain(max_events=1) as batch:
        assert [event.offset for event in batch if isinstance(event, Frame)] == [result.frames]


def test_the_counts_are_published_in_the_header(pair: Pair) -> None:
    sender, receiver = pair
    shard = Shard(receiver, RecordingSink())
    sender.send_many([*snapshot_events(strings(a="1", b="2"), 4), *frames(4, 3)])
    drain(shard)
    words = receiver.stats().consumer_words
    payload_bytes = sum(4 + 4 * 3 + len(b"SET") + len(b"k4") + len(b"v") for _ in range(3))
    assert tuple(words[8:12]) == (3, payload_bytes, 2, 1)
    assert (shard.frames, shard.frame_bytes) == (3, payload_bytes)


def test_a_new_shard_on_a_ring_does_not_show_the_counts_of_the_one_before(pair: Pair) -> None:
    sender, receiver = pair
    sender.send_many([*snapshot_events(strings(a="1", b="2"), 9), *frames(9, 2)])
    with closing(Shard(receiver, RecordingSink())) as first:
        drain(first)
    with closing(Shard(receiver, RecordingSink())):
        pass
    words = receiver.stats().consumer_words
    counts = (ConsumerWord.FRAMES, ConsumerWord.FRAME_BYTES, ConsumerWord.ENTRIES, ConsumerWord.SNAPSHOTS)
    assert [words[count] for count in counts] == [0, 0, 0, 0]
    assert sender.applied_offset == 10


def test_a_batch_sink_and_single_applies_count_the_same(pair: Pair) -> None:
    sender, receiver = pair
    shard = Shard(receiver, MemorySink())
    sender.send_many(frames(0, 3))
    drain(shard)
    one = (shard.frames, shard.frame_bytes)
    sender.send_many([*snapshot_events(strings(), 3), *frames(3, 3)])
    drain(shard)
    assert (shard.frames, shard.frame_bytes) == (2 * one[0], 2 * one[1])


def test_an_event_larger_than_the_ring_is_applied(pair: Pair) -> None:
    sender, receiver = pair
    sink = MemorySink()
    shard = Shard(receiver, sink)
    big = bytes(range(256)) * (12 << 10)
    sender.send_many([Frame(0, [b"SET", b"big", big]), *frames(1, 2)])
    sender_closed = threading.Thread(target=sender.close)
    sender_closed.start()
    assert shard.run(lambda: False).applied_offset == 2
    sender_closed.join()
    assert sink.keyspace()[b"big"].value == big


def test_every_sink_of_the_package_is_a_sink() -> None:
    assert isinstance(MemorySink(), Sink)
    assert isinstance(RecordingSink(), Sink)


def test_the_live_frames_of_a_real_kevy_5_4_give_its_keyspace(pair: Pair) -> None:
    sender, receiver = pair
    sink = MemorySink()
    shard = Shard(receiver, sink)
    for kind, *rest in json.loads((DATA / "kevy-5.4-live.json").read_text()):
        if kind == "frame":
            sender.send(Frame(rest[0], [bytes.fromhex(item) for item in rest[1]]))
        elif kind == "chunk":
            sender.send(SnapshotChunk(bytes.fromhex(rest[0])))
        elif rest[0] == "+SNAPSHOT":
            sender.send(SnapshotBegin())
        elif rest[0].startswith("+SNAPSHOT_END"):
            sender.send(SnapshotEnd(int(rest[0].split()[1])))
    drain(shard)
    assert as_recorded(sink.keyspace()) == recorded_keyspace("kevy-5.4-live-final")
    assert sink.refusals.count == 0
    assert sender.applied_offset == 116


def test_the_frames_of_a_real_kevy_1_22_give_its_keyspace(pair: Pair) -> None:
    sender, receiver = pair
    sink = MemorySink()
    shard = Shard(receiver, sink)
    recorded = json.loads((DATA / "kevy-1.22-frames.json").read_text())["frames"]
    # The primary ran a few commands `DEL k<i> hk<i>` that it did not send. Its keyspace shows them, and the values that
    # survived show their place in the stream. Without these commands the keyspaces differ only in these keys.
    unsent = {8: 181, 17: 181, 22: 181, 32: 113, 35: 181, 38: 181}
    touched = {name % number for number in unsent for name in (b"k%d", b"hk%d")}
    final = recorded_keyspace("kevy-1.22-frames-final")
    for offset, argv in recorded:
        sender.send(Frame(offset, [bytes.fromhex(item) for item in argv]))
    drain(shard)
    replica = as_recorded(sink.keyspace())
    different = {bytes.fromhex(key) for key in replica.keys() | final.keys() if replica.get(key) != final.get(key)}
    assert different == touched & {b"k8", b"k17", b"k22", b"hk22", b"hk32", b"hk35", b"k38"}
    assert sender.applied_offset == 181
    whole = MemorySink()
    for offset, argv in recorded:
        whole.apply(offset, [bytes.fromhex(item) for item in argv])
        for number, after in unsent.items():
            if offset == after:
                whole.apply(offset, [b"DEL", b"k%d" % number, b"hk%d" % number])
    assert as_recorded(whole.keyspace()) == final
    assert whole.refusals.count == sink.refusals.count == 0


def test_the_snapshot_of_a_real_kevy_1_22_gives_its_keyspace(pair: Pair) -> None:
    sender, receiver = pair
    sink = MemorySink()
    shard = Shard(receiver, sink)
    wire = (DATA / "kevy-1.22-snapshot.bin").read_bytes()
    at = wire.index(b"+SNAPSHOT\r\n") + len(b"+SNAPSHOT\r\n")
    body = b""
    while wire[at : at + 1] == b"$":
        start = wire.index(b"\r\n", at) + 2
        stop = start + int(wire[at + 1 : start - 2])
        body += wire[start:stop]
        at = stop + 2
    sender.send_many(snapshot_events(body, 360))
    drain(shard)
    assert as_recorded(sink.keyspace()) == recorded_keyspace("kevy-1.22-snapshot")
    assert sender.applied_offset == 359


def test_a_store_larger_than_a_batch_survives_a_second_snapshot(pair: Pair) -> None:
    sender, receiver = pair
    sink = MemorySink()
    shard = Shard(receiver, sink)
    many = [Entry(b"key:%d" % number, "string", b"x" * 50) for number in range(5000)]
    sender.send_many(snapshot_events(kevysnap(many), 100))
    drain(shard)
    assert len(sink.keyspace()) == 5000
    sender.send_many([*frames(100, 5), *snapshot_events(kevysnap(many[:10]), 400)])
    drain(shard)
    assert sorted(sink.keyspace()) == sorted(entry.key for entry in many[:10])
