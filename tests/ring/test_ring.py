"""The ring alone: records of bytes, a full ring as a return value, batches in place."""

from __future__ import annotations

import os
import pickle
import select
import threading
import time

import numpy as np
import pytest

from kevy_ring import (
    BatchOpen,
    ClosedError,
    Consumer,
    Producer,
    Ring,
    RoleTaken,
    SegmentError,
    SendError,
    ViewsEscaped,
)
from kevy_ring.ring import RoleState, inspect_ring, ring_names


@pytest.fixture
def ring():
    with Ring.create(1 << 16) as ring:
        yield ring


@pytest.fixture
def ends(ring: Ring):
    producer, consumer = ring.producer(), ring.consumer()
    yield producer, consumer
    consumer.close()
    producer.close()


def test_records_arrive_in_order_with_their_bytes(ends: tuple[Producer, Consumer]) -> None:
    producer, consumer = ends
    assert producer.try_write(b"one")
    assert producer.try_write(b"")
    assert producer.try_write(bytearray(b"two"))
    assert producer.try_write(memoryview(b"-three-")[1:-1])
    assert consumer.read_many() == [b"one", b"", b"two", b"three"]
    assert consumer.read_many() == []


def test_a_full_ring_is_a_value_and_space_returns_with_the_release(ends: tuple[Producer, Consumer]) -> None:
    producer, consumer = ends
    written = 0
    while producer.try_write(b"x" * 1000):
        written += 1
    assert written == (1 << 16) // 1016
    assert not producer.wait(1000, timeout=0.02)
    assert len(consumer.read_many(3)) == 3
    assert producer.wait(1000, timeout=1)
    assert [producer.try_write(b"y" * 1000) for _ in range(4)] == [True, True, True, False]
    assert ends[0]._segment.name in ring_names()


def test_a_record_of_exactly_the_capacity_fits_and_one_byte_more_is_refused(ends: tuple[Producer, Consumer]) -> None:
    producer, consumer = ends
    largest = os.urandom((1 << 16) - 16)
    assert producer.try_write(largest)
    assert consumer.read_many() == [largest]
    with pytest.raises(ValueError, match="larger than the ring"):
        producer.try_write(largest + b"x")
    with pytest.raises(ValueError, match="larger than the ring"):
        producer.write_many([largest + b"x"])
    assert producer.write_many([b"fits", largest + b"x"]) == 1


def test_write_many_returns_how_many_fitted_and_publishes_once(ends: tuple[Producer, Consumer]) -> None:
    producer, consumer = ends
    before = inspect_ring(producer.name).publishes
    done = producer.write_many([bytes([i % 256]) * 1000 for i in range(100)])
    assert done == (1 << 16) // 1016
    assert inspect_ring(producer.name).publishes == before + 1
    assert [record[0] for record in consumer.read_many(200)] == [i % 256 for i in range(done)]


def test_write_packed_takes_lengths_from_numpy_and_refuses_what_does_not_add_up(
    ends: tuple[Producer, Consumer],
) -> None:
    producer, consumer = ends
    assert producer.write_packed(b"abbccc", np.array([1, 2, 3], np.uint32)) == 3
    assert consumer.read_many() == [b"a", b"bb", b"ccc"]
    with pytest.raises(ValueError, match="add up"):
        producer.write_packed(b"abb", np.array([1, 1], np.uint32))
    with pytest.raises(TypeError, match="integers"):
        producer.write_packed(b"abb", np.array([1.0, 1.0, 1.0]))
    assert consumer.read_many() == []


def test_a_grant_is_invisible_until_it_is_published(ends: tuple[Producer, Consumer]) -> None:
    producer, consumer = ends
    with producer.try_reserve(100) as grant:
        grant.view[:5] = b"hello"
        grant.commit(5)
    assert consumer.read_many() == []
    producer.publish()
    assert consumer.read_many() == [b"hello"]


