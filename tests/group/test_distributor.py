"""Fan-out: one producer process for many rings, in turn and by key."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
from collections.abc import Callable, Iterator
from itertools import chain
from multiprocessing.process import BaseProcess

import pytest

import group_children as children
from kevy_ring import (
    ClosedError,
    Consumer,
    ConsumerGone,
    Distributor,
    KeyedDistributor,
    Producer,
    Ring,
    RingGroup,
    RoleTaken,
    SendError,
)
from kevy_ring.group.keyed_distributor import ring_of_key

Ended = Callable[[BaseProcess], BaseProcess]
SMALL = 4096
FITS = SMALL // 24  # records of up to 8 bytes


def numbers(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


@pytest.fixture
def three() -> Iterator[tuple[Distributor, list[Consumer]]]:
    """A distributor over three rings of a page, with the consumers in the same process."""
    distributor, consumers = Distributor.create(3, SMALL)
    yield distributor, consumers
    distributor.close()
    for consumer in consumers:
        consumer.close()


@pytest.fixture
def keyed() -> Iterator[tuple[KeyedDistributor, list[Consumer]]]:
    """The same by key."""
    distributor, consumers = KeyedDistributor.create(3, SMALL)
    yield distributor, consumers
    distributor.close()
    for consumer in consumers:
        consumer.close()


def key_of(ring: int, rings: int = 3) -> bytes:
    """A key whose ring is ``ring``."""
    return next(key for key in map(b"key%d".__mod__, range(1000)) if ring_of_key(key, rings) == ring)


def killed(ended: Ended, consumer: Consumer, count: int) -> BaseProcess:
    """A process that reads ``count`` records of the ring, and is then killed."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = ended(context.Process(target=children.take_and_hang, args=(consumer, count, theirs)))
    child.start()
    assert ours.recv() == "taken"
    children.kill(child.pid, 0)
    child.join(60)
    return child


def test_records_go_to_the_rings_in_turn(three: tuple[Distributor, list[Consumer]]) -> None:
    distributor, consumers = three
    for record in numbers(9):
        assert distributor.try_write(record)
    assert [consumer.read_many() for consumer in consumers] == [numbers(9)[ring::3] for ring in range(3)]


def test_a_full_ring_is_passed_over_and_with_all_full_nothing_is_written(
    three: tuple[Distributor, list[Consumer]],
) -> None:
    distributor, consumers = three
    assert distributor.write_many(numbers(10_000)) == 3 * FITS
    assert not distributor.try_write(b"x")
    assert not distributor.write(b"x", timeout=0.02)
    assert not distributor.wait(1, timeout=0.02)
    assert distributor.write_many([b"x"], timeout=0.02) == 0
    consumers[1].read_many(2)
    assert distributor.wait(1, timeout=60)
    assert [distributor.try_write(b"x") for _ in range(3)] == [True, True, False]
    assert consumers[1].read_many(10_000)[-2:] == [b"x", b"x"]


def test_many_records_are_shared_out_evenly_and_in_order(three: tuple[Distributor, list[Consumer]]) -> None:
    distributor, consumers = three
    assert distributor.write_many(numbers(300)) == 300
    shares = [consumer.read_many() for consumer in consumers]
    assert [len(share) for share in shares] == [100, 100, 100]
    assert sorted(chain(*shares), key=int) == numbers(300)
    for share in shares:
        assert share == sorted(share, key=int)
    assert distributor.write_many([]) == 0
    with pytest.raises(ValueError, match="larger than the ring"):
        distributor.write_many([b"x" * SMALL, b"y"])
    assert distributor.write_many([b"y", b"z", b"x" * SMALL]) == 2, "a later record that is bad ends the call"
    assert distributor.write_many([b"y", b"z", b"x" * SMALL], timeout=1) == 2
    with pytest.raises(TypeError):
        distributor.write_many([1])  # type: ignore[list-item]


