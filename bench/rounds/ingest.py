"""A round of ``ingest``, driven from Python: the wire is in memory and is taken in pieces, as a runner receives it.

The wire is used again and again. The other process takes a digest of every byte.
"""

from __future__ import annotations

import multiprocessing
import random
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from bench.measure import WrongAnswer
from bench.processes import Report, answer, at_the_start, now_ns, time_two

FIRST_OFFSET = 1_000_000
_PIECE_BYTES = 256 << 10
_WIRE_FRAMES = 20_000
_CAPACITY_BYTES = 8 << 20
_DRAIN_EVENTS = 8192


@dataclass(frozen=True)
class Wire:
    """Kevy frames with offsets from :data:`FIRST_OFFSET` on. ``argvs`` holds what they decode to."""

    received: bytes
    argvs: list[list[bytes]]

    @property
    def frames(self) -> int:
        """How many frames the bytes hold."""
        return len(self.argvs)


def make_wire(frames: int, seed: int = 1) -> Wire:
    """SET with a 16-byte key and a 64-byte value; the same bytes for the same numbers."""
    chance = random.Random(seed)
    noise = chance.randbytes(64 + frames)
    argvs = [[b"SET", b"key:%012d" % chance.randrange(1_000_000), noise[i : i + 64]] for i in range(frames)]
    form = b"*2\r\n:%d\r\n*3\r\n$3\r\n%b\r\n$16\r\n%b\r\n$64\r\n%b\r\n"
    return Wire(b"".join(form % (FIRST_OFFSET + i, *argv) for i, argv in enumerate(argvs)), argvs)


def _same(got: int, wanted: int) -> None:
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

        self.receiver: Any
        self.sender, self.receiver = replica_inbox_pair(_CAPACITY_BYTES)

    def send(self, wire: Wire, passes: int, connection: Connection) -> Report:
        """Scan every piece straight into the ring."""
        from kevy_ring.inbox import FrameScanner

        sender, scanner, view = self.sender, FrameScanner("kevy"), memoryview(wire.received)
        sender.receiver_gone  # noqa: B018  takes the role before the time begins
        at_the_start(connection)
        began = now_ns()
        for _ in range(passes):
            at, offset = 0, FIRST_OFFSET
            while at < len(view):
                run = sender.scan_frames(scanner, view[at : at + _PIECE_BYTES], offset)
                at += run.consumed
                offset += run.frames
        _same(int(sender.flush(60.0)), 1)
        return {"at": began}

    def receive(self, wire: Wire, passes: int, connection: Connection, is_checked: bool) -> Report:
        """Add up all words of each batch in the ring, in place."""
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
                if is_checked:
                    _compare(batch.offsets, (event.argv for event in batch), wire, seen)
                seen += len(batch)
        ended = now_ns()
        _same(digest % 2**64, self._expected(wire) * passes % 2**64)
        return {"at": ended}

    def _expected(self, wire: Wire) -> int:
        import numpy as np

        from kevy_ring.events import Frame
        from kevy_ring.inbox import encode_record

        records = (encode_record(Frame(FIRST_OFFSET + i, argv)) for i, argv in enumerate(wire.argvs))
        return int(np.frombuffer(b"".join(records), "<u8").sum())


class Hiredis:
    """The parser of redis-py on one side, a ``multiprocessing.Queue`` between, one object for each piece."""

    def __init__(self) -> None:
        self.frames: Any = multiprocessing.get_context("fork").Queue()

    def send(self, wire: Wire, passes: int, connection: Connection) -> Report:
        """Parse every piece and put its frames as one list."""
        import hiredis

        view = memoryview(wire.received)
        at_the_start(connection)
        began = now_ns()
        for _ in range(passes):
            reader = hiredis.Reader()
            for at in range(0, len(view), _PIECE_BYTES):
                reader.feed(view[at : at + _PIECE_BYTES])
                found = []
                while (frame := reader.gets()) is not False:
                    found.append(frame)
                self.frames.put(found)
        self.frames.close()
        self.frames.join_thread()
        return {"at": began}

    def receive(self, wire: Wire, passes: int, connection: Connection, is_checked: bool) -> Report:
        """A checksum of every argument."""
        total, digest, seen = wire.frames * passes, 0, 0
        at_the_start(connection)
        while seen < total:
            found = self.frames.get(timeout=60.0)
            for _, argv in found:
                for argument in argv:
                    digest += zlib.crc32(argument)
            if is_checked:
                _compare((offset for offset, _ in found), (argv for _, argv in found), wire, seen)
            seen += len(found)
        ended = now_ns()
        _same(digest, sum(zlib.crc32(argument) for argv in wire.argvs for argument in argv) * passes)
        return {"at": ended}


def run(tag: str, way: str, frames: int, is_checked: bool = False) -> Report:
    """Both sides; seconds from the first byte scanned to the last one digested."""
    wire = make_wire(min(frames, _WIRE_FRAMES))
    passes = max(1, frames // wire.frames)
    path: Any = {"ours": Ours, "hiredis": Hiredis}[way]()
    seconds, _, _ = time_two(lambda c: path.receive(wire, passes, c, is_checked), lambda c: path.send(wire, passes, c))
    return answer(seconds, wire.frames * passes, {"wire_bytes_per_s": len(wire.received) * passes / seconds})
