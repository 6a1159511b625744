"""Damaged streams for each protocol and for the snapshot reader: seeded, with a budget.

An input is a stream and the places where it is cut. No input may raise anything but the allowed errors. The same
stream with other cuts, or with the native scanner where a feed uses it, must give the same. An input with a new kind
of outcome is damaged further. docs/fuzzing.md describes a long run.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from kevy_ring import replica_inbox_pair
from kevy_ring.errors import RemoteProtocolError, SnapshotError, UpstreamRefused
from kevy_ring.inbox import FrameScanner, ScanEnd
from kevy_ring.replica.protocol import ReplicationProtocol
from kevy_ring.replica.snapshots.entry import Entry, Stream, StreamGroup
from kevy_ring.replica.snapshots.kevysnap import SnapshotReader
from kevy_ring.replica.snapshots.kevysnap_writer import write_snapshot
from places import DATA
from transcripts import (
    MARK,
    RECORDED,
    REPLICATION_ID,
    SEEN,
    SEEN_OF_BROKEN,
    SMALL,
    Outcome,
    Transcript,
    converse,
    pieces_at,
    plain,
)

KEPT = DATA / "fuzz"
STREAM_MAX = 3000  # bytes of one input: recordings are longer, but their beginning shows as much
POOL_MAX = 3000
NOW_MS = 1_700_000_000_000

# The parts of an error's text that differ between errors of one kind: quotes of the stream, and numbers.
WORDS_OF_ITS_OWN = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|0x\w+|\d+""")

NUMBERS = [b"0", b"1", b"2", b"-1", b"00", b"+1", b"255", b"65536", b"65537", b"1048577", b"536870913", b"1073741825"]
NUMBERS += [b"9223372036854775807", b"9223372036854775808", b"18446744073709551615", b"9" * 30]
TOKENS = [b"\r\n", b"\n", b"\r", b"$", b"*", b":", b"+", b"-", b" ", b"\x00", b"\xff", b"+PONG\r\n", b"+OK\r\n", MARK]
TOKENS += [b"+ACK 5 0\r\n", b"+ACK 0\r\n", b"+SNAPSHOT\r\n", b"+SNAPSHOT_END 0\r\n", b"+PING 0 1\r\n", b"-ERR no\r\n"]
TOKENS += [b"+CONTINUE\r\n", b"+FULLRESYNC %s 1\r\n" % REPLICATION_ID.encode(), b"$EOF:%s\r\n" % MARK, b"*2\r\n:0\r\n"]
TOKENS += [
    b"*1\r\n$4\r\nPING\r\n",
    b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n",
    b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n",
]
TOKENS += [b"KEVYSNAP\x04", *(bytes([op, ttl]) for op in range(8) for ttl in (0, 1)), b"\xff" * 4, b"\x00" * 8]


@dataclass
class Target:
    """A parser that takes a stream in pieces. ``outcome``: all that a user can see of a stream and its cuts."""

    name: str
    streams: list[bytes]
    outcome: Callable[[bytes, list[int]], Any]
    kind: Callable[[Any], Any]
    other: Callable[[bytes, list[int]], Any] | None = None
    executions: int = 0
    pool: list[bytes] = field(default_factory=list)
    seen: set[Any] = field(default_factory=set)


class Finding(AssertionError):
    """An input with a forbidden outcome: ``stream`` and ``cuts``."""

    def __init__(self, target: str, stream: bytes, cuts: list[int], what: str) -> None:
        super().__init__(f"{target}: {what}\nstream {stream.hex()}\ncuts {cuts}")
        self.stream, self.cuts = stream, cuts


# ------------------------------------------------------------------------------------------------------ protocols


