"""Objects over a ring, as type checkers see them. Checked, never run."""

from __future__ import annotations

from typing import Any, assert_type

from kevy_ring.objects import (
    ArrayCodec,
    Codec,
    MsgpackCodec,
    ObjectBatch,
    ObjectReceiver,
    ObjectSender,
    PickleCodec,
    object_pair,
)
from kevy_ring.ring.batch_stream import BatchStream


class OwnCodec:
    def encode(self, obj: Any) -> bytes:
        return bytes(obj)

    def decode(self, record: bytes | memoryview, copies: bool) -> bytes:
        return bytes(record)


def make_and_find() -> None:
    sender, receiver = object_pair(1 << 16, "a-name", codec=ArrayCodec())
    assert_type(sender, ObjectSender)
    assert_type(receiver, ObjectReceiver)
    codecs: list[Codec] = [ArrayCodec(), PickleCodec(), MsgpackCodec(int), OwnCodec()]
    assert_type(ObjectSender.attach("a-name", timeout=1.0, codec=codecs[0]), ObjectSender)
    assert_type(ObjectReceiver.attach("a-name", spin_us=0.0), ObjectReceiver)


def send(sender: ObjectSender) -> None:
    assert_type(sender.send({"a": 1}, timeout=0.5), bool)
    assert_type(sender.try_send(None), bool)
    assert_type(sender.send_many([1, "two"], timeout=None), int)
    with sender as same:
        assert_type(same, ObjectSender)


def receive(receiver: ObjectReceiver) -> None:
    assert_type(receiver.recv(1.0, default="nothing"), Any)
    assert_type(receiver.try_recv(), Any)
    assert_type(receiver.recv_many(max_objects=10), list[Any])
    with receiver.drain(max_records=10, max_bytes=100) as batch:
        assert_type(batch, ObjectBatch)
        assert_type(batch[0], Any)
        assert_type(batch.owned(0), Any)
        assert_type(batch.copies(), list[Any])
        for obj in batch:
            assert_type(obj, Any)


async def in_tasks(sender: ObjectSender, receiver: ObjectReceiver) -> None:
    assert_type(await sender.send_async(1, 0.5), bool)
    assert_type(await receiver.recv_async(1.0), Any)
    assert_type(receiver.batches(), BatchStream[ObjectBatch])
    async for obj in receiver:
        assert_type(obj, Any)