def test_an_aborted_grant_leaves_nothing(ends: tuple[Producer, Consumer]) -> None:
    producer, consumer = ends
    with producer.try_reserve(100) as grant:
        grant.view[:5] = b"hello"
    producer.publish()
    assert producer.try_write(b"next")
    assert consumer.read_many() == [b"next"]


def test_a_grant_with_an_escaped_view_is_not_committed(ends: tuple[Producer, Consumer]) -> None:
    producer, consumer = ends
    grant = producer.try_reserve(10)
    kept = grant.view[:2]
    with pytest.raises(ViewsEscaped):
        grant.commit(2)
    del kept
    grant.commit(2)
    producer.publish()
    assert len(consumer.read_many()) == 1
    with pytest.raises(ClosedError):
        grant.commit(2)


def test_a_batch_shows_columns_and_read_only_views(ends: tuple[Producer, Consumer]) -> None:
    producer, consumer = ends
    producer.write_many([b"a", b"bb" * 50, b""])
    with consumer.drain() as batch:
        assert len(batch) == 3
        assert not batch.more
        assert batch.lengths.tolist() == [1, 100, 0]
        assert batch.starts.dtype == np.uint64
        assert batch.lengths.dtype == np.uint32
        with pytest.raises(ValueError, match="read-only"):
            batch.lengths[0] = 1 << 30
        for i in range(3):
            start, length = int(batch.starts[i]), int(batch.lengths[i])
            assert batch.buffer[start : start + length] == batch[i]
        assert batch[-1] == b""
        assert batch[0].readonly
        with pytest.raises(TypeError):
            batch[0][0] = 1
        with pytest.raises(IndexError):
            batch[3]


def test_columns_that_are_kept_do_not_change_with_the_next_batch(ends: tuple[Producer, Consumer]) -> None:
    producer, consumer = ends
    producer.write_many([b"a" * 7, b"b" * 9])
    with consumer.drain() as batch:
        kept = batch.lengths
    producer.write_many([b"c" * 1, b"d" * 2])
    with consumer.drain() as batch:
        assert batch.lengths.tolist() == [1, 2]
    assert kept.tolist() == [7, 9]


def test_a_drain_is_bounded_by_records_and_by_bytes_but_takes_at_least_one(ends: tuple[Producer, Consumer]) -> None:
    producer, consumer = ends
    producer.write_many([b"x" * 100] * 10)
    with consumer.drain(max_records=4) as batch:
        assert (len(batch), batch.more) == (4, True)
    with consumer.drain(max_bytes=300) as batch:
        assert (len(batch), batch.more) == (2, True)
    with consumer.drain(max_bytes=1) as batch:
        assert (len(batch), batch.more) == (1, True)
    with consumer.drain() as batch:
        assert (len(batch), batch.more) == (3, False)
    with pytest.raises(ValueError, match="at least one record"):
        consumer.drain(max_records=0)


def test_a_part_of_a_batch_can_be_released(ends: tuple[Producer, Consumer]) -> None:
    producer, consumer = ends
    producer.write_many([b"0", b"1", b"2"])
    batch = consumer.drain()
    batch.release(upto=2)
    assert inspect_ring(consumer.name).events_out == 2
    assert batch[2] == b"2"
    batch.release(upto=1)
    batch.release()
    batch.release()
    assert inspect_ring(consumer.name).events_out == 3
    with pytest.raises(ClosedError):
        batch[2]


def test_a_role_belongs_to_one_live_holder_and_passes_on_after_a_close(ring: Ring) -> None:
    producer = ring.producer()
    with pytest.raises(RoleTaken) as taken:
        ring.producer()
    assert (taken.value.role, taken.value.pid, taken.value.name) == ("producer", os.getpid(), ring.name)
    consumer = ring.consumer()
    with pytest.raises(RoleTaken) as taken:
        ring.consumer()
    assert taken.value.role == "consumer"
    assert producer.try_write(b"kept")
    producer.close()
    consumer.close()
    assert inspect_ring(ring.name).producer.state is RoleState.CLOSED
    with ring.consumer() as successor:
        assert successor.read_many() == [b"kept"]


