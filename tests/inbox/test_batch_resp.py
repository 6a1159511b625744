"""One call of the core makes a batch of frames ready to forward as RESP."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kevy_ring import CorruptRing, Frame, SnapshotBegin, SnapshotChunk, replica_inbox_pair
from kevy_ring.replica.protocols.resp import encode_command


@given(st.lists(st.lists(st.binary(max_size=120), min_size=1, max_size=12), max_size=12))
@settings(max_examples=80, deadline=None)
def test_the_frames_of_a_batch_come_out_as_the_commands_they_are(commands: list[list[bytes]]) -> None:
    sender, receiver = replica_inbox_pair(1 << 16)
    with receiver, sender:
        sender.send_many([SnapshotBegin(), *(Frame(i, argv) for i, argv in enumerate(commands)), SnapshotChunk(b"x")])
        with receiver.drain() as batch:
            wire = batch.resp()
        assert b"".join(wire) == b"".join(encode_command(*argv) for argv in commands)


def test_an_empty_batch_and_one_without_frames_give_nothing() -> None:
    sender, receiver = replica_inbox_pair(1 << 16)
    with receiver, sender:
        assert receiver.drain().resp() == []
        sender.send(SnapshotBegin())
        with receiver.drain() as batch:
            assert batch.resp() == []


def test_an_event_larger_than_the_ring_is_forwarded_too() -> None:
    sender, receiver = replica_inbox_pair(4096)
    with receiver, sender:
        big = os.urandom(100_000)
        sender.send(Frame(1, [b"SET", b"k", big]))
        while not len(batch := receiver.drain()):
            receiver.wait(1)
        with batch:
            assert b"".join(batch.resp()) == encode_command(b"SET", b"k", big)


def test_end_positions_that_do_not_rise_are_found_before_anything_is_made() -> None:
    sender, receiver = replica_inbox_pair(1 << 16)
    with receiver, sender:
        sender.send_many([Frame(1, [b"ab", b"cd"]), Frame(2, [b"ab", b"cd"])])
        page = os.sysconf("SC_PAGE_SIZE")
        with open(f"/dev/shm/{sender.name}", "r+b") as file:
            file.seek(page + 32 + 16 + 4)  # the first end position of the second frame
            file.write((200).to_bytes(4, "little"))
        batch = receiver.drain()
        for use in (batch.resp, lambda: batch.argv(1)):
            with pytest.raises(CorruptRing) as corrupt:
                use()
            assert corrupt.value.position == 32
        batch.release()
