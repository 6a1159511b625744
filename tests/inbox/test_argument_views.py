"""The arguments of frames in a batch: one call makes the views of many events, and the same views as single calls."""

from __future__ import annotations

import mmap

import pytest

from kevy_ring import CorruptRing, Frame, SnapshotChunk, replica_inbox_pair


def scribble(name: str, found: bytes, written: bytes) -> None:
    """Overwrite the only place in the ring's memory that holds ``found``, as a dishonest producer would."""
    with open(f"/dev/shm/{name}", "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        at = memory.find(found)
        memory[at : at + len(found)] = written


@pytest.mark.parametrize("count", [1, 4, 5, 64, 65, 200])
def test_each_event_has_its_own_arguments_in_batches_of_any_size(count: int) -> None:
    sender, receiver = replica_inbox_pair(1 << 16)
    with sender, receiver:
        sent = [[b"%d" % i] * (1 + i % 3) + [b""] for i in range(count)]
        sender.send_many([Frame(i, argv) for i, argv in enumerate(sent)])
        with receiver.drain() as batch:
            for i in [*range(count), *reversed(range(count))]:
                assert batch.argv(i) == sent[i]
            assert [event.argv for event in batch if isinstance(event, Frame)] == sent


def test_events_that_are_no_frames_have_no_arguments() -> None:
    sender, receiver = replica_inbox_pair(1 << 16)
    with sender, receiver:
        sender.send_many([SnapshotChunk(b"1234"), Frame(1, [b"PING"])])
        with receiver.drain() as batch:
            assert batch.argv(0) == []
            assert batch.argv(1) == [b"PING"]


@pytest.mark.parametrize("others", [0, 3, 20])
@pytest.mark.parametrize("ends", [(4, 3, 9), (10, 2, 9)])
def test_end_positions_that_do_not_rise_are_refused_and_name_the_record(others: int, ends: tuple[int, ...]) -> None:
    sender, receiver = replica_inbox_pair(1 << 16)
    with sender, receiver:
        argv = [b"ARG", b"xyz", b"uvw"]
        sender.send_many([Frame(i, [b"PING"]) for i in range(others)])
        sender.send(Frame(7, argv))
        honest, wrong = (b"".join(end.to_bytes(4, "little") for end in each) for each in ((3, 6, 9), ends))
        scribble(sender.name, honest + b"ARGxyz", wrong + b"ARGxyz")
        batch = receiver.drain()
        position = int(batch.starts[others]) - 16
        with pytest.raises(CorruptRing) as refused:
            batch.argv(others)
        assert (refused.value.position, refused.value.field) == (position, "end position of an argument")
        batch.release()
