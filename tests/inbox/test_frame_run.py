"""The native scanner finds the same frames as the protocol modules, for every split, and stops at unknown bytes."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kevy_ring import Frame, ReplicaInboxReceiver, ReplicaInboxSender, SendError, replica_inbox_pair
from kevy_ring.inbox import FrameScanner, ScanEnd
from kevy_ring.replica.protocols.resp import encode_command
from places import DATA

Pair = tuple[ReplicaInboxSender, ReplicaInboxReceiver]


def kevy(offset: int, *argv: bytes) -> bytes:
    return b"*2\r\n:%d\r\n%s" % (offset, encode_command(*argv))


def take_all(receiver: ReplicaInboxReceiver) -> list[Frame]:
    events = []
    while (event := receiver.try_recv()) is not None:
        events.append(event)
    return events


def feed(pair: Pair, scanner: FrameScanner, pieces: list[bytes], offset: int, *, redis: bool = False) -> list[Frame]:
    """Scan the pieces as a feed does: unfinished bytes are put in front of the next piece."""
    sender, receiver = pair
    kept, events = b"", []
    for piece in pieces:
        kept += piece
        run = sender.scan_frames(scanner, kept, offset)
        assert run.end == ScanEnd.NEED
        kept = kept[run.consumed :]
        offset = offset + run.consumed if redis else offset + run.frames
        events += take_all(receiver)
    assert kept == b""
    return events


def test_the_recorded_kevy_stream_is_the_recorded_frames_at_every_split(pair: Pair) -> None:
    wire = (DATA / "kevy-1.22-frames.bin").read_bytes()
    stream = wire[wire.index(b"\r\n") + 2 :]
    expected = [
        Frame(offset, [bytes.fromhex(argument) for argument in argv])
        for offset, argv in json.loads((DATA / "kevy-1.22-frames.json").read_text())["frames"]
    ]
    assert feed(pair, FrameScanner("kevy"), [stream], 0) == expected
    for size in (1, 7, 100, 4096):
        pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
        assert feed(pair, FrameScanner("kevy"), pieces, 0) == expected


@given(
    commands=st.lists(st.lists(st.binary(max_size=30), min_size=1, max_size=6), min_size=1, max_size=8),
    cuts=st.lists(st.integers(0, 400), max_size=8),
)
@settings(max_examples=150, deadline=None)
def test_any_commands_survive_any_split_in_both_dialects(commands: list[list[bytes]], cuts: list[int]) -> None:
    sender, receiver = replica_inbox_pair(1 << 16)
    with receiver, sender:
        commands = [argv for argv in commands if argv[0].upper() not in (b"PING", b"SELECT", b"REPLCONF")]
        for dialect in ("kevy", "redis"):
            wires = [
                kevy(40 + i, *argv) if dialect == "kevy" else encode_command(*argv) for i, argv in enumerate(commands)
            ]
            stream = b"".join(wires)
            ends = [len(b"".join(wires[: i + 1])) for i in range(len(wires))]
            at = sorted({cut for cut in cuts if cut < len(stream)} | {0, len(stream)})
            pieces = [stream[a:b] for a, b in pairwise(at)]
            start = 40 if dialect == "kevy" else 1000
            expected = [Frame(40 + i if dialect == "kevy" else 1000 + ends[i], argv) for i, argv in enumerate(commands)]
            got = feed((sender, receiver), FrameScanner(dialect), pieces, start, redis=dialect == "redis")
            assert got == expected


@pytest.mark.parametrize(
    "wire",
    [
        b"+PING 1 2\r\n",
        b"*0\r\n",
        b"*3\r\n:1\r\n",
        b"*2\r\n:01\r\n*1\r\n$1\r\nx\r\n",
        b"*2\r\n:-1\r\n*1\r\n$1\r\nx\r\n",
        b"*2\r\n:1\r\n*0\r\n",
        b"*2\r\n:1\r\n*1048577\r\n",
        b"*2\r\n:1\r\n*1\r\n$-1\r\n",
        b"*2\r\n:1\r\n*1\r\n$536870913\r\n",
        b"*2\r\n:1\r\n*1\r\n$01\r\nx\r\n",
        b"*2\r\n:1\r\n*1\r\n$1\r\nxyz",
        b"*2\r\n:1\r\n*1\r\n$1\rx",
        b"*2\r\n:1\r\n*1\r\n$99999999999999999999\r\n",
        b"*2\r\n:99999999999999999999\r\n",
        b"\n",
    ],
)
def test_what_is_no_plain_frame_is_left_where_it_stands(pair: Pair, wire: bytes) -> None:
    sender, receiver = pair
    good = kevy(0, b"SET", b"k", b"v")
    run = sender.scan_frames(FrameScanner("kevy"), good + wire, 0)
    assert (run.consumed, run.frames, run.last_offset, run.end) == (len(good), 1, 0, ScanEnd.OTHER)
    assert len(good) <= run.stopped_at <= len(good) + len(wire)
    assert take_all(receiver) == [Frame(0, [b"SET", b"k", b"v"])]


def test_a_gap_is_left_to_the_protocol(pair: Pair) -> None:
    sender, receiver = pair
    first = kevy(5, b"A")
    run = sender.scan_frames(FrameScanner("kevy"), first + kevy(7, b"B"), 5)
    assert (run.consumed, run.frames, run.end) == (len(first), 1, ScanEnd.GAP)
    assert len(take_all(receiver)) == 1


@pytest.mark.parametrize("name", [b"PING", b"ping", b"SELECT", b"Select", b"REPLCONF"])
def test_redis_commands_that_are_the_protocols_own_are_left_to_it(pair: Pair, name: bytes) -> None:
    sender, receiver = pair
    first = encode_command(b"SET", b"k", b"v")
    run = sender.scan_frames(FrameScanner("redis"), first + encode_command(name, b"0") + first, 100)
    assert (run.consumed, run.frames, run.last_offset, run.end) == (len(first), 1, 100 + len(first), ScanEnd.OTHER)
    assert take_all(receiver) == [Frame(100 + len(first), [b"SET", b"k", b"v"])]


def test_a_run_that_does_not_fit_goes_on_in_the_overflow_in_order() -> None:
    sender, receiver = replica_inbox_pair(4096)
    with receiver, sender:
        stream = b"".join(kevy(i, b"SET", b"k%d" % i, b"v" * (i % 300)) for i in range(2000))
        run = sender.scan_frames(FrameScanner("kevy"), stream, 0)
        assert (run.frames, run.consumed, run.last_offset) == (2000, len(stream), 1999)
        assert sender.overflow.events > 0
        for i in range(2000):
            assert receiver.recv(timeout=60) == Frame(i, [b"SET", b"k%d" % i, b"v" * (i % 300)])


def test_a_frame_of_many_arguments_is_read_once_however_it_arrives(pair: Pair) -> None:
    sender, receiver = pair
    wire = kevy(0, *[b"%d" % i for i in range(3000)])
    scanner = FrameScanner("kevy")
    stops = [sender.scan_frames(scanner, wire[:cut], 0).stopped_at for cut in range(1000, len(wire), 1000)]
    assert stops == sorted(stops)
    run = sender.scan_frames(scanner, wire, 0)
    assert run.frames == 1
    assert receiver.recv(1) == Frame(0, [b"%d" % i for i in range(3000)])


def test_a_scan_to_a_receiver_that_is_gone_fails(pair: Pair) -> None:
    sender, receiver = pair
    receiver.close()
    with pytest.raises(SendError):
        sender.scan_frames(FrameScanner("kevy"), kevy(0, b"A"), 0)