def test_a_write_after_the_consumer_closed_fails_at_once_and_for_ever(ends: tuple[Producer, Consumer]) -> None:
    producer, consumer = ends
    consumer.close()
    for _ in range(2):
        with pytest.raises(SendError) as failed:
            producer.try_write(b"x")
        assert (failed.value.cause, failed.value.pid) == ("closed", os.getpid())
    with pytest.raises(SendError):
        producer.wait(1)
    assert producer.receiver_gone


def test_the_consumer_gets_everything_before_it_sees_the_producer_gone(ends: tuple[Producer, Consumer]) -> None:
    producer, consumer = ends
    producer.try_write(b"last")
    producer.close()
    assert not consumer.sender_gone
    assert consumer.wait(1)
    assert consumer.read_many() == [b"last"]
    assert consumer.sender_gone
    assert consumer.wait(1)


def test_committed_records_are_published_by_a_close(ends: tuple[Producer, Consumer]) -> None:
    producer, consumer = ends
    grant = producer.try_reserve(4)
    grant.view[:] = b"done"
    grant.commit(4)
    producer.close()
    assert consumer.read_many() == [b"done"]


def test_a_closed_handle_says_so(ends: tuple[Producer, Consumer]) -> None:
    producer, consumer = ends
    producer.close()
    consumer.close()
    with pytest.raises(ClosedError):
        producer.try_write(b"x")
    with pytest.raises(ClosedError):
        consumer.drain()
    with pytest.raises(ClosedError):
        consumer.wait(0)


def test_a_parked_consumer_is_woken_by_a_record_and_by_its_own_close(ends: tuple[Producer, Consumer]) -> None:
    producer, consumer = ends
    timer = threading.Timer(0.05, producer.try_write, [b"x"])
    timer.start()
    assert consumer.wait(60)
    timer.join()
    consumer.read_many()
    timer = threading.Timer(0.05, consumer.close)
    timer.start()
    with pytest.raises(ClosedError):
        consumer.wait(60)
    timer.join()


def test_the_descriptor_is_readable_exactly_while_there_is_something_to_see(ends: tuple[Producer, Consumer]) -> None:
    producer, consumer = ends
    fd = consumer.fileno()

    def readable() -> bool:
        return bool(select.select([fd], [], [], 0)[0])

    assert not readable()
    producer.write_many([b"a", b"b", b"c"])
    assert readable()
    with consumer.drain(max_records=1) as batch:
        assert batch.more
    assert readable()
    consumer.drain().release()
    assert not readable()
    assert len(consumer.drain()) == 0
    producer.try_write(b"d")
    assert readable()
    assert consumer.read_many() == [b"d"]
    assert not readable()
    producer.close()
    assert readable()
    assert consumer.read_many() == []
    assert readable(), "the end stays readable, as the end of a stream does"


def test_the_producers_descriptor_tells_of_space(ends: tuple[Producer, Consumer]) -> None:
    producer, consumer = ends
    while producer.try_write(b"x" * 1000):
        pass
    fd = producer.fileno(1000)
    assert not select.select([fd], [], [], 0)[0]
    consumer.read_many(5)
    assert select.select([fd], [], [], 1)[0]


def test_a_burst_rings_the_doorbell_once(ends: tuple[Producer, Consumer]) -> None:
    producer, consumer = ends
    consumer.fileno()
    before = inspect_ring(consumer.name).data_wakes
    for _ in range(100):
        producer.try_write(b"x")
    assert inspect_ring(consumer.name).data_wakes == before + 1
    consumer.read_many(1000)
    for _ in range(100):
        producer.try_write(b"x")
    assert inspect_ring(consumer.name).data_wakes == before + 2


def test_a_second_drain_while_a_batch_is_open_says_so(ends: tuple[Producer, Consumer]) -> None:
    producer, consumer = ends
    producer.write_many([b"a", b"b"])
    batch = consumer.drain(max_records=1)
    with pytest.raises(BatchOpen):
        consumer.drain()
    batch.release()
    assert consumer.read_many() == [b"b"]