def test_a_writer_that_waits_goes_on_when_any_ring_has_room(three: tuple[Distributor, list[Consumer]]) -> None:
    distributor, consumers = three
    assert distributor.write_many(numbers(10_000)) == 3 * FITS
    written: list[int] = []
    thread = threading.Thread(target=lambda: written.append(distributor.write_many(numbers(500), timeout=60)))
    thread.start()
    got = 0
    while got < 3 * FITS + 500:
        for consumer in consumers:
            got += len(consumer.read_many(50))
    thread.join(60)
    assert written == [500]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_consumers_and_the_distributor_go_to_children(method: str, ended: Ended) -> None:
    context = multiprocessing.get_context(method)
    distributor, consumers = Distributor.create(3, SMALL)
    ours, theirs = context.Pipe()
    for consumer in consumers:
        ended(context.Process(target=children.count_records, args=(consumer, theirs))).start()
    ended(context.Process(target=children.distribute, args=(distributor, 3000))).start()
    distributor.close()
    ends = [ours.recv() for _ in consumers]
    assert {cause for cause, _ in ends} == {"closed"}
    assert sorted(chain(*(records for _, records in ends)), key=int) == numbers(3000)


def test_a_killed_consumer_is_named_with_what_was_not_delivered(
    three: tuple[Distributor, list[Consumer]], ended: Ended
) -> None:
    distributor, consumers = three
    name = consumers[1].name
    assert distributor.write_many(numbers(30)) == 30
    victim = killed(ended, consumers[1], 4)
    with pytest.raises(ConsumerGone, match=name) as raised:
        for record in numbers(3):
            distributor.write(record)
    error = raised.value
    assert (error.name, error.cause, error.pid) == (name, "dead", victim.pid)
    assert (error.unsent, error.indexes, error.unread) == ([b"1"], [0], 6)
    with pytest.raises(ConsumerGone) as again:
        distributor.write_many(numbers(300))
    assert again.value.unsent == numbers(300)[again.value.indexes[0] :]
    assert distributor.take_back(name) == numbers(20)[14:], "what it read first is gone, in order"
    with pytest.raises(ValueError, match="its consumer is not gone"):
        distributor.take_back(consumers[0].name)
    assert distributor.remove(name).name == name
    with pytest.raises(ValueError, match="not in this group"):
        distributor.take_back(name)
    assert distributor.write_many(numbers(20)) == 20
    assert len(distributor) == 2


def test_with_a_callback_the_others_get_everything(ended: Ended) -> None:
    gone: list[ConsumerGone] = []
    rescued: list[bytes] = []

    def on_gone(producer: Producer, error: ConsumerGone) -> None:
        gone.append(error)
        rescued.extend(distributor.take_back(producer.name))

    made, consumers = Distributor.create(3, SMALL)
    distributor = Distributor(made.producers, on_gone=on_gone)
    assert distributor.write_many(numbers(30)) == 30
    names = [consumer.name for consumer in consumers]
    killed(ended, consumers[1], 4)
    for record in numbers(60)[30:]:
        assert distributor.write(record)
    assert [error.name for error in gone] == [names[1]]
    assert rescued == numbers(20)[14:]
    assert len(distributor) == 2
    got = consumers[0].read_many() + consumers[2].read_many()
    assert sorted(got + rescued + numbers(14)[10:], key=int) == numbers(60)
    consumers[0].close()
    assert distributor.write_many(numbers(10)) == 10
    assert [error.name for error in gone] == [names[1], names[0]]
    consumers[2].close()
    with pytest.raises(ConsumerGone, match=names[2]):
        distributor.write_many(numbers(10))
    distributor.close()


@pytest.mark.parametrize("many", [False, True])
def test_a_consumer_that_is_killed_while_all_rings_are_full_wakes_the_writer(
    three: tuple[Distributor, list[Consumer]], ended: Ended, many: bool
) -> None:
    distributor, consumers = three
    assert distributor.write_many(numbers(10_000)) == 3 * FITS
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = ended(context.Process(target=children.take_and_hang, args=(consumers[2], 0, theirs)))
    child.start()
    assert ours.recv() == "taken"
    threading.Thread(target=children.kill, args=(child.pid, 0.1)).start()
    with pytest.raises(ConsumerGone, match=consumers[2].name) as raised:
        distributor.write_many(numbers(5), timeout=60) if many else distributor.write(b"x", timeout=60)
    assert (raised.value.cause, raised.value.pid, raised.value.unread) == ("dead", child.pid, FITS)
    assert raised.value.unsent == (numbers(5) if many else [b"x"])


