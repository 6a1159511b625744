"""One round of ``ingest``, driven from Python: ``python -m bench.ingest_round ours|hiredis FRAMES [check]``.

The wire lies in memory and is taken in pieces as a runner receives it, again and again; the other process has a digest
of every byte.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
import zlib
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection
from typing import Any

from bench.kevy_wire import FIRST_OFFSET, Wire, make_wire
from bench.measured import WrongAnswer
from bench.pair_process import at_the_start, dismiss, fork_role, gather, main

PIECE_BYTES = 256 << 10
WIRE_FRAMES = 20_000
_CAPACITY = 8 << 20
_DRAIN_EVENTS = 8192


def _wrong(got: int, wanted: int) -> None:
    if got != wanted:
        raise WrongAnswer(f"{got} instead of {wanted}")


def _compare(offsets: Iterable[int], argvs: Iterable[Sequence[Any]], wire: Wire, seen: int) -> None:
    for i, (offset, argv) in enumerate(zip(offsets, argvs, strict=True), seen):
        at = i % wire.frames
        if offset != FIRST_OFFSET + at or [bytes(argument) for argument in argv] != wire.argvs[at]:
            raise WrongAnswer(f"frame {i} is another one")


class Ours:
    """``scan_frames`` on one side; ``drain`` and a sum over ``batch.buffer`` on the other."""

    def __init__(self) -> None:
        from kevy_ring import replica_inbox_pair

        self.sender, self.receiver = replica_inbox_pair(_CAPACITY)

    def produce(self, wire: Wire, passes: int, connection: Connection) -> dict[str, Any]:
        """Scan every piece straight into the ring."""
        from kevy_ring.inbox import FrameScanner

        sender, scanner, view = self.sender, FrameScanner("kevy"), memoryview(wire.received)
        sender.receiver_gone  # noqa: B018  the role is taken before the time begins
        at_the_start(connection)
        began = time.monotonic_ns()
        for _ in range(passes):
            at, offset = 0, FIRST_OFFSET
            while at < len(view):
                run = sender.scan_frames(scanner, view[at : at + PIECE_BYTES], offset)
                at += run.consumed
                offset += run.frames
        _wrong(int(sender.flush(60.0)), 1)
        return {"at": began}

    def consume(self, wire: Wire, passes: int, connection: Connection, check: bool) -> dict[str, Any]:
        """Add up all words of each batch, as they lie in the ring."""
        import numpy as np

        receiver, total, digest, seen = self.receiver, wire.frames * passes, 0, 0
        receiver.try_recv()
        at_the_start(connection)
        while seen < total:
            with receiver.drain(_DRAIN_EVENTS) as batch:
                if not len(batch):
                    receiver.wait(10.0)
                    continue
                words = np.frombuffer(batch.buffer, "<u8")
                digest += int(words.sum())
                del words
                if check:
                    _compare(batch.offsets, (event.argv for event in batch), wire, seen)
                seen += len(batch)
        ended = time.monotonic_ns()
        _wrong(digest % 2**64, self._expected(wire, passes))
        return {"at": ended}

    def _expected(self, wire: Wire, passes: int) -> int:
        import numpy as np

        from kevy_ring.events import Frame
        from kevy_ring.inbox import encode_record

        records = (encode_record(Frame(FIRST_OFFSET + i, argv)) for i, argv in enumerate(wire.argvs))
        return int(np.frombuffer(b"".join(records), "<u8").sum()) * passes % 2**64


class Hiredis:
    """The parser of redis-py on one side, a ``multiprocessing.Queue`` between, one object for each piece."""

    def __init__(self) -> None:
        self.frames: Any = multiprocessing.get_context("fork").Queue()

    def produce(self, wire: Wire, passes: int, connection: Connection) -> dict[str, Any]:
        """Parse every piece and put its frames as one list."""
        import hiredis

        view = memoryview(wire.received)
        at_the_start(connection)
        began = time.monotonic_ns()
        for _ in range(passes):
            reader = hiredis.Reader()
            for at in range(0, len(view), PIECE_BYTES):
                reader.feed(view[at : at + PIECE_BYTES])
                found = []
                while (frame := reader.gets()) is not False:
                    found.append(frame)
                self.frames.put(found)
        self.frames.close()
        self.frames.join_thread()
        return {"at": began}

    def consume(self, wire: Wire, passes: int, connection: Connection, check: bool) -> dict[str, Any]:
        """A checksum of every argument."""
        total, digest, seen = wire.frames * passes, 0, 0
        at_the_start(connection)
        while seen < total:
            found = self.frames.get(timeout=60.0)
            for _, argv in found:
                for argument in argv:
                    digest += zlib.crc32(argument)
            if check:
                _compare((offset for offset, _ in found), (argv for _, argv in found), wire, seen)
            seen += len(found)
        ended = time.monotonic_ns()
        _wrong(digest, sum(zlib.crc32(argument) for argv in wire.argvs for argument in argv) * passes)
        return {"at": ended}


_WAYS = {"ours": Ours, "hiredis": Hiredis}


def run(way: str, frames: int, check: bool) -> dict[str, Any]:
    """Both sides in fresh processes; seconds from the first byte scanned to the last one digested."""
    wire = make_wire(min(frames, WIRE_FRAMES))
    passes = max(1, frames // wire.frames)
    path: Any = _WAYS[way]()
    sides = [
        fork_role(lambda c: path.consume(wire, passes, c, check)),
        fork_role(lambda c: path.produce(wire, passes, c)),
    ]
    gather(sides, "ready")
    for side in sides:
        side.send("go")
    taken, sent = gather(sides, "report")
    dismiss(sides)
    seconds = (taken["at"] - sent["at"]) / 1e9
    wire_bytes = len(wire.received) * passes
    return {"seconds": seconds, "work": wire.frames * passes, "figures": {"wire_bytes_per_s": wire_bytes / seconds}}


if __name__ == "__main__":
    sys.exit(main(lambda: run(sys.argv[1], int(sys.argv[2]), "check" in sys.argv[3:])))
