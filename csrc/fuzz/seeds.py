"""Writes inputs to begin from, one directory for each harness: what an honest other side does, and recorded streams."""

from __future__ import annotations

import hashlib
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

RECORDED = Path(__file__).resolve().parent.parent.parent / "tests" / "data"
FRAME, CHUNK, BEGIN, END = 4, 2, 1, 3
NO_CHANGES = bytes(16)


def record(kind: int, payload: bytes, offset: int = 0, flags: int = 0) -> bytes:
    """A record as csrc/ring/layout.h has it."""
    return struct.pack("<IBBHQ", len(payload), kind, flags, 0, offset) + payload + bytes(-len(payload) % 8)


def frame(offset: int, *argv: bytes) -> bytes:
    """A record of a frame."""
    ends = [sum(map(len, argv[: i + 1])) for i in range(len(argv))]
    return record(FRAME, struct.pack(f"<{1 + len(argv)}I", len(argv), *ends) + b"".join(argv), offset)


def drains() -> Iterator[bytes]:
    """Inputs of drain.c."""
    small = b"".join(frame(n, b"SET", b"k%d" % n, b"v" * n) for n in range(9))
    alike = frame(1, b"INCR", b"counter") * 12
    others = record(BEGIN, b"") + record(CHUNK, b"x" * 100) + record(END, b"", 7) + record(0, b"bytes")
    parts = record(CHUNK, b"y" * 50, 0, 3) + record(CHUNK, b"z" * 50, 0, 1) + record(CHUNK, b"", 0, 5)
    changes = struct.pack("<BHBBHBBHBBHB", 0, 24, 255, 1, 20, 1, 2, 16, 2, 3, 0, 128)
    for ring in (small, alike, others, parts, small + others + alike + parts):
        for index, place, rows, most in ((0, 0, 255, 0), (509, 2, 3, 100), (511, 1, 0, 0)):
            control = struct.pack("<HBHBH", index, place, len(ring), rows, most)
            yield control + NO_CHANGES + ring
            yield control + changes + ring
        yield struct.pack("<HBHBH", 0, 0, len(ring) + 4, 9, 0) + struct.pack("<BHB", 4, 64, 0) * 4 + ring
    yield from late_lies(small)


def late_lies(ring: bytes) -> Iterator[bytes]:
    """The last end position of the first frame was right when it was drained, and is not when it is used."""
    last_end = 16 + 4 + 2 * 4
    for moment in (0, 1, 2):
        for byte, value in ((0, 1), (0, 255), (2, 1)):
            control = struct.pack("<HBHBH", 0, 0, len(ring), 255, 0)
            yield control + struct.pack("<BHB", moment, last_end + byte, value) + bytes([255, 0, 0, 0] * 3) + ring


def scans() -> Iterator[bytes]:
    """Inputs of scan.c."""
    command = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n"
    odd = b"*1\r\n$4\r\nPING\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n"
    long = b"*2\r\n$3\r\nGET\r\n$300\r\n" + b"l" * 300 + b"\r\n"
    cuts = struct.pack("<6H", 1, 10, 20, 40, 50, 99)
    for padded in (0, 2):
        yield bytes([padded, 0, 5]) + cuts + command * 4 + long + odd
        yield bytes([padded, 4, 0]) + cuts + long * 3
        live = b"".join(b"*2\r\n:%d\r\n" % n + (command if n % 3 else long) for n in range(98, 104))
        yield bytes([padded | 1, 3, 9]) + cuts + live
        yield bytes([padded | 1, 0, 9]) + cuts + live
    for behind in (0, 20, 80, 290):  # less than the one argument's length, which is looked at before it is believed
        yield bytes([0, 0, 0]) + bytes(12) + b"*1\r\n$300\r\n" + b"s" * behind
        yield bytes([1, 0, 0]) + bytes(12) + b"*2\r\n:0\r\n*1\r\n$999\r\n" + b"s" * (behind + 60)
    recorded = (RECORDED / "kevy-1.22-frames.bin").read_bytes()
    yield bytes([3, 0, 0]) + cuts + recorded[recorded.index(b"*2\r\n:0\r\n") :][:2000]
    live = (RECORDED / "redis-6.2-diskless.bin").read_bytes()
    yield bytes([2, 0, 0]) + cuts + live[-1500:]


def calls() -> Iterator[bytes]:
    """Inputs of produce.c: every call, alone and one after the other, with an honest and a lying consumer."""
    one = [bytes([which, 2, 100, 0, 2, 50, 0, 1, 200, 0]) for which in range(18)]
    heads = [bytes([14, 2]), bytes([14, 1, 64, 0]), bytes([14, 0]) + bytes([255] * 8), bytes([14, 3, 7, 0])]
    for start in (struct.pack("<HB", 0, 0), struct.pack("<HB", 500, 2)):
        for call in one:
            yield start + call
        for head in heads:
            yield start + b"".join(call + head for call in one) * 2
        yield start + bytes([8, 0, 30, 1, 0, 12, 14, 2]) * 8


def rdbs() -> Iterator[bytes]:
    """Inputs of rdb.c: small files of real servers, whole and with parts."""
    cuts = struct.pack("<6H", 5, 40, 200, 500, 900, 1500)
    for path in sorted(RECORDED.glob("rdb/*.rdb")):
        yield b"\0" + cuts + path.read_bytes()
        yield b"\2" + cuts + path.read_bytes()


def segments() -> Iterator[bytes]:
    """Inputs of attach.c."""
    ring = b"".join(frame(n, b"SET", b"k%d" % n, b"v" * n) for n in range(6))
    tail = struct.pack("<HQ", 128, len(ring))
    for doing in (0, 1, 2, 3, 11, 19, 35, 63 & ~4):
        yield bytes([0, doing, 1]) + tail + ring
    for size in range(1, 8):
        yield bytes([size, 3, 0])
        yield bytes([size, 3, 1]) + struct.pack("<HQ", 16, 8192) + ring
    for where, value in (
        (0, 0),
        (0, 1),
        (8, 1),
        (8, 3),
        (12, 4096),
        (16, 1 << 50),
        (36, 1),
        (2944, 0x2D_2A_27_24_80_FF_41_41),
        (640, 1 << 30),
        (640, 7),
        (768, 0x3FFFFFFF),
    ):
        yield bytes([0, 3, 2]) + tail + struct.pack("<HQ", where, value) + ring
    yield bytes([0, 7, 0])


def main(directory: Path) -> None:
    """Every input under its digest, as libFuzzer names them."""
    harnesses = {"drain": drains(), "scan": scans(), "produce": calls(), "attach": segments(), "rdb": rdbs()}
    for name, inputs in harnesses.items():
        (directory / name).mkdir(parents=True, exist_ok=True)
        for each in inputs:
            (directory / name / hashlib.sha1(each).hexdigest()).write_bytes(each)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