def test_by_key_each_key_has_one_ring_and_keeps_its_order(keyed: tuple[KeyedDistributor, list[Consumer]]) -> None:
    distributor, consumers = keyed
    keys = [b"k%d" % (i % 10) for i in range(300)]
    assert distributor.write_many(keys, [b"%s %d" % (key, i) for i, key in enumerate(keys)]) == []
    for ring, consumer in enumerate(consumers):
        records = [record.split() for record in consumer.read_many()]
        assert records, "ten keys do not all go to two rings"
        assert {distributor.ring_of(key) for key, _ in records} == {ring}
        assert [int(number) for _, number in records] == sorted(int(number) for _, number in records)
    assert [distributor.ring_of(b"user:%d" % i) for i in range(6)] == [0, 2, 1, 0, 2, 2], "the same in every version"


def test_by_key_a_full_ring_is_not_evaded_and_nothing_passes_it(
    keyed: tuple[KeyedDistributor, list[Consumer]],
) -> None:
    distributor, consumers = keyed
    full, free = key_of(0), key_of(1)
    assert distributor.write_many([full] * 1000, numbers(1000)) == list(range(FITS, 1000))
    assert not distributor.try_write(full, b"x")
    assert not distributor.write(full, b"x", timeout=0.02)
    assert distributor.write(free, b"free", timeout=60)
    assert distributor.write_many([full, free, full], [b"a", b"b", b"c"], timeout=0.02) == [0, 2]
    consumers[0].read_many(1)
    assert distributor.write_many([full, free, full], [b"a", b"b", b"c"]) == [2]
    assert consumers[0].read_many(1000)[-1] == b"a"
    assert consumers[1].read_many() == [b"free", b"b", b"b"]
    assert consumers[2].read_many() == []
    with pytest.raises(ValueError, match="one key for each record"):
        distributor.write_many([full], [])
    assert distributor.write_many([full, full], [b"a", b"x" * SMALL]) == [1]
    with pytest.raises(ValueError, match="larger than the ring"):
        distributor.write_many([full], [b"x" * SMALL])


def test_by_key_a_killed_consumer_gets_no_substitute_but_a_successor(
    keyed: tuple[KeyedDistributor, list[Consumer]], ended: Ended
) -> None:
    distributor, consumers = keyed
    name = consumers[0].name
    lost, kept = key_of(0), key_of(1)
    assert distributor.write_many([lost] * 10, numbers(10)) == []
    killed(ended, consumers[0], 4)
    for _ in range(2):
        with pytest.raises(ConsumerGone, match=name) as raised:
            distributor.write(lost, b"x", timeout=60)
        assert (raised.value.unsent, raised.value.unread, raised.value.cause) == ([b"x"], 6, "dead")
    with pytest.raises(ConsumerGone) as many:
        distributor.write_many([lost, kept, lost, kept], numbers(4))
    assert (many.value.unsent, many.value.indexes) == ([b"0", b"2"], [0, 2])
    assert consumers[1].read_many() == [b"1", b"3"]
    assert consumers[2].read_many() == []
    with Ring.attach(name) as ring, ring.consumer() as successor:
        assert distributor.write(lost, b"again", timeout=60)
        assert successor.read_many() == [*numbers(10)[4:], b"again"]
        with pytest.raises(ValueError, match="not gone"):
            distributor.take_back(name)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_by_key_in_children(method: str, ended: Ended) -> None:
    context = multiprocessing.get_context(method)
    distributor, consumers = KeyedDistributor.create(2, SMALL)
    ours, theirs = context.Pipe()
    for consumer in consumers:
        ended(context.Process(target=children.count_records, args=(consumer, theirs))).start()
    ended(context.Process(target=children.distribute_by_key, args=(distributor, 8, 300))).start()
    ends = [ours.recv() for _ in consumers]
    for key in map(b"k%d".__mod__, range(8)):
        (records,) = [found for _, all_ in ends if (found := [r for r in all_ if r.startswith(key + b" ")])]
        assert records == [b"%s %d" % (key, number) for number in range(300)]