def test_names_and_capacities_are_checked_before_anything_is_made() -> None:
    for capacity in (0, 1000, 4097, 3 << 20):
        with pytest.raises(ValueError, match="power of two"):
            Ring.create(capacity)
    for name in ("", "a/b", "x" * 31, ".hidden"):
        with pytest.raises(ValueError, match="name"):
            Ring.create(4096, name)


def test_the_names_of_segments_exist_once() -> None:
    with Ring.create(4096) as ring:
        with pytest.raises(SegmentError) as failed:
            Ring.create(4096, ring.name)
        assert failed.value.reason == "exists"
        assert len(ring.name) <= 30
        assert os.stat(f"/dev/shm/{ring.name}").st_mode & 0o777 == 0o600
    with pytest.raises(SegmentError) as failed:
        Ring.attach(ring.name)
    assert failed.value.reason == "missing"
    assert not [name for name in os.listdir("/dev/shm") if name.startswith(ring.name)]


def test_attach_waits_for_a_ring_that_is_made_later() -> None:
    name = f"kevy-later-{os.getpid()}"
    made: list[Ring] = []
    timer = threading.Timer(0.05, lambda: made.append(Ring.create(4096, name)))
    timer.start()
    try:
        with Ring.attach(name, timeout=60) as ring:
            assert ring.capacity == 4096
    finally:
        timer.join()
        made[0].close()
    started = time.monotonic()
    with pytest.raises(SegmentError):
        Ring.attach(name, timeout=0.05)
    assert time.monotonic() - started >= 0.05


@pytest.mark.parametrize("content", [b"", b"short", b"\0" * 8192, b"x" * 8192])
def test_attach_refuses_what_is_no_ring(content: bytes) -> None:
    name = f"kevy-odd-{os.getpid()}"
    path = f"/dev/shm/{name}"
    with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
    try:
        with pytest.raises(SegmentError) as failed:
            Ring.attach(name)
        assert failed.value.reason in ("not-a-ring", "timeout")
    finally:
        os.unlink(path)


def test_a_wrong_geometry_or_version_or_mode_is_refused() -> None:
    for at, value, reason in ((8, 99, "version"), (12, 99, "geometry"), (16, 99, "geometry"), (16, 1, "geometry")):
        with Ring.create(4096) as ring:
            with open(f"/dev/shm/{ring.name}", "r+b") as file:
                file.seek(at)
                file.write(bytes([value]))
            with pytest.raises(SegmentError) as failed:
                Ring.attach(ring.name)
            assert failed.value.reason == reason
    with Ring.create(4096) as ring:
        os.chmod(f"/dev/shm/{ring.name}", 0o644)
        with pytest.raises(SegmentError) as failed:
            Ring.attach(ring.name)
        assert failed.value.reason == "permission"


def test_handles_of_a_ring_pickle_and_take_their_role_on_first_use(ring: Ring) -> None:
    producer = ring.producer()
    copy = pickle.loads(pickle.dumps(producer))
    with pytest.raises(RoleTaken):
        copy.try_write(b"x")
    producer.close()
    assert copy.try_write(b"x")
    same = pickle.loads(pickle.dumps(ring))
    assert same.capacity == ring.capacity
    consumer = same.consumer()
    assert consumer.read_many() == [b"x"]
    copy.close()
    consumer.close()
    same.close()


def test_rings_that_come_and_go_leave_no_descriptor_and_no_segment() -> None:
    before, names = (len(os.listdir("/proc/self/fd")), threading.active_count()), []
    for _ in range(300):
        with Ring.create(4096) as ring, ring.producer() as producer, ring.consumer() as consumer:
            producer.try_write(b"x")
            consumer.fileno()
            assert consumer.read_many() == [b"x"]
            names.append(ring.name)
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before
    assert not [entry for entry in os.listdir("/dev/shm") if entry.split(".")[0] in names]
