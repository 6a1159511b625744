"""Flipped bits in the memory of live rings give one of our errors or data, never a signal, never a hang.

As a program (``test_bit_flips.py WAY SEED FLIPS``) this file is the child that flips bits. KEVY_RING_BIT_FLIPS is the
number of flips of all ways together.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kevy_ring import replica_inbox_pair
from kevy_ring.errors import CorruptRing, KevyRingError
from kevy_ring.events import Frame, ReplicaApply, SnapshotBegin, SnapshotChunk, SnapshotEnd
from kevy_ring.ring import Ring, inspect_ring
from kevy_ring.ring.outside.peek import peek_records

FLIPS = int(os.environ.get("KEVY_RING_BIT_FLIPS", "42000"))
CAPACITY = 4096
HEADER_BYTES = 3000  # the used part of the header's page, and a little of the unused part
ROUNDS = 30  # flips of one ring, unless it is refused before
EVENT_MAX = 1 << 20  # more than the test ever sends, so nothing longer can be valid
WAIT_S = 0.001
WORDS = {"tail": 128, "head": 256}

EVENTS: list[ReplicaApply] = [
    SnapshotBegin(),
    SnapshotChunk(b"c" * 40),
    SnapshotEnd(4),
    *(Frame(5 + n, [b"SET", b"key:%d" % n, b"v" * n]) for n in range(12)),
    SnapshotChunk(b""),
    Frame(99, [b"DEL", *[b"%d" % n for n in range(20)]]),
]
LARGE = Frame(100, [b"SET", b"large", b"l" * (2 * CAPACITY)])
RECORDS = [b"r" * n for n in (0, 1, 7, 8, 9, 40, 40, 40, 40, 40, 40, 100)]


class Flipper:
    """A second mapping of a ring's file. ``made`` counts its flips."""

    def __init__(self, name: str, random_bits: random.Random) -> None:
        with open(f"/dev/shm/{name}", "r+b") as file:
            self._bytes = mmap.mmap(file.fileno(), 0)
        self._page = len(self._bytes) - CAPACITY
        self._random = random_bits
        self.made = 0

    def _word(self, name: str) -> int:
        at = WORDS[name]
        return int.from_bytes(self._bytes[at : at + 8], "little")

    def flip(self) -> None:
        """Flip one to three bits: in the header, in an aligned word of the waiting records, or in any byte."""
        for _ in range(self._random.choice((1, 1, 1, 2, 3))):
            where = self._random.random()
            if where < 0.25:
                at = self._random.randrange(HEADER_BYTES)
            else:
                used = (self._word("tail") - self._word("head")) % 2**64
                into = self._random.randrange(min(used, CAPACITY) or CAPACITY)
                into = into & ~7 | self._random.randrange(7) if where < 0.75 else into
                at = self._page + (self._word("head") + into) % CAPACITY
            self._bytes[at] ^= 1 << self._random.randrange(8)
            self.made += 1

    def close(self) -> None:
        self._bytes.close()


def check(event: object) -> None:
    """Assert that a receiver may give this event, whatever its content."""
    match event:
        case Frame(offset, argv):
            assert 0 <= offset < 2**64
            assert argv
            assert sum(len(bytes(argument)) for argument in argv) <= EVENT_MAX
        case SnapshotChunk(data):
            assert len(bytes(data)) <= EVENT_MAX
        case SnapshotEnd(ack_offset):
            assert 0 <= ack_offset < 2**64
        case SnapshotBegin():
            pass
        case _:
            raise AssertionError(event)


def by_drain(receiver: Any) -> int:
    with receiver.drain(max_events=7) as batch:
        for event in batch:
            check(event)
        batch.resp()
        assert batch.lengths.sum() <= EVENT_MAX
        return len(batch)


def by_recv(receiver: Any) -> int:
    taken = 0
    while (event := receiver.recv(timeout=WAIT_S)) is not None:
        check(event)
        taken += 1
    return taken


def by_recv_many(receiver: Any) -> int:
    events = receiver.recv_many(9)
    for event in events:
        check(event)
    return len(events)


def by_read(consumer: Any) -> int:
    taken = 0
    while (record := consumer.read(timeout=WAIT_S)) is not None:
        assert len(record) <= CAPACITY
        taken += 1
    return taken


def by_read_many(consumer: Any) -> int:
    records = consumer.read_many(5)
    assert all(len(record) <= CAPACITY for record in records)
    return len(records)


