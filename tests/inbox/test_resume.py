"""The resume point: after any death, the header tells the next sender which event was published last."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence

import pytest

from kevy_ring import (
    Batch,
    EventTruncated,
    Frame,
    RecvError,
    ReplicaApply,
    ReplicaInboxReceiver,
    ReplicaInboxSender,
    Ring,
    SnapshotBegin,
    SnapshotChunk,
    SnapshotEnd,
    replica_inbox_pair,
)
from kevy_ring.inbox import FrameScanner, Published, published_in
from kevy_ring.inbox.header_words import ConsumerWord
from kevy_ring.inbox.receiver import _LAST
from kevy_ring.replica.fleet.child import resume_after
from kevy_ring.replica.protocol import ResumePoint

NOTHING = Published("", None, 0, False, False, 0)


def frame(offset: int, *argv: bytes) -> Frame:
    return Frame(offset, list(argv or (b"SET", b"k", b"v")))


def sent(events: Sequence[ReplicaApply], upstream: str = "7", db: int = 0) -> Published:
    sender, receiver = replica_inbox_pair(1 << 16)
    with sender, receiver:
        sender.set_upstream(upstream, db)
        sender.send_many(events)
        return sender.published


def drained_as_it_lies(receiver: ReplicaInboxReceiver) -> Batch:
    """A batch of one record, even if the record is only a part of an event."""
    receiver._take_fragment = lambda batch, is_fragment: True  # type: ignore[method-assign]
    return receiver.drain(1)


def test_a_new_ring_stands_for_nothing() -> None:
    sender, receiver = replica_inbox_pair(4096)
    with sender, receiver:
        sender.set_upstream("7")
        assert sender.published == NOTHING


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([frame(0)], Published("7", 0, 0, False, False, 0)),
        ([frame(8), frame(9)], Published("7", 9, 0, False, False, 0)),
        ([frame(1), frame(2, b"SELECT", b"12")], Published("7", 2, 12, False, False, 0)),
        ([frame(1, b"select", b"3"), frame(2)], Published("7", 2, 3, False, False, 0)),
        ([frame(1, b"SELECT", b"x")], Published("7", 1, 0, False, False, 0)),
        ([frame(1, b"SELECT", b"3", b"4")], Published("7", 1, 0, False, False, 0)),
        ([SnapshotBegin()], Published("7", None, 0, False, True, 0)),
        ([SnapshotBegin(), SnapshotChunk(b"x")], Published("7", None, 0, False, True, 0)),
        ([frame(5, b"SELECT", b"3"), SnapshotBegin(), SnapshotEnd(4)], Published("7", 4, 0, True, False, 1)),
        ([SnapshotBegin(), SnapshotEnd(4), frame(4)], Published("7", 4, 0, False, False, 1)),
        ([SnapshotBegin(), SnapshotEnd(4), SnapshotBegin(), SnapshotEnd(9)], Published("7", 9, 0, True, False, 2)),
    ],
)
def test_the_header_tells_the_last_published_event(events: list[ReplicaApply], expected: Published) -> None:
    assert sent(events) == expected


def test_a_database_that_was_selected_before_the_first_event_is_kept() -> None:
    assert sent([frame(1)], db=5).db == 5


@pytest.mark.parametrize("way", ["send", "send_many", "scan"])
def test_every_way_of_sending_is_followed(way: str) -> None:
    sender, receiver = replica_inbox_pair(1 << 16)
    with sender, receiver:
        sender.set_upstream("7")
        sender.send(frame(1))
        if way == "send":
            sender.send(frame(2))
        elif way == "send_many":
            sender.send_many([frame(2)])
        else:
            wire = b"*2\r\n:2\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"
            assert sender.scan_frames(FrameScanner("kevy"), wire, 2).frames == 1
        assert sender.published == Published("7", 2, 0, False, False, 0)


def test_what_waits_in_the_overflow_is_not_published() -> None:
    sender, receiver = replica_inbox_pair(4096)
    with sender, receiver:
        sender.set_upstream("7")
        sender.send_many([Frame(i, [b"x" * 500]) for i in range(100)])
        published = sender.published.offset
        assert published is not None
        assert published < 20
        taken = 0
        while taken < 100:
            taken += len(receiver.recv_many())
        sender.flush(60)
        assert sender.published.offset == 99


def test_a_select_in_the_overflow_counts_when_it_is_published() -> None:
    sender, receiver = replica_inbox_pair(4096)
    with sender, receiver:
        sender.set_upstream("7")
        sender.send_many([Frame(i, [b"x" * 500]) for i in range(20)])
        sender.send(frame(20, b"SELECT", b"9"))
        assert sender.published.db == 0
        taken = 0
        while taken < 21:
            taken += len(receiver.recv_many())
        sender.flush(60)
        assert sender.published == Published("7", 20, 9, False, False, 0)


def test_an_event_larger_than_the_ring_counts_with_its_last_fragment() -> None:
    sender, receiver = replica_inbox_pair(4096)
    with sender, receiver:
        sender.set_upstream("7")
        sender.send(frame(1))
        sender.send(Frame(2, [b"x" * 50_000]))
        assert sender.published.offset == 1
        assert receiver.recv(60) == frame(1)
        assert receiver.recv(60) == Frame(2, [b"x" * 50_000])
        assert sender.published.offset == 2


def test_another_history_counts_only_when_nothing_of_the_old_one_waits() -> None:
    sender, receiver = replica_inbox_pair(4096)
    with sender, receiver:
        sender.set_upstream("old")
        sender.send_many([Frame(i, [b"x" * 500]) for i in range(20)])
        assert sender.published.upstream_id == "old"
        sender.set_upstream("new")
        sender.send_many([SnapshotBegin(), SnapshotEnd(3)])
        receiver.recv_many(2)
        while sender.published.offset is not None and sender.published.offset < 10:
            assert sender.published.upstream_id in ("old", "")
            receiver.recv_many(1)
        while not sender.flush(0.05):
            receiver.recv_many()
        assert sender.published == Published("new", 3, 0, True, False, 1)


def test_long_and_empty_names_of_histories() -> None:
    assert sent([frame(1)], upstream="f" * 64).upstream_id == "f" * 64
    sender, receiver = replica_inbox_pair(4096)
    with sender, receiver, pytest.raises(ValueError, match="refused"):
        sender.set_upstream("f" * 65)


def test_records_of_bytes_stand_for_nothing() -> None:
    with Ring.create(4096) as ring:
        ring.producer().write_many([b"a", b"b"])
        assert published_in(ring) == NOTHING


def _send_and_die(name: str, count: int) -> None:
    sender = ReplicaInboxSender.attach(name)
    sender.set_upstream("7")
    sender.send(frame(0, b"SELECT", b"4"))
    for offset in range(1, count):
        sender.send(frame(offset))
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_successor_finds_what_a_killed_sender_published_and_goes_on_from_there() -> None:
    first, receiver = replica_inbox_pair(1 << 16)
    with receiver:
        receiver.try_recv()  # the role is taken
        process = multiprocessing.get_context("fork").Process(target=_send_and_die, args=(first.name, 50))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        with ReplicaInboxSender.attach(first.name) as second:
            assert second.published == Published("7", 49, 4, False, False, 0)
            assert not second.loading
            second.set_upstream("7")
            second.send(frame(50))
            assert second.published == Published("7", 50, 4, False, False, 0)
            events = [receiver.recv(60) for _ in range(51)]
        assert [event.offset for event in events if isinstance(event, Frame)] == list(range(51))


def test_a_snapshot_that_never_left_a_dead_senders_overflow_is_not_waited_for() -> None:
    first, receiver = replica_inbox_pair(4096)
    with receiver:
        receiver.try_recv()

        def fill_and_die(name: str) -> None:
            sender = ReplicaInboxSender.attach(name)
            sender.send_many([frame(1), SnapshotBegin(), *([SnapshotChunk(b"x" * 1000)] * 20), SnapshotEnd(3)])
            os.kill(os.getpid(), signal.SIGKILL)

        process = multiprocessing.get_context("fork").Process(target=fill_and_die, args=(first.name,))
        process.start()
        process.join(60)
        with ReplicaInboxSender.attach(first.name) as second:
            assert second.published.in_snapshot
            assert second.published.snapshots == 0
            second.send_many([SnapshotBegin(), SnapshotChunk(b"y"), SnapshotEnd(5), frame(5)])
            assert second.loading
            seen: list[ReplicaApply] = []
            while not seen or seen[-1] != frame(5):
                event = receiver.recv(60)
                assert event is not None
                seen.append(event)
            assert seen[-4:] == [SnapshotBegin(), SnapshotChunk(b"y"), SnapshotEnd(5), frame(5)]
            receiver.mark_applied(5)
            assert not second.loading


def test_a_resume_point_is_made_for_each_kind_of_upstream() -> None:
    after_frame = Published("7", 9, 2, False, False, 1)
    after_snapshot = Published("7", 9, 0, True, False, 1)
    assert resume_after(after_frame, "redis") == ResumePoint("7", 9, 2)
    assert resume_after(after_frame, "kevy") == ResumePoint("7", 9, 2)
    assert resume_after(after_snapshot, "redis") == ResumePoint("7", 9, 0)
    assert resume_after(after_snapshot, "kevy") == ResumePoint("7", 8, 0)  # the next frame has offset 9
    assert resume_after(Published("7", 0, 0, True, False, 1), "kevy") is None
    assert resume_after(Published("", 9, 0, False, False, 0), "kevy") is None
    assert resume_after(Published("7", None, 0, False, True, 0), "kevy") is None
    assert resume_after(NOTHING, "redis") is None


def test_a_receiver_sees_again_what_its_killed_predecessor_had_not_released() -> None:
    sender, first = replica_inbox_pair(1 << 16)
    sender.send_many([frame(i) for i in range(10)])

    def drain_and_die(name: str) -> None:
        receiver = ReplicaInboxReceiver.attach(name)
        receiver.recv_many(3)
        batch = receiver.drain(5)
        assert len(batch) == 5
        batch.release(2)
        os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=drain_and_die, args=(sender.name,))
    process.start()
    process.join(60)
    with ReplicaInboxReceiver.attach(sender.name) as second:
        assert [event.offset for event in second.recv_many() if isinstance(event, Frame)] == [5, 6, 7, 8, 9]
    sender.close(0)


def test_an_event_whose_beginning_went_to_a_killed_receiver_is_told_and_not_forgotten() -> None:
    sender, first = replica_inbox_pair(4096)
    sender.send(Frame(7, [b"x" * 6000]))

    def take_the_beginning_and_die(name: str) -> None:
        receiver = ReplicaInboxReceiver.attach(name)
        taken = 0
        # The steps of a drain, one by one. A whole drain would also take the end if the sender is quick.
        while receiver.stats().overflow_events:
            batch = drained_as_it_lies(receiver)
            assert isinstance(batch, Batch)
            if batch.count and not receiver._flags & _LAST:
                assert not ReplicaInboxReceiver._take_fragment(receiver, batch, 1)
                taken += 1
            time.sleep(0.001)
        assert taken
        os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=take_the_beginning_and_die, args=(sender.name,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert sender.published.offset == 7
    with ReplicaInboxReceiver.attach(sender.name) as second:
        assert second.lost_offset is None
        with pytest.raises(EventTruncated) as told:
            second.drain()
        assert told.value.offset == 7
        assert second.lost_offset == 7
        assert second.try_recv() is None
    with ReplicaInboxReceiver.attach(sender.name) as third:
        assert third.lost_offset == 7
        third.forget_loss()
        assert third.lost_offset is None
    sender.close(0)


def lose_the_beginning(ring: Ring, sender: ReplicaInboxSender) -> None:
    """Send frame 7 in six fragments, of which four fit. A receiver takes two and ends: all others are in the ring."""
    with ReplicaInboxReceiver.attach(ring.name) as first:
        sender.send(Frame(7, [b"x" * 6000]))
        taken = 0
        while taken < 2:
            batch = drained_as_it_lies(first)
            assert isinstance(batch, Batch)
            if batch.count:
                assert not ReplicaInboxReceiver._take_fragment(first, batch, 1)
                taken += 1
            first.wait(0.01)
        assert sender.flush(10)


@contextlib.contextmanager
def ring_with_a_loss(*, also_passed: bool) -> Iterator[Ring]:
    """A ring whose receiver died with the beginning of frame 7, and the next receiver, which has found that out.

    ``also_passed``: it had given the rest of the frame back, too.
    """
    with Ring.create(4096) as ring:
        with ReplicaInboxSender.attach(ring.name) as sender:
            lose_the_beginning(ring, sender)
        with ReplicaInboxReceiver.attach(ring.name) as second:
            if also_passed:
                with pytest.raises(EventTruncated):
                    second.drain()
            else:
                rest = drained_as_it_lies(second)
                while not second._flags & _LAST:
                    rest._pass()
                    rest = drained_as_it_lies(second)
                second._publish_word(ConsumerWord.LOST_OFFSET, 8)
        yield ring


def send_more(name: str) -> None:
    with ReplicaInboxSender.attach(name) as sender:
        sender.send_many([frame(8, b"PING"), frame(9, b"PING")])


@pytest.mark.parametrize("also_passed", [True, False])
@pytest.mark.parametrize("read", ["drain", "try_recv", "recv", "recv_many", "__iter__"])
def test_the_first_to_read_after_a_death_is_told_once_of_a_truncated_event(read: str, also_passed: bool) -> None:
    with ring_with_a_loss(also_passed=also_passed) as ring, ReplicaInboxReceiver.attach(ring.name) as receiver:
        send_more(ring.name)
        with pytest.raises(EventTruncated) as told:
            next(getattr(receiver, read)())
        assert told.value.offset == 7
        assert receiver.recv(1) == frame(8, b"PING")
        assert receiver.recv(1) == frame(9, b"PING")
        with pytest.raises(RecvError):
            receiver.try_recv()
        assert receiver.lost_offset == 7, "until it is made good"


@pytest.mark.parametrize("before_the_role", [True, False])
def test_a_reader_that_asked_for_the_loss_is_not_told_of_it(before_the_role: bool) -> None:
    with ring_with_a_loss(also_passed=True) as ring, ReplicaInboxReceiver(ring._segment) as receiver:
        if not before_the_role:
            receiver.wait(0)
        assert receiver.lost_offset == 7
        receiver.wait(0)
        send_more(ring.name)
        assert receiver.recv(1) == frame(8, b"PING")


def test_who_looks_while_the_sender_goes_on_sees_one_point_and_not_two() -> None:
    first, receiver = replica_inbox_pair(1 << 16)

    def select_on_and_on(name: str) -> None:
        sender = ReplicaInboxSender.attach(name)
        sender.set_upstream("7")
        for offset in range(20_000):
            sender.send(frame(offset, b"SELECT", b"%d" % (offset % 97)))
        sender.close()
        os._exit(0)

    with receiver:
        receiver.try_recv()
        process = multiprocessing.get_context("fork").Process(target=select_on_and_on, args=(first.name,))
        process.start()
        seen = set()
        with Ring.attach(first.name) as ring:
            while not receiver.sender_gone:
                found = published_in(ring)
                if found.offset is not None:
                    assert found == Published("7", found.offset, found.offset % 97, False, False, 0)
                    seen.add(found.offset)
                with contextlib.suppress(RecvError):  # the sender may have closed since the check
                    receiver.recv_many(8)
        process.join(60)
    assert len(seen) > 5  # the machine decides how often both run at once


@pytest.mark.parametrize("newer", [False, True])
def test_the_offset_of_one_history_never_goes_with_the_id_of_another(newer: bool) -> None:
    sender, receiver = replica_inbox_pair(1 << 12)
    with sender, receiver:
        sender.set_upstream("old")
        for offset in range(1, 6):
            sender.send(frame(offset, b"x" * 1500))
        assert sender.overflow.events
        sender.set_upstream("new")
        if newer:
            sender.send(frame(100))
        deadline = time.monotonic() + 60
        while sender.overflow.events:
            receiver.recv_many()
            assert time.monotonic() < deadline
        assert (sender.published.upstream_id, sender.published.offset) == (("new", 100) if newer else ("", 5))
        receiver.recv_many()
        sender.send(frame(101))
        assert (sender.published.upstream_id, sender.published.offset) == ("new", 101)


def test_a_kept_loss_of_an_event_is_no_view_of_the_next_batch() -> None:
    with Ring.create(4096) as ring:
        with ReplicaInboxSender.attach(ring.name) as sender:
            lose_the_beginning(ring, sender)
        with ReplicaInboxReceiver.attach(ring.name) as second:
            with pytest.raises(EventTruncated) as kept:
                second.drain()
            send_more(ring.name)
            with second.drain() as batch:
                assert [bytes(argument) for argument in batch.argv(0)] == [b"PING"]
            assert kept.value.offset == 7