def scanned(protocol: ReplicationProtocol, pieces: list[bytes], ends: tuple[Any, Any]) -> Outcome:
    """Like ``converse``, but with the native scanner for all that it can take, as in a feed."""
    sender, receiver = ends
    scanner = FrameScanner("redis" if protocol.name == "redis" else "kevy")
    events: list[tuple[Any, ...]] = []
    sent, kept = protocol.data_to_send(), b""
    for piece in pieces:
        kept += piece
        while kept and protocol.error is None:
            if protocol.frame_run_ready:
                run = sender.scan_frames(scanner, memoryview(kept), protocol.next_offset)
                if run.frames:
                    protocol.frames_scanned(run.consumed, run.frames, run.last_offset)
                    kept = kept[run.consumed :]
                while (event := receiver.try_recv()) is not None:
                    events.append(plain(event))
                if run.end == ScanEnd.NEED:
                    break
            try:
                new, taken = protocol.receive_to_frame_run(kept)
            except (RemoteProtocolError, UpstreamRefused):
                break
            scanner.reset()
            events += map(plain, new)
            kept = kept[taken:]
            if protocol.error is None:
                sent += protocol.data_to_send()
    if protocol.error is None and kept:  # the protocol already has the bytes of the scanner's incomplete frame
        with contextlib.suppress(RemoteProtocolError, UpstreamRefused):
            events += map(plain, protocol.receive_data(kept))
    broken = protocol.error
    return Outcome(
        events=events,
        error=None if broken is None else (type(broken).__name__, str(broken)),
        sent=b"" if broken is not None else sent,
        seen={name: getattr(protocol, name) for name in (SEEN if broken is None else SEEN_OF_BROKEN)},
    )


def kind_of_conversation(outcome: Outcome) -> Any:
    """The kind of an outcome: its parts without numbers and without the upstream's text."""
    error = outcome.error and (outcome.error[0], WORDS_OF_ITS_OWN.sub("#", outcome.error[1])[:80])
    if error and error[0] == "UpstreamRefused":
        error = error[0], ""
    events = [event[0] for event in outcome.events]
    shape = tuple(sorted({name: len(bin(events.count(name))) for name in events}.items()))
    return error, outcome.seen["state"], outcome.seen["synced"], outcome.seen["getack_pending"], shape


def of_transcript(transcript: Transcript, ends: tuple[Any, Any]) -> Target:
    """One recorded or written conversation, and its damaged variants."""

    def outcome(stream: bytes, cuts: list[int]) -> Outcome:
        return converse(transcript.open(), pieces_at(stream, cuts))

    def other(stream: bytes, cuts: list[int]) -> Outcome:
        return scanned(transcript.open(), pieces_at(stream, cuts), ends)

    name = transcript.name.replace(" ", "-")
    return Target(name, [transcript.wire[:STREAM_MAX]], outcome, kind_of_conversation, other)


# ------------------------------------------------------------------------------------------------------ snapshots


def read_snapshot(stream: bytes, cuts: list[int]) -> tuple[str, Any]:
    """All entries, or the error and its place. The number of entries before an error depends on the pieces."""
    reader = SnapshotReader(NOW_MS)
    entries: list[Entry] = []
    try:
        for piece in pieces_at(stream, cuts):
            entries += reader.feed(piece)
        reader.close()
    except SnapshotError as error:
        return "error", (error.detail, error.at)
    return "entries", repr(entries)  # compare texts, because a NaN is not equal to itself


def kind_of_snapshot(outcome: tuple[str, Any]) -> Any:
    what, detail = outcome
    if what == "error":
        return what, re.sub(r"\d+", "#", detail[0])
    return what, len(bin(len(detail))), tuple(sorted(set(re.findall(r"type='(\w+)'", detail))))


def snapshots() -> Iterator[bytes]:
    """One of each version, with every type."""
    group = StreamGroup(b"g", (1, 2), [(b"c", 3)], [(1, 1, b"c", 4, 5)])
    values: list[tuple[str, Any]] = [("string", b"v"), ("hash", {b"f": b"v", b"": b""}), ("list", [b"a", b"b"])]
    values += [("set", {b"m"}), ("zset", {b"m": 1.5, b"n": float("-inf")})]
    for version in (2, 3, 4):
        stream = Stream((5, 0), (0, 0), 9, [(1, 1, [(b"f", b"v")]), (5, 0, [])], [group] if version == 4 else [])
        entries = [
            Entry(b"k%d" % n, kind, value, NOW_MS + n if n % 2 else None)
            for n, (kind, value) in enumerate([*values, ("stream", stream)])
        ]
        yield b"".join(write_snapshot(entries, version=version, now_ms=NOW_MS))


# -------------------------------------------------------------------------------------------------------- damaging