def by_attaching(consumer: Any) -> int:
    """Attach, inspect and peek: the calls that only look."""
    inspect_ring(consumer.name)
    taken = len(peek_records(consumer.name).records)
    with Ring.attach(consumer.name) as ring:
        ring.stats()
    consumer.read_many()
    return taken


INBOX_WAYS: dict[str, Callable[[Any], int]] = {"drain": by_drain, "recv": by_recv, "recv_many": by_recv_many}
RING_WAYS: dict[str, Callable[[Any], int]] = {"read": by_read, "read_many": by_read_many, "attach": by_attaching}
WAYS = [*INBOX_WAYS, *RING_WAYS, "send"]


def sending_inbox(sender: Any, random_bits: random.Random) -> None:
    sender.send_many(EVENTS)
    sender.send(EVENTS[3])
    if random_bits.random() < 0.1:
        sender.send(LARGE)
    sender.set_word(8, 1)


def sending_ring(producer: Any, random_bits: random.Random) -> None:
    producer.write_many(RECORDS)
    grant = producer.try_reserve(50)
    if grant is not None:
        with grant:
            grant.view[:5] = b"grant"
            grant.commit(random_bits.randrange(50))
        producer.publish()
    producer.wait(8, timeout=0)


def rounds(way: str, ends: tuple[Any, Any], flipper: Flipper, random_bits: random.Random) -> Iterator[int]:
    """Send, flip and take until the ring is refused. Yields the number of events or records that were taken."""
    first, second = ends
    send = sending_inbox if way in INBOX_WAYS or way == "send" else sending_ring
    take = (INBOX_WAYS | RING_WAYS).get(way, by_drain)
    for _ in range(ROUNDS):
        send(first, random_bits)
        flipper.flip()
        if way == "send":  # the producer meets the flip before any record is taken
            for _ in range(random_bits.randrange(40)):
                send(first, random_bits)
                flipper.flip()
        yield take(second)


def flip_bits(way: str, seed: int, flips: int) -> dict[str, Any]:
    """Make new rings until ``flips`` bits were flipped. Returns the outcomes."""
    random_bits = random.Random(f"{way} {seed}")
    made = taken = rings = 0
    errors: Counter[str] = Counter()
    while made < flips:
        ends: tuple[Any, Any]
        with contextlib.ExitStack() as closing:
            if way in RING_WAYS:
                ring = closing.enter_context(Ring.create(CAPACITY))
                ends = ring.producer(), ring.consumer()
            else:
                ends = replica_inbox_pair(CAPACITY)
            closing.callback(ends[1].close)
            closing.callback(ends[0].close, **({} if way in RING_WAYS else {"timeout": 0}))
            flipper = Flipper(ends[0].name, random_bits)
            closing.callback(flipper.close)
            rings += 1
            try:
                for count in rounds(way, ends, flipper, random_bits):
                    taken += count
            except KevyRingError as error:
                errors[type(error).__name__] += 1
        made += flipper.made
        assert not Path("/dev/shm", ends[0].name).exists()
    return {"flips": made, "rings": rings, "taken": taken, "errors": errors}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.timeout(240 + FLIPS // 500)
def test_flipped_bits_give_an_error_or_data_and_neither_a_signal_nor_a_hang(way: str) -> None:
    flips = FLIPS // len(WAYS)
    child = subprocess.run(
        [sys.executable, "-W", "ignore", "-X", "faulthandler", __file__, way, "1", str(flips)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=120 + FLIPS // 500,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    found = json.loads(child.stdout)
    assert found["flips"] >= flips
    assert found["taken"] > found["rings"]
    assert found["errors"]["SegmentError" if way == "attach" else "CorruptRing"]


def test_a_frame_in_parts_that_says_it_has_no_arguments_is_refused() -> None:
    sender, receiver = replica_inbox_pair(CAPACITY)
    with receiver:
        sender.send(LARGE)
        assert receiver.wait(timeout=120)
        with open(f"/dev/shm/{sender.name}", "r+b") as file:
            file.seek(os.sysconf("SC_PAGE_SIZE") + 16)
            file.write(bytes(4))
        with pytest.raises(CorruptRing) as refused:
            receiver.recv(timeout=60)
        assert refused.value.field == "number of arguments"
        sender.close(timeout=0)


if __name__ == "__main__":
    print(json.dumps(flip_bits(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