def test_records_pass_through_workers_and_come_together_again(ended: Ended) -> None:
    """Fan-out, and fan-in of the results."""
    context = multiprocessing.get_context("fork")
    distributor, consumers = Distributor.create(3, SMALL)
    group, producers = RingGroup.create(3, SMALL)
    for consumer, producer in zip(consumers, producers, strict=True):
        ended(context.Process(target=double, args=(consumer, producer))).start()
    feeder = threading.Thread(target=children.distribute, args=(distributor, 2000))
    feeder.start()
    assert sorted(map(int, group)) == [2 * number for number in range(2000)]
    feeder.join(60)
    assert [end.cause for end in group.ended] == ["closed"] * 3


def double(consumer: Consumer, producer: Producer) -> None:
    """Send each number back, doubled."""
    results = Distributor([producer])
    with consumer, producer, results:
        while not consumer.sender_gone:
            consumer.wait(60)
            results.write_many([b"%d" % (2 * int(record)) for record in consumer.read_many()], timeout=60)


def test_rings_join_and_the_last_one_stays(three: tuple[Distributor, list[Consumer]]) -> None:
    distributor, consumers = three
    with Ring.create(SMALL) as ring, ring.consumer() as consumer:
        distributor.add(ring.producer())
        assert distributor.write_many(numbers(4)) == 4
        assert consumer.read_many() == [b"3"]
        for each in consumers:
            distributor.remove(each.name).close()
        with pytest.raises(ValueError, match="the last ring stays"):
            distributor.remove(ring.name)
    with pytest.raises(ValueError, match="at least one ring"):
        Distributor([])
    assert "1 rings" in repr(distributor)
    again = pickle.loads(pickle.dumps(distributor.__reduce__()[1][1]))
    assert again is None


def test_a_closed_distributor_says_so(three: tuple[Distributor, list[Consumer]]) -> None:
    distributor, _ = three
    distributor.fileno()
    distributor.close()
    distributor.close()
    for use in (lambda: distributor.try_write(b"x"), lambda: distributor.write_many([b"x"]), distributor.fileno):
        with pytest.raises(ClosedError):
            use()


def test_take_back_does_not_take_from_a_successor(ended: Ended) -> None:
    distributor, consumers = Distributor.create(1, SMALL)
    distributor.write_many(numbers(3))
    killed(ended, consumers[0], 1)
    with pytest.raises(SendError):
        distributor.write(b"x")
    with Ring.attach(consumers[0].name) as ring, ring.consumer():
        with pytest.raises((ValueError, RoleTaken)):
            distributor.take_back(ring.name)
        assert ring.stats().used_bytes == 2 * 24
    distributor.close()


@pytest.mark.parametrize("rings", [2, 3, 4, 8, 16])
def test_keys_of_a_series_go_to_all_rings(rings: int) -> None:
    for series in (b"%d", b"user:%d", b"order-%06d"):
        counts = [0] * rings
        for number in range(3000):
            counts[ring_of_key(series % number, rings)] += 1
        assert max(counts) < 1.5 * min(counts), series


@pytest.mark.parametrize("kind", [Distributor, KeyedDistributor])
def test_a_consumer_that_got_nothing_learns_of_the_end_too(
    kind: type[Distributor] | type[KeyedDistributor], ended: Ended
) -> None:
    context = multiprocessing.get_context("fork")
    distributor, consumers = kind.create(3, SMALL)
    ours, theirs = context.Pipe()
    for consumer in consumers:
        ended(context.Process(target=children.count_records, args=(consumer, theirs))).start()
    if isinstance(distributor, KeyedDistributor):
        assert distributor.write(b"k", b"x")
    else:
        assert distributor.write(b"x")
    distributor.close()
    assert sorted(ours.recv() for _ in consumers) == [("closed", []), ("closed", []), ("closed", [b"x"])]
