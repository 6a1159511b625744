"""A shard behind a filter that gets a stream through a real ring."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence

from draining import drain
from kevy_ring import Frame, replica_inbox_pair
from kevy_ring.shard import KeyFilter, Shard, filtered
from kevy_ring.shard.sinks.sink import Sink

Command = tuple[int, list[bytes]]


def at_offsets(stream: Iterable[Sequence[bytes]], first: int = 1, step: int = 10) -> list[Command]:
    """The commands, each with an offset."""
    return [(first + step * number, list(argv)) for number, argv in enumerate(stream)]


def apply_stream(sink: Sink, chosen: KeyFilter, stream: Sequence[Command], *, batch: int = 64) -> Shard:
    """Send the commands through a ring into ``sink`` behind the filter. Returns the shard, which is closed."""
    sender, receiver = replica_inbox_pair(capacity=1 << 20)
    try:
        shard = Shard(receiver, filtered(sink, chosen), max_events=batch)
        for start in range(0, len(stream), 500):
            sender.send_many([Frame(offset, argv) for offset, argv in stream[start : start + 500]])
            drain(shard)
        with contextlib.closing(shard):
            return shard
    finally:
        receiver.close()
        sender.close(timeout=0)


class FrameList:
    """A sink that keeps the frames that it gets. ``whole``: how many came in whole batches."""

    durable = False

    def __init__(self) -> None:
        self.frames: list[Command] = []

    def apply(self, offset: int, argv: Sequence[object]) -> None:
        self.frames.append((offset, [bytes(item) for item in argv]))  # type: ignore[call-overload]

    def load(self, snapshot: Iterable[object]) -> None:
        self.frames = []

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


def passed_singly(chosen: KeyFilter, stream: Sequence[Command]) -> list[Command]:
    """What passes, frame by frame and without columns."""
    sink = FrameList()
    one = filtered(sink, chosen)
    for offset, argv in stream:
        one.apply(offset, argv)
    return sink.frames


def offsets_rise(frames: Iterable[Command]) -> Iterator[bool]:
    """For each frame whether its offset is above the one before."""
    before = -1
    for offset, _ in frames:
        yield offset > before
        before = offset