def damage(stream: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """``stream`` with one to four kinds of damage."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randrange(len(stream) + 1)
        length = chance.choice((0, 1, 1, 2, 4, 16, 100))
        match chance.randrange(9):
            case 0:
                stream = stream[:at] + stream[at + length :]
            case 1:
                stream = stream[:at] + chance.choice(TOKENS) + stream[at + length * chance.randrange(2) :]
            case 2:
                stream = stream[:at] + stream[at : at + length] * 2 + stream[at + length :]
            case 3 if at < len(stream):
                stream = stream[:at] + bytes([stream[at] ^ 1 << chance.randrange(8)]) + stream[at + 1 :]
            case 4:
                stream = stream[:at] + chance.randbytes(length) + stream[at + length :]
            case 5 | 6 if found := list(re.finditer(rb"\d+", stream)):
                number = chance.choice(found)
                near = b"%d" % max(0, int(number[0][:20]) + chance.choice((-1, 1)))
                stream = stream[: number.start()] + chance.choice([near, *NUMBERS]) + stream[number.end() :]
            case 7:
                other = chance.choice(others)
                stream = stream[:at] + other[chance.randrange(len(other) + 1) :]
            case _:
                stream = stream[:at]
    return stream[: 2 * STREAM_MAX]


def cut(stream: bytes, chance: random.Random) -> list[int]:
    if chance.random() < 0.1 and len(stream) < 300:
        return list(range(len(stream)))
    return [chance.randrange(len(stream) + 1) for _ in range(chance.randrange(8))]


def execute(target: Target, stream: bytes, cuts: list[int]) -> Any:
    """One input: whole, cut, and (for a protocol) scanned. Raises Finding."""
    target.executions += 1
    try:
        whole = target.outcome(stream, [])
        pieces = target.outcome(stream, cuts)
        other = target.other(stream, cuts) if target.other else whole
    except Exception as error:
        raise Finding(target.name, stream, cuts, f"{type(error).__name__}: {error}") from error
    if not whole == pieces == other:
        raise Finding(target.name, stream, cuts, f"\nwhole   {whole}\npieces  {pieces}\nscanned {other}")
    return whole


def fuzz(target: Target, runs: int, chance: random.Random) -> None:
    """Try ``runs`` damaged inputs. Inputs with a new kind of outcome join the pool."""
    target.pool = target.pool or list(target.streams)
    for _ in range(runs):
        stream = damage(chance.choice(target.pool), target.streams, chance)
        kind = target.kind(execute(target, stream, cut(stream, chance)))
        if kind not in target.seen and len(target.pool) < POOL_MAX:
            target.seen.add(kind)
            target.pool.append(stream)


def kept(target: str) -> list[tuple[bytes, list[int]]]:
    """The recorded inputs of a target. A line is a stream in hexadecimal digits, and its cuts."""
    found = [KEPT / f"{target}.txt", KEPT / f"regressions-{target}.txt"]
    lines = [line for path in found if path.exists() for line in path.read_text(encoding="ascii").splitlines()]
    fields = [line.partition(" ") for line in lines]
    return [(bytes.fromhex(stream), [int(at) for at in cuts.split()]) for stream, _, cuts in fields]


def keep(target: Target, chance: random.Random, most: int) -> None:
    """Add the shortest inputs of the new kinds to the recorded ones."""
    chosen = sorted(target.pool[len(target.streams) :], key=len)[:most]
    lines = {f"{stream.hex()} {' '.join(map(str, sorted(cut(stream, chance))))}".rstrip() for stream in chosen}
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{target.name}.txt").write_text("".join(f"{line}\n" for line in sorted(lines)), encoding="ascii")


def targets(ends: tuple[Any, Any]) -> list[Target]:
    """Every conversation that is recorded or written by hand, and the snapshot reader."""
    snapshot = Target("kevysnap", list(snapshots()), read_snapshot, kind_of_snapshot)
    return [*(of_transcript(transcript, ends) for transcript in SMALL + RECORDED), snapshot]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="inputs for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", action="append", help="only this one; may be given more than once")
    parser.add_argument("--keep", type=int, default=0, metavar="N", help="keep N inputs of each target")
    options = parser.parse_args(arguments)
    sender, receiver = replica_inbox_pair(1 << 16)
    with sender, receiver:
        for target in targets((sender, receiver)):
            if options.target and target.name not in options.target:
                continue
            chance = random.Random(f"{target.name} {options.seed}")
            began = time.monotonic()
            try:
                fuzz(target, options.runs, chance)
            except Finding as finding:
                print(finding)
                return 1
            took = time.monotonic() - began
            print(
                f"{target.name}: {target.executions} executions in {took:.0f} s, {target.executions / took:.0f}/s, "
                f"{len(target.seen)} kinds of outcome",
                flush=True,
            )
            if options.keep:
                keep(target, chance, options.keep)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
