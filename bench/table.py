"""The table of cases: who is compared with whom, in which sizes, and what is wanted."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from bench.measure import Contender, Goal, Metric, RoundFailed
from bench.processes import native_program, timed_program, timed_round
from bench.rivals import transport_class

NATIVE_DEADLINE_S = PYTHON_DEADLINE_S = 120.0
PAIR_DEADLINE_S = 30.0  # a rival that hangs must not take the time of the others
LATENCY_DEADLINE_S = 60.0
MIB = 1 << 20
POOL_RECORDS = 4096  # distinct records that a timed round sends again and again
ROUND_S, QUICK_ROUND_S = 0.4, 0.03  # what a round of a rival at its pace should take

Found = Iterator[Contender]


@dataclass(frozen=True)
class Case:
    """One case: ``contenders(quick)`` yields its contenders, variant by variant."""

    name: str
    title: str
    what: str
    metrics: tuple[Metric, ...]
    goals: tuple[Goal, ...]
    contenders: Callable[[bool], Found]


@dataclass(frozen=True)
class Pair:
    """A transport of ``bench.rivals`` in one of its ways. ``pace``: records per second that it does about."""

    rival: str
    way: str
    pace: float
    name: str = ""
    note: str = ""
    capacity_bytes: int = MIB  # the same for every rival: ring and records stay in the second-level cache

    def contender(
        self, quick: bool, variant: str, size: int, *, pool: int = POOL_RECORDS, unit: int = 1, is_whole: bool = False
    ) -> Contender:
        """A contender that sends records of one size. ``unit``: what the work counts for each of them."""
        count = self.pace * (QUICK_ROUND_S if quick else ROUND_S)
        pool = max(1, min(pool, int(count)))
        checked = (3_000 if quick else 20_000) // (10 if size > 4096 else 1)
        same = {"rival": self.rival, "way": self.way, "record_bytes": size, "capacity_bytes": self.capacity_bytes}
        same |= {"unit": unit, "whole_bytes": size if is_whole else 0}
        timed = {**same, "records": pool, "repeats": max(1, round(count / pool)), "is_checked": False}
        checked_job = {**same, "records": checked, "repeats": 1, "is_checked": True}
        return _rival(self, variant, "pair", timed=timed, checked=checked_job, deadline_s=PAIR_DEADLINE_S)


@dataclass(frozen=True)
class Latency:
    """A transport whose records go there and back. ``spins``: it polls instead of waiting as the rival waits."""

    rival: str
    spins: bool = False
    name: str = ""
    note: str = ""

    def contender(self, quick: bool, variant: str, hogs: int) -> Contender:
        """A contender with that many other processes that compute beside it."""
        job: dict[str, Any] = {"rival": self.rival, "spins": self.spins, "hogs": hogs}
        job |= {
            "round_trips_s": 0.03 if quick else 0.3,
            "window_s": 0.05 if quick else 0.5,
            "wakes": 5 if quick else 60,
        }
        if self.spins or hogs:
            job |= {"window_s": 0.0, "wakes": 0}
        return _rival(self, variant, "latency", timed=job, checked=None, deadline_s=LATENCY_DEADLINE_S)


def _rival(
    row: Pair | Latency, variant: str, kind: str, *, timed: dict[str, Any], checked: Any, deadline_s: float
) -> Contender:
    transport = transport_class(row.rival)
    return Contender(
        row.name or transport.name,
        variant,
        partial(timed_round, kind, timed, deadline_s),
        partial(timed_round, kind, checked, deadline_s) if checked else None,
        is_ours=transport.distribution == "kevy-ring",
        version=transport.version(),
        missing=transport.why_missing(),
        note=row.note or transport.note,
    )


def _native(
    name: str, variant: str, program: str, timed: tuple[Any, ...], checked: Any = None, **rest: Any
) -> Contender:
    """A contender that is a native program: the arguments of a round, and those of the check (default: the same)."""
    try:
        path = native_program(program)
    except RoundFailed as failed:
        return Contender(name, variant, missing=str(failed), **rest)
    run = partial(timed_program, (path, *timed), NATIVE_DEADLINE_S)
    return Contender(name, variant, run, partial(timed_program, (path, *(checked or timed)), NATIVE_DEADLINE_S), **rest)


def _python(
    name: str, variant: str, kind: str, timed: dict[str, Any], checked: dict[str, Any], *, needs: str = "", **rest: Any
) -> Contender:
    """A contender that is a module of ``bench.rounds``: the arguments of a round, and what the check has instead."""
    if needs and importlib.util.find_spec(needs) is None:
        return Contender(name, variant, missing=f"{needs} is not installed", **rest)
    run = partial(timed_round, kind, timed, PYTHON_DEADLINE_S)
    return Contender(name, variant, run, partial(timed_round, kind, {**timed, **checked}, PYTHON_DEADLINE_S), **rest)


RUST = "Rust mpsc"
_RUST_COUNT = {"events": 1_000_000, "ingest": 1_000_000, "snapshot": 16384, "stall": 5_000_000}


def _rust(case: str, variant: str, quick: bool) -> Contender:
    """The original's design as a rival: ``std::sync::mpsc`` between two threads of one Rust program."""
    count = max(1000, _RUST_COUNT[case] // 20) if quick else _RUST_COUNT[case]
    checked = (case, min(count, 200_000), "check")
    note = "two threads, owned Vec<Vec<u8>>"
    return _native(RUST, variant, "rust_mpsc", (case, count), checked, note=note, version=_rust_version())


@cache
def _rust_version() -> str:
    if shutil.which("rustc") is None:
        return ""
    said = subprocess.run(["rustc", "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
    return " ".join(said.split()[:2])


# core
_C, _PYTHON = "kevy-ring (C drives)", "kevy-ring (Python drives)"
_RING = "kevy-ring"
# Bytes of a record: records of a call, of a timed round and of a round of --quick, of the check.
_CORE_SIZES = {
    16: (256, 20_000_000, 1_000_000, 200_000),
    88: (256, 10_000_000, 500_000, 100_000),
    1024: (64, 2_000_000, 100_000, 20_000),
    65536: (1, 40_000, 2_000, 500),
}
_CORE_RIVALS = {
    "core_ck": ("ck_ring", "by value, one call a record: it has no batches"),
    "core_boost": ("boost spsc_queue", "arrays pushed, consumed in place"),
    "core_rwq": ("readerwriterqueue", "two threads of one process: it cannot cross processes"),
}
_CORE_NAMES = tuple(name for name, _ in _CORE_RIVALS.values())


def _core_variant(size: int, look: str) -> str:
    shown = f"{size} B" if size < 65536 else "64 KiB"
    return shown if look == "read" else f"{shown}, touched"


def _core(quick: bool) -> Found:
    for look in ("read", "touch"):
        for size, (batch, full, few, checked) in _CORE_SIZES.items():
            count, variant = few if quick else full, _core_variant(size, look)
            timed, verified = (size, count, MIB, batch, look), (size, checked, MIB, batch, "verify")
            note = "records of any length: 16 bytes of header with each"
            yield _native(_RING, variant, "core_kevy", timed, verified, is_ours=True, note=note)
            for program, (name, rival_note) in _CORE_RIVALS.items():
                yield _native(name, variant, program, timed, verified, note=rival_note)
            copied = (size, count, MIB, MIB, "records")
            yield _native("memcpy", variant, "memcpy", copied, is_bound=True, note="one thread, nobody reads it")


CORE = Case(
    "core",
    "the ring alone, C on both sides, beside C and C++ rings",
    "records from one process to another, C on both sides: each rival holds byte arrays of that size; "
    "the consumer adds up every 8-byte word, or (touched) the first and the last of each record",
    (Metric("rate", "records/s"), Metric("payload_bytes_per_s", "bytes/s")),
    (
        *(
            Goal(_core_variant(size, look), _RING, ratio=1.0, rivals=_CORE_NAMES, text=">= 1.0 x the best ring")
            for look in ("read", "touch")
            for size in _CORE_SIZES
        ),
        Goal("64 KiB, touched", _RING, ratio=0.7, rivals=("memcpy",), text=">= 0.7 x memcpy of the same bytes"),
    ),
    _core,
)

# bytes-single, bytes-each
_TAKEN = "kevy-ring try_write"
_SINGLES = (
    Pair("cloudtoid", "single", 3e6),
    Pair("membridge", "single", 2.5e6),
    Pair("kickmsg", "single", 2.5e6),
    Pair("zeroq", "single", 2e6),
    Pair("subetha_frames", "single", 2e6),
    Pair("tachyon", "single", 1e6),
    Pair("zmq", "single", 5e5),
    Pair("socket_pair", "single", 4e5),
    Pair("iceoryx2", "single", 5e5),
    Pair("standard_pipe", "single", 3e5),
    Pair("fifo", "single", 2e5),
    Pair("standard_queue", "single", 1.4e5),
)
_TAKES_LISTS = ("tachyon", "fifo")  # whose fastest receiver takes many records for each call
_SINGLE_SIZES = (16, 88, 1024)


def _bytes_single(quick: bool) -> Found:
    for size in _SINGLE_SIZES:
        rows: tuple[Pair, ...] = (Pair("ours", "single", 3e6, _TAKEN), *_SINGLES)
        if size <= 64:
            rows += (Pair("subetha", "single", 3e6),)
        for row in rows:
            yield row.contender(quick, f"{size} B", size)


BYTES_SINGLE = Case(
    "bytes-single",
    "one bytes object for each call of the sender; the receiver takes batches",
    "one bytes object for each call of the sender. The receiver takes all records that are there with one call, if the "
    "contender has such a call: kevy-ring (`read_many`), tachyon, faster-fifo and subetha have one. "
    "With one record for each call on both sides, see `bytes-each`",
    (Metric("rate", "records/s"),),
    tuple(Goal(f"{size} B", _TAKEN, ratio=1.0, text=">= 1.0 x the best") for size in _SINGLE_SIZES),
    _bytes_single,
)

_EACH = "kevy-ring try_write, read"
_EACH_SIZE = 64


def _bytes_each(quick: bool) -> Found:
    rows = (
        Pair("ours", "each", 3e6, _EACH, "try_write / read, which waits"),
        Pair("ours", "polled", 3e6, "kevy-ring try_write, try_read", "try_write / try_read in a loop"),
        Pair("cloudtoid", "each", 3e6, "cloudtoid-interprocess receive", "try_send in a loop / receive, which waits"),
        *(row for row in _SINGLES if row.rival not in _TAKES_LISTS),
        Pair("subetha", "each", 3e6, note="SpscRing.push / pop in a loop; at most 64 B"),
    )
    for row in rows:
        yield row.contender(quick, f"{_EACH_SIZE} B", _EACH_SIZE)


BYTES_EACH = Case(
    "bytes-each",
    "one bytes object for each call on both sides",
    "one bytes object for each call of the sender and one for each call of the receiver: nobody takes batches",
    (Metric("rate", "records/s"),),
    (Goal(f"{_EACH_SIZE} B", _EACH, ratio=1.0, text=">= 1.0 x the best"),),
    _bytes_each,
)

# bytes-batch
_LIST, _PACKED, _SUBETHA_PACKED = (
    "kevy-ring write_many, read_many",
    "kevy-ring write_packed, columns",
    "subetha-ipc push_buffer",
)
_BATCHES = (
    Pair("ours", "batch", 5e6, _LIST, "write_many / read_many"),
    Pair("ours", "views", 5e6, "kevy-ring write_many, drain", "each record a memoryview into the ring"),
    Pair("ours", "packed", 2e7, _PACKED, "write_packed / drain, numpy columns, no object for a record"),
    Pair("cloudtoid", "batch", 4e6, "cloudtoid-interprocess try_send_batch", "try_send_batch / try_receive"),
    Pair("socket_pair", "batch", 2.5e6, "socketpair 64 KiB writes", "SOCK_STREAM, lengths before the records"),
    Pair("fifo", "batch", 6e5, "faster-fifo put_many", "put_many / get_many"),
    Pair("zmq", "batch", 1.5e6, "pyzmq multipart", "send_multipart / recv_multipart"),
    Pair("tachyon", "batch", 1e6, "tachyon-ipc, one flush", "acquire_tx, a flush for 512 / drain_batch"),
)
_BATCHES_OF_64 = (
    Pair("subetha", "batch", 5e6, "subetha-ipc push_many", "push_many / pop_many; pads to 64 B"),
    Pair("subetha", "packed", 1.5e7, _SUBETHA_PACKED, "push_buffer / pop_buffer; one length, pads to 64 B"),
)
_VARIABLE = tuple(row.name for row in _BATCHES if row.rival != "ours")


def _bytes_batch(quick: bool) -> Found:
    for size in (16, 88):
        for row in (*_BATCHES, *(_BATCHES_OF_64 if size <= 64 else ())):
            yield row.contender(quick, f"{size} B", size)


BYTES_BATCH = Case(
    "bytes-batch",
    "many records for each call",
    "512 records for each call of the sender: a list of bytes, or one buffer and the lengths; 1024 for the receiver's",
    (Metric("rate", "records/s"),),
    (
        Goal("16 B", _LIST, ratio=2.0, rivals=_VARIABLE, text=">= 2 x the best of variable length"),
        Goal("88 B", _LIST, ratio=2.0, rivals=_VARIABLE, text=">= 2 x the best of variable length"),
        Goal("16 B", _PACKED, ratio=1.0, rivals=(_SUBETHA_PACKED,), text="packed: >= 1.0 x subetha"),
        Goal("88 B", _PACKED, ratio=5.0, text="packed: >= 5 x the best"),
    ),
    _bytes_batch,
)

# chunks
_CHUNK_BYTES = 1 << 16
_RESERVED = "kevy-ring try_reserve, drain"
_CHUNKS = (
    Pair("ours", "chunks", 1.5e5, _RESERVED, "try_reserve, commit, publish / drain, in place"),
    Pair(
        "ours", "written_chunks", 1.5e5, "kevy-ring try_write, drain", "try_write of a bytes object / drain, in place"
    ),
    # Its receiver gives space back late: with less than this a sender waits without end.
    Pair("tachyon", "chunks", 1.5e5, note="acquire_tx / acquire_rx, in place", capacity_bytes=16 * MIB),
    Pair("kickmsg", "chunks", 1.5e5, note="allocate / try_receive_view, in place"),
    Pair("iceoryx2", "chunks", 1e5, note="loan_slice_uninit / receive, in place"),
    Pair("zmq", "chunks", 3e4, note="send and recv with copy=False"),
    Pair("socket_pair", "chunks", 4e4, note="SOCK_STREAM, recv_into one buffer"),
    Pair("standard_pipe", "chunks", 3e4, note="send_bytes / recv_bytes_into"),
    Pair("standard_queue", "chunks", 8e3, note="put / get"),
)
_CHUNK_LOOKS = {"64 KiB, a byte a page read": False, "64 KiB, all bytes read": True}


def _chunks(quick: bool) -> Found:
    for variant, is_whole in _CHUNK_LOOKS.items():
        for row in _CHUNKS:
            yield row.contender(quick, variant, _CHUNK_BYTES, pool=16, unit=_CHUNK_BYTES, is_whole=is_whole)


CHUNKS = Case(
    "chunks",
    "64 KiB chunks, written and read in place",
    "64 KiB copied once into the place that the receiver reads; it reads one byte a page, or copies all of it out",
    (Metric("rate", "bytes/s"),),
    tuple(Goal(variant, _RESERVED, ratio=1.1, text=">= 1.1 x the best") for variant in _CHUNK_LOOKS),
    _chunks,
)

# events
_FRAME, _VALUE_BYTES = "SET, 16 B key, 64 B value", 64
_QUEUE = "multiprocessing.Queue"
_EVENTS = (
    Pair(
        "events_ours",
        "owned",
        1.5e6,
        "kevy-ring send_many, recv_many",
        "send_many / recv_many, frames that own their memory",
    ),
    Pair("events_ours", "batch", 8e5, "kevy-ring send_many, drain", "send_many / drain, frames that lie in the ring"),
    Pair("events_ours", "single", 1e6, "kevy-ring send, recv_many", "send / recv_many"),
    Pair("events_ours", "each", 8e5, "kevy-ring send, recv", "send / recv, frames that own their memory"),
    Pair("events_cloudtoid", "batch", 6e5),
    Pair("events_queue", "single", 8e4),
)
_OWNED, _VIEWED, _SINGLE, _ONE_BY_ONE = (row.name for row in _EVENTS[:4])


def _events(quick: bool) -> Found:
    for row in _EVENTS:
        yield row.contender(quick, _FRAME, _VALUE_BYTES)
    yield _rust("events", _FRAME, quick)


EVENTS = Case(
    "events",
    "frames as objects on both sides",
    "Frame(offset, [SET, 16-byte key, 64-byte value]): made, sent, taken and its arguments looked at",
    (Metric("rate", "frames/s"),),
    (
        Goal(_FRAME, _OWNED, ratio=0.8, rivals=(RUST,), text="send_many: >= 0.8 x Rust"),
        Goal(_FRAME, _VIEWED, ratio=0.8, rivals=(RUST,), text="send_many, views into the ring: >= 0.8 x Rust"),
        Goal(_FRAME, _SINGLE, ratio=5.0, rivals=(_QUEUE,), text="one by one: >= 5 x multiprocessing.Queue"),
        Goal(
            _FRAME,
            _ONE_BY_ONE,
            ratio=5.0,
            rivals=(_QUEUE,),
            text="one by one on both sides: >= 5 x multiprocessing.Queue",
        ),
    ),
    _events,
)


# ingest
def _ingest(quick: bool) -> Found:
    frames, few = (200_000, 20_000) if quick else (8_000_000, 200_000)
    timed, checked = (frames, 8 * MIB, 256 << 10), (few, 8 * MIB, 256 << 10, "check")
    counted = {"frames": few // 4, "is_checked": True}
    yield _native(_C, "frames", "ingest_kevy", timed, checked, is_ours=True)
    yield _python(_PYTHON, "frames", "ingest", {"way": "ours", "frames": frames}, counted, is_ours=True)
    yield _rust("ingest", "frames", quick)
    yield _python("hiredis + mp.Queue", "frames", "ingest", {"way": "hiredis", "frames": few}, counted, needs="hiredis")


INGEST = Case(
    "ingest",
    "from the wire to a shard",
    "kevy frames as bytes in memory (SET, 16-byte key, 64-byte value), taken in pieces of 256 KiB, to columns and "
    "a digest of every byte on the other side",
    (Metric("rate", "frames/s"), Metric("wire_bytes_per_s", "bytes/s")),
    (
        Goal("frames", _C, ratio=12.0, rivals=(RUST,), text=">= 12 x Rust"),
        Goal("frames", _PYTHON, ratio=12.0, rivals=(RUST,), text=">= 12 x Rust, driven from Python"),
    ),
    _ingest,
)


# snapshot
def _snapshot(quick: bool) -> Found:
    chunks, few = 1024 if quick else 16384, 512
    copied = (_CHUNK_BYTES, chunks, MIB, 64 * MIB, "bytes")
    # Driven from C the ring has 1 MiB: chunks are read before they leave the cache.
    yield _native(_C, "64 KiB", "snapshot_kevy", (chunks, MIB), (few, MIB, "check"), is_ours=True)
    yield _native("memcpy", "64 KiB", "memcpy", copied, is_bound=True, note="one thread, no ring")
    checked = {"chunks": few, "is_checked": True}
    yield _python(_PYTHON, "64 KiB", "snapshot", {"chunks": chunks}, checked, is_ours=True)
    yield _rust("snapshot", "64 KiB", quick)


SNAPSHOT = Case(
    "snapshot",
    "chunks of a snapshot into a shard's buffer",
    "chunks of 64 KiB into the buffer of a shard, which holds 64 MiB, was touched before, and is filled anew when "
    "it is full; beside them memcpy into such a buffer, from a megabyte that lies in the cache",
    (Metric("rate", "bytes/s"),),
    (
        Goal("64 KiB", _C, ratio=2.0, rivals=(RUST,), text=">= 2 x Rust"),
        Goal("64 KiB", _PYTHON, ratio=2.0, rivals=(RUST,), text=">= 2 x Rust, driven from Python"),
    ),
    _snapshot,
)

# tcp
_BARE = "recv_into, thrown away"
_SOURCES = {"prepared": ("prepared bytes", 500_000), "embedded": ("embedded primary", 200_000)}
_TCP_WAYS = {"ours": _RING, "bare": _BARE, "touching": "recv_into, one byte of 4 KiB"}


def _tcp(quick: bool) -> Found:
    checked = {"frames": 20_000, "is_checked": True}
    for source, (variant, frames) in _SOURCES.items():
        for way, name in _TCP_WAYS.items():
            job = {"way": way, "source": source, "frames": 20_000 if quick else frames}
            ours = way == "ours"
            yield _python(name, variant, "tcp", job, checked, needs="redis", is_ours=ours, is_bound=not ours)


TCP = Case(
    "tcp",
    "the whole path: upstream, loopback, runner, ring, shard",
    "live kevy frames over loopback to a null sink that takes a CRC-32 over every byte (three processes), "
    "beside one process that only receives; the upstream sends prepared bytes, or is the embedded primary, which is "
    "slower than either",
    (Metric("rate", "bytes/s"), Metric("frames_per_s", "frames/s")),
    tuple(
        Goal(variant, _RING, ratio=0.8, rivals=(_BARE,), text=">= 0.8 x the bare loop")
        for variant, _ in _SOURCES.values()
    ),
    _tcp,
)

# latency
_SPIN, _SHORT, _SLEEP = "pure spin", "short spin, then sleep", "sleep"
_WAITING = {
    _SPIN: ("ours", "cloudtoid", "kickmsg", "membridge", "zeroq", "subetha_frames", "iceoryx2"),
    _SHORT: ("ours", "tachyon"),
    _SLEEP: (
        *("ours_asleep", "os_pipe", "socket_pair", "standard_pipe", "cloudtoid", "kickmsg"),
        *("iceoryx2_events", "zeroq", "fifo", "zmq", "standard_queue"),
    ),
}


def _latency(quick: bool) -> Found:
    for hogs, before in ((0, ""), (2, "every core busy with other work: ")):
        for waiting, rivals in _WAITING.items():
            spins = waiting == _SPIN
            if hogs and spins:
                continue  # a spinning pair that shares its cores measures the scheduler's time slice and nothing else
            for rival in rivals:
                yield Latency(rival, spins).contender(quick, before + waiting, hogs)
            if not hogs and waiting != _SHORT:
                name = "C, spinning (bound)" if spins else "C, futex (bound)"
                timed = (30 if quick else 300, *(("spin",) if spins else ()))
                yield _native(name, waiting, "futex_floor", timed, is_bound=True, note="no record at all, one word")


LATENCY = Case(
    "latency",
    "how long a record takes, and what waiting for it costs",
    "half a round trip of 88 bytes, each side on its own core; wake: one way to a receiver that sleeps",
    (
        *(Metric(name, "us", "lower") for name in ("p50", "p99", "p99.9", "wake")),
        *(Metric(name, "%", "lower") for name in ("idle CPU", "trickle CPU")),
    ),
    (
        Goal(_SPIN, _RING, metric="p50", limit=0.6, text="p50 <= 0.6 us"),
        Goal(_SPIN, _RING, metric="p99.9", ratio=1.0, text="p99.9 <= the best rival's"),
        Goal(_SHORT, _RING, metric="p50", ratio=1.0, rivals=("tachyon-ipc",), text="p50 <= 1.0 x tachyon's"),
        Goal(_SHORT, _RING, metric="p99.9", ratio=1.0, text="p99.9 <= the best rival's"),
        Goal(_SHORT, _RING, metric="idle CPU", limit=0.5, text="idle CPU <= 0.5 %"),
        Goal(_SHORT, _RING, metric="trickle CPU", limit=0.5, text="CPU with an event every 4 ms <= 0.5 %"),
        Goal(_SLEEP, _RING, metric="p50", ratio=1 / 1.05, rivals=("os.pipe",), text="p50 <= 1.05 x os.pipe's"),
        Goal(_SLEEP, _RING, metric="p99.9", ratio=1.0, text="p99.9 <= the best rival's"),
    ),
    _latency,
)

# stall
_NATIVE, _OBJECTS = "5 million, native", "Python objects"
_MOST_BYTES = 1.3 * 120  # a record of this frame has 120 bytes: header, ends of the arguments, arguments, padding


def _stall(quick: bool) -> Found:
    events = 100_000 if quick else 5_000_000
    objects, queued = events // 10, min(events // 10, 100_000)
    yield _native(_C, _NATIVE, "stall_kevy", (events, 8 * MIB), is_ours=True)
    yield _rust("stall", _NATIVE, quick)
    ours, queue = {"way": "ours", "events": objects}, {"way": "queue", "events": queued}
    yield _python(_PYTHON, _OBJECTS, "stall", ours, {"events": 20_000}, is_ours=True)
    yield _python("mp.Queue", _OBJECTS, "stall", queue, {"events": 10_000}, note="fewer frames")


STALL = Case(
    "stall",
    "a receiver that stands still while everything is sent",
    "the receiver stands still while all frames are sent, each send timed by itself; then it takes them all",
    (
        *(Metric(name, "us", "lower") for name in ("p50_us", "p99_9_us", "max_us")),
        Metric("bytes_per_event", "bytes", "lower"),
        Metric("drained_per_s", "frames/s"),
        Metric("rate", "frames/s"),
    ),
    tuple(
        Goal(variant, ours, metric=metric, limit=limit, text=text)
        for variant, ours, by in ((_NATIVE, _C, ""), (_OBJECTS, _PYTHON, ", from Python"))
        for metric, limit, text in (
            ("p50_us", 2.0, f"send p50 <= 2 us{by}"),
            ("p99_9_us", 200.0, f"send p99.9 <= 200 us{by}"),
            ("bytes_per_event", _MOST_BYTES, "memory <= 1.3 x the encoded records"),
        )
    ),
    _stall,
)


# scale
def _rings(count: int) -> str:
    return f"{count} ring{'s' if count > 1 else ''}"


def _scale(quick: bool) -> Found:
    """The same records through 1 to 256 rings; it is its own rival."""
    records = 400_000 if quick else 6_000_000
    for rings in (1, 2, 8, 64, 256):
        yield _native(_rings(rings), "all", "scale_kevy", (rings, records, 256 << 10), is_ours=rings > 2)


SCALE = Case(
    "scale",
    "many rings between one pair of processes",
    "1 to 256 rings of 256 KiB in one pair of processes, 88-byte records to each in turn: all rings together",
    (
        Metric("rate", "records/s"),
        Metric("beyond_capacity_bytes_per_ring", "bytes", "lower"),
        Metric("wakes_per_million", "wakes", "lower"),
        Metric("idle_cpu_percent", "%", "lower"),
        *(Metric(name, "us", "lower") for name in ("create_us", "attach_us")),
    ),
    (
        Goal("all", _rings(64), ratio=0.85, rivals=(_rings(2),), text="64 rings within 15 % of 2"),
        Goal("all", _rings(8), ratio=0.85, rivals=(_rings(2),), text="8 rings within 15 % of 2"),
        Goal(
            "all", _rings(256), metric="idle_cpu_percent", limit=0.5, text="idle cost flat: under 0.5 % with 256 rings"
        ),
    ),
    _scale,
)

# As in the documentation: from the core outwards.
_IN_ORDER = (
    *(CORE, BYTES_SINGLE, BYTES_EACH, BYTES_BATCH, CHUNKS, EVENTS),
    *(INGEST, SNAPSHOT, TCP, LATENCY, STALL, SCALE),
)
CASES = {case.name: case for case in _IN_ORDER}
