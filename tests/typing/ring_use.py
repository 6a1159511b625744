"""A ring of byte records, as type checkers see it. Checked, never run."""

from __future__ import annotations

from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

from kevy_ring import Consumer, Producer, Ring
from kevy_ring.ring import Grant, RecordBatch, RingStats, RoleState, inspect_ring, ring_names
from kevy_ring.ring.batch_stream import BatchStream


def make_and_find() -> None:
    with Ring.create(1 << 16, "a-name", keep=True) as ring:
        assert_type(ring, Ring)
        assert_type(ring.name, str)
        assert_type(ring.capacity, int)
        assert_type(ring.producer(), Producer)
        assert_type(ring.consumer(spin_us=0.0), Consumer)
        assert_type(ring.stats(), RingStats)
    assert_type(Ring.attach("a-name", timeout=1.0), Ring)
    assert_type(inspect_ring("a-name").producer.state, RoleState)
    for name in ring_names():
        assert_type(name, str)


def produce(producer: Producer) -> None:
    assert_type(producer.try_write(b"bytes"), bool)
    assert_type(producer.try_write(bytearray(b"bytes")), bool)
    assert_type(producer.try_write(memoryview(b"bytes")), bool)
    assert_type(producer.write_many([b"one", b"two"]), int)
    assert_type(producer.write_many([b"one", memoryview(b"two")]), int)
    assert_type(producer.write_packed(b"onetwo", [3, 3]), int)
    assert_type(producer.wait(100, timeout=0.5), bool)
    assert_type(producer.receiver_gone, bool)
    assert_type(producer.fileno(), int)
    producer.publish()
    with producer as same:
        assert_type(same, Producer)


def produce_in_place(producer: Producer) -> None:
    grant = producer.try_reserve(100)
    assert_type(grant, Grant | None)
    if grant is not None:
        with grant as same:
            assert_type(same, Grant)
            assert_type(same.view, memoryview)
            same.commit(50)


def consume(consumer: Consumer) -> None:
    assert_type(consumer.try_read(), bytes | None)
    assert_type(consumer.read(timeout=1.0), bytes | None)
    assert_type(consumer.read(), bytes | None)
    assert_type(consumer.read_many(10), list[bytes])
    assert_type(consumer.read_many(max_records=10), list[bytes])
    assert_type(consumer.wait(timeout=None), bool)
    assert_type(consumer.sender_gone, bool)
    assert_type(consumer.fileno(), int)
    with consumer as same:
        assert_type(same, Consumer)


def consume_in_place(consumer: Consumer) -> None:
    with consumer.drain(1024, max_bytes=1 << 20) as batch:
        assert_type(batch, RecordBatch)
        assert_type(len(batch), int)
        assert_type(batch.count, int)
        assert_type(batch.more, bool)
        assert_type(batch.buffer, memoryview)
        assert_type(batch[0], memoryview)
        assert_type(batch.copies(), list[bytes])
        assert_type(batch.starts, npt.NDArray[np.uint64])
        assert_type(batch.lengths, npt.NDArray[np.uint32])
        for record in batch:
            assert_type(record, memoryview)
        batch.release(1)


async def consume_in_an_event_loop(producer: Producer, consumer: Consumer) -> None:
    assert_type(await producer.wait_async(10, timeout=1.0), bool)
    assert_type(await consumer.wait_async(timeout=1.0), bool)
    assert_type(await consumer.read_async(), bytes | None)
    assert_type(consumer.batches(), BatchStream[RecordBatch])
    async for batch in consumer:
        assert_type(batch, RecordBatch)


def not_as_it_is_meant(producer: Producer, consumer: Consumer, anything: Any) -> None:
    producer.try_write("text")  # type: ignore[arg-type]
    producer.try_write(anything)
    producer.write_many(b"bytes")  # type: ignore[arg-type]
    producer.try_write(record=b"bytes")  # type: ignore[call-arg]
    consumer.read_many("10")  # type: ignore[arg-type]
    consumer.read(1, 2)  # type: ignore[call-arg]
    consumer.recv()  # type: ignore[attr-defined]


def consume_arrays(consumer: Consumer, producer: Producer) -> None:
    batch = consumer.drain().freeze()
    assert_type(batch, RecordBatch)
    batch.as_array([("key", "<u8")])
    assert_type(producer.write_packed(batch.as_array("<u8")), int)
