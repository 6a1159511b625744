"""The table of cases: the contenders, the sizes and the goals."""
# fmt: off

from __future__ import annotations

from dataclasses import replace

from bench.contenders import MIB, RUST, Latency, Pair, native, python, rust
from bench.measure import Case, Found, Goal, Metric

RECORDS = Metric("rate", "records/s")
FRAMES = Metric("rate", "frames/s")
OBJECTS = Metric("rate", "objects/s")
BYTES = Metric("rate", "bytes/s")
_RING, _C, _PYTHON = "kevy-ring", "kevy-ring (C drives)", "kevy-ring (Python drives)"

# Bytes of a record: records of a call, of a timed round and of a round of --quick, of the check.
_CORE_SIZES = {
    16: (256, 20_000_000, 1_000_000, 200_000),
    88: (256, 10_000_000, 500_000, 100_000),
    1024: (64, 2_000_000, 100_000, 20_000),
    65536: (1, 40_000, 2_000, 500),
}
_CORE_RIVALS = (
    ("core_ck", "ck_ring", "by value, one call a record: it has no batches"),
    ("core_boost", "boost spsc_queue", "arrays pushed, consumed in place"),
    ("core_rwq", "readerwriterqueue", "two threads of one process: it cannot cross processes"),
)
_CORE_NAMES = tuple(name for _, name, _ in _CORE_RIVALS)
_CORE_VARIANTS = {
    (f"{size} B" if size < 65536 else "64 KiB") + suffix: (size, look)
    for look, suffix in (("read", ""), ("touch", ", touched"))
    for size in _CORE_SIZES
}


def _core(quick: bool) -> Found:
    for variant, (size, look) in _CORE_VARIANTS.items():
        batch, full, few, checked = _CORE_SIZES[size]
        count = few if quick else full
        timed, verified = (size, count, MIB, batch, look), (size, checked, MIB, batch, "verify")
        note = "records of any length: 16 bytes of header with each"
        yield native(_RING, variant, "core_kevy", timed, verified, is_ours=True, note=note)
        for program, name, rival_note in _CORE_RIVALS:
            yield native(name, variant, program, timed, verified, note=rival_note)
        copied = (size, count, MIB, MIB, "records")
        yield native("memcpy", variant, "memcpy", copied, is_bound=True, note="one thread, no reader")


_TAKEN, _EACH = "kevy-ring try_write", "kevy-ring try_write, read"
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
_EACHES = (
    Pair("ours", "each", 3e6, _EACH, "try_write / read, which waits"),
    Pair("ours", "polled", 3e6, "kevy-ring try_write, try_read", "try_write / try_read in a loop"),
    Pair("cloudtoid", "each", 3e6, "cloudtoid-interprocess receive", "try_send in a loop / receive, which waits"),
    Pair("subetha", "each", 3e6, note="SpscRing.push / pop in a loop; at most 64 B"),
    *(row for row in _SINGLES if row.rival not in ("tachyon", "fifo")),  # the receivers of these two take lists
)


def _bytes_single(quick: bool) -> Found:
    for size in (16, 88, 1024):
        places = (Pair("subetha", "single", 3e6),) if size <= 64 else ()
        for row in (Pair("ours", "single", 3e6, _TAKEN), *_SINGLES, *places):
            yield row.contender(quick, f"{size} B", size)


_LIST, _PACKED = "kevy-ring write_many, read_many", "kevy-ring write_packed, columns"
_SUBETHA_PACKED = "subetha-ipc push_buffer"
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


_CHUNK_BYTES = 1 << 16
_RESERVED = "kevy-ring try_reserve, drain"
_CHUNKS = (
    Pair("ours", "chunks", 1.5e5, _RESERVED, "try_reserve, commit, publish / drain, in place"),
    Pair("ours", "written_chunks", 1.5e5, "kevy-ring try_write, drain", "try_write of bytes / drain, in place"),
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


_FRAME, _QUEUE = "SET, 16 B key, 64 B value", "multiprocessing.Queue"
_OWNED, _VIEWED = "kevy-ring send_many, recv_many", "kevy-ring send_many, drain"
_SENT, _ONE_BY_ONE = "kevy-ring send, recv_many", "kevy-ring send, recv"
_EVENTS = (
    Pair("events_ours", "owned", 1.5e6, _OWNED, "send_many / recv_many, frames that own their memory"),
    Pair("events_ours", "batch", 8e5, _VIEWED, "send_many / drain, frames in the ring"),
    Pair("events_ours", "single", 1e6, _SENT, "send / recv_many"),
    Pair("events_ours", "each", 8e5, _ONE_BY_ONE, "send / recv, frames that own their memory"),
    Pair("events_cloudtoid", "batch", 6e5),
    Pair("events_queue", "single", 8e4),
)


def _events(quick: bool) -> Found:
    for row in _EVENTS:
        yield row.contender(quick, _FRAME, 64)
    yield rust("events", _FRAME, quick)


_ARRAYS, _DICTIONARIES, _STRUCTS = "arrays of 256 KiB", "dictionaries of 8 fields", "msgspec structs of 8 fields"
_ARRAY_BYTES, _NUMBER_BYTES = 256 << 10, 16
_ARRAY_VIEWS, _OBJECT_EACH = "kevy-ring send, drain", "kevy-ring send, recv"
_OBJECT_LISTS, _LISTS_NOTE = "kevy-ring send_many, recv_many", "send_many / recv_many"
_GLUE = "nine lines over the ring"
_OF_ARRAYS = (
    Pair("objects_ours", "views", 3e4, _ARRAY_VIEWS, "send / drain, each array a view into the ring"),
    Pair("objects_ours", "objects", 2e4, _OBJECT_EACH, "send / recv, arrays that own their memory"),
    Pair("objects_glue", "objects", 3e4),
    Pair("objects_queue", "objects", 1500),
    Pair("objects_pipe", "objects", 3000),
    Pair("objects_zmq", "objects", 4000, "pyzmq send_pyobj"),
    Pair("objects_zmq", "arrays", 6000, "pyzmq send, copy=False", "as its documentation sends arrays, without pickle"),
    Pair("objects_fifo", "objects", 3000),
)
_OF_DICTIONARIES = (
    Pair("objects_ours", "objects", 4e5, _OBJECT_EACH),
    Pair("objects_ours", "lists", 5e5, _OBJECT_LISTS, _LISTS_NOTE),
    Pair("objects_queue", "objects", 9e4),
    Pair("objects_pipe", "objects", 1.5e5),
    Pair("objects_zmq", "objects", 2e5, "pyzmq send_pyobj"),
    Pair("objects_fifo", "objects", 1e5),
    Pair("objects_fifo", "lists", 2.5e5, "faster-fifo put_many", "put_many / get_many"),
)
_OF_STRUCTS = (
    Pair("objects_ours_structs", "objects", 8e5, _OBJECT_EACH, "MsgpackCodec, send / recv"),
    Pair("objects_ours_structs", "lists", 1e6, _OBJECT_LISTS, "MsgpackCodec, send_many / recv_many"),
    Pair("objects_pipe_structs", "objects", 2e5),
    Pair("objects_zmq_structs", "objects", 3e5),
)


def _objects(quick: bool) -> Found:
    for variant, rows in ((_ARRAYS, _OF_ARRAYS), (_DICTIONARIES, _OF_DICTIONARIES), (_STRUCTS, _OF_STRUCTS)):
        sizes = {"size": _ARRAY_BYTES, "pool": 16, "is_sized": True} if rows is _OF_ARRAYS else {"size": _NUMBER_BYTES}
        for row in rows:
            # The ring that object_pair() makes by default, and as much for each rival that is asked.
            yield replace(row, capacity_bytes=8 * MIB).contender(quick, variant, **sizes)


def _ingest(quick: bool) -> Found:
    frames, few = (200_000, 20_000) if quick else (8_000_000, 200_000)
    sizes, checked = (8 * MIB, 256 << 10), {"frames": few // 4, "is_checked": True}
    yield native(_C, "frames", "ingest_kevy", (frames, *sizes), (few, *sizes, "check"), is_ours=True)
    yield python(_PYTHON, "frames", "ingest", {"way": "ours", "frames": frames}, checked, is_ours=True)
    yield rust("ingest", "frames", quick)
    yield python("hiredis + mp.Queue", "frames", "ingest", {"way": "hiredis", "frames": few}, checked, needs="hiredis")


def _snapshot(quick: bool) -> Found:
    chunks, few = 1024 if quick else 16384, 512
    copied = (_CHUNK_BYTES, chunks, MIB, 64 * MIB, "bytes")
    # If C drives, the ring has 1 MiB, so that chunks are read before they leave the cache.
    yield native(_C, "64 KiB", "snapshot_kevy", (chunks, MIB), (few, MIB, "check"), is_ours=True)
    yield native("memcpy", "64 KiB", "memcpy", copied, is_bound=True, note="one thread, no ring")
    yield python(_PYTHON, "64 KiB", "snapshot", {"chunks": chunks}, {"chunks": few, "is_checked": True}, is_ours=True)
    yield rust("snapshot", "64 KiB", quick)


_BARE = "recv_into, thrown away"
_SOURCES = {"prepared": ("prepared bytes", 500_000), "embedded": ("embedded primary", 200_000)}
_TCP_WAYS = {"ours": _RING, "bare": _BARE, "touching": "recv_into, one byte of 4 KiB"}


def _tcp(quick: bool) -> Found:
    checked = {"frames": 20_000, "is_checked": True}
    for source, (variant, frames) in _SOURCES.items():
        for way, name in _TCP_WAYS.items():
            timed, ours = {"way": way, "source": source, "frames": 20_000 if quick else frames}, way == "ours"
            yield python(name, variant, "tcp", timed, checked, needs="redis", is_ours=ours, is_bound=not ours)


_SPIN, _SHORT, _SLEEP = "pure spin", "short spin, then sleep", "sleep"
_WAITING = {
    _SPIN: ("ours", "cloudtoid", "kickmsg", "membridge", "zeroq", "subetha_frames", "iceoryx2"),
    _SHORT: ("ours", "tachyon"),
    _SLEEP: ("ours_asleep", "os_pipe", "socket_pair", "standard_pipe", "cloudtoid", "kickmsg", "iceoryx2_events",
             "zeroq", "fifo", "zmq", "standard_queue"),
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
                timed = (30 if quick else 300, *(("spin",) if spins else ()))
                name = "C, spinning (bound)" if spins else "C, futex (bound)"
                yield native(name, waiting, "futex_floor", timed, is_bound=True, note="no record at all, one word")


_NATIVE, _OBJECTS = "5 million, native", "Python objects"
_MOST_BYTES = 1.3 * 120  # a record of this frame has 120 bytes: header, ends of the arguments, arguments, padding


def _stall(quick: bool) -> Found:
    events = 100_000 if quick else 5_000_000
    ours, queue = {"way": "ours", "events": events // 10}, {"way": "queue", "events": min(events // 10, 100_000)}
    yield native(_C, _NATIVE, "stall_kevy", (events, 8 * MIB), is_ours=True)
    yield rust("stall", _NATIVE, quick)
    yield python(_PYTHON, _OBJECTS, "stall", ours, {"events": 20_000}, is_ours=True)
    yield python("mp.Queue", _OBJECTS, "stall", queue, {"events": 10_000}, note="fewer frames")


def _scale(quick: bool) -> Found:
    """The same records through 1 to 256 rings; it is its own rival."""
    for rings in (1, 2, 8, 64, 256):
        timed = (rings, 400_000 if quick else 6_000_000, 256 << 10)
        yield native(f"{rings} ring{'s' if rings > 1 else ''}", "all", "scale_kevy", timed, is_ours=rings > 2)


# As in the documentation: from the core outwards.
_IN_ORDER = (
    Case("core", "the ring alone, C on both sides, and C and C++ rings",
         "records from one process to another, C on both sides: each rival holds byte arrays of that size; "
         "the consumer adds up every 8-byte word, or (touched) the first and the last of each record",
         (RECORDS, Metric("payload_bytes_per_s", "bytes/s")),
         (*(Goal(variant, _RING, 1.0, _CORE_NAMES, text=">= 1.0 x the best ring") for variant in _CORE_VARIANTS),
          Goal("64 KiB, touched", _RING, 0.7, ("memcpy",), text=">= 0.7 x memcpy of the same bytes")),
         _core),
    Case("bytes-single", "one bytes object for each call of the sender; the receiver takes batches",
         "one bytes object for each call of the sender. The receiver takes all records that are there with one call, "
         "if the contender has such a call: kevy-ring (`read_many`), tachyon, faster-fifo and subetha have one. "
         "With one record for each call on both sides, see `bytes-each`",
         (RECORDS,),
         tuple(Goal(f"{size} B", _TAKEN, 1.0, text=">= 1.0 x the best") for size in (16, 88, 1024)),
         _bytes_single),
    Case("bytes-each", "one bytes object for each call on both sides",
         "one bytes object for each call of the sender and one for each call of the receiver: neither takes batches",
         (RECORDS,),
         (Goal("64 B", _EACH, 1.0, ("cloudtoid-interprocess",), text=">= 1.0 x cloudtoid-interprocess"),
          Goal("64 B", _EACH, 1.0, text=">= 1.0 x the best")),
         lambda quick: (row.contender(quick, "64 B", 64) for row in _EACHES)),
    Case("bytes-batch", "many records for each call",
         "512 records for each call of the sender: a list of bytes, or one buffer and the lengths; 1024 for the "
         "receiver's",
         (RECORDS,),
         (Goal("16 B", _LIST, 2.0, _VARIABLE, text=">= 2 x the best of variable length"),
          Goal("88 B", _LIST, 2.0, _VARIABLE, text=">= 2 x the best of variable length"),
          Goal("16 B", _PACKED, 1.0, (_SUBETHA_PACKED,), text="packed: >= 1.0 x subetha"),
          Goal("88 B", _PACKED, 5.0, text="packed: >= 5 x the best")),
         _bytes_batch),
    Case("chunks", "64 KiB chunks, written and read in place",
         "64 KiB copied once into the place that the receiver reads; it reads one byte a page, or copies all of it out",
         (BYTES,),
         tuple(Goal(variant, _RESERVED, 1.1, text=">= 1.1 x the best") for variant in _CHUNK_LOOKS),
         _chunks),
    Case("events", "frames as objects on both sides",
         "Frame(offset, [SET, 16-byte key, 64-byte value]): made, sent, taken and its arguments looked at",
         (FRAMES,),
         (Goal(_FRAME, _OWNED, 0.8, (RUST,), text="send_many: >= 0.8 x Rust"),
          Goal(_FRAME, _VIEWED, 0.8, (RUST,), text="send_many, views into the ring: >= 0.8 x Rust"),
          Goal(_FRAME, _SENT, 5.0, (_QUEUE,), text="one by one: >= 5 x multiprocessing.Queue"),
          Goal(_FRAME, _ONE_BY_ONE, 5.0, (_QUEUE,), text="one by one on both sides: >= 5 x multiprocessing.Queue")),
         _events),
    Case("objects", "arrays, dictionaries and structs",
         "numpy arrays of 256 KiB, of which the receiver reads one number a page; dictionaries and msgspec structs of "
         "8 fields, of which it reads nothing. Both sides wait",
         (OBJECTS, Metric("payload_bytes_per_s", "bytes/s")),
         (Goal(_ARRAYS, _ARRAY_VIEWS, 0.9, (_GLUE,), text=">= 0.9 x nine lines of glue"),
          Goal(_DICTIONARIES, _OBJECT_EACH, 5.0, (_QUEUE,), text="one by one: >= 5 x multiprocessing.Queue"),
          Goal(_DICTIONARIES, _OBJECT_LISTS, 5.0, (_QUEUE,), text="lists: >= 5 x multiprocessing.Queue")),
         _objects),
    Case("ingest", "from the wire to a shard",
         "kevy frames as bytes in memory (SET, 16-byte key, 64-byte value), taken in pieces of 256 KiB, to columns and "
         "a digest of every byte on the other side",
         (FRAMES, Metric("wire_bytes_per_s", "bytes/s")),
         (Goal("frames", _C, 12.0, (RUST,), text=">= 12 x Rust"),
          Goal("frames", _PYTHON, 12.0, (RUST,), text=">= 12 x Rust, driven from Python")),
         _ingest),
    Case("snapshot", "chunks of a snapshot into a shard's buffer",
         "chunks of 64 KiB into the buffer of a shard, which holds 64 MiB, was touched before, and is used again from "
         "its start when it is full; beside them memcpy into such a buffer, from a megabyte in the cache",
         (BYTES,),
         (Goal("64 KiB", _C, 2.0, (RUST,), text=">= 2 x Rust"),
          Goal("64 KiB", _PYTHON, 2.0, (RUST,), text=">= 2 x Rust, driven from Python")),
         _snapshot),
    Case("tcp", "the whole path: upstream, loopback, runner, ring, shard",
         "live kevy frames over loopback to a null sink that takes a CRC-32 over every byte (three processes), "
         "beside one process that only receives; the upstream sends prepared bytes, or is the embedded primary, which "
         "is slower than either",
         (BYTES, Metric("frames_per_s", "frames/s")),
         tuple(Goal(variant, _RING, 0.8, (_BARE,), text=">= 0.8 x the bare loop") for variant, _ in _SOURCES.values()),
         _tcp),
    Case("latency", "how long a record takes, and what waiting for it costs",
         "half a round trip of 88 bytes, each side on its own core; wake: one way to a receiver that sleeps",
         (*(Metric(name, "us", "lower") for name in ("p50", "p99", "p99.9", "wake")),
          *(Metric(name, "%", "lower") for name in ("idle CPU", "trickle CPU"))),
         (Goal(_SPIN, _RING, metric="p50", limit=0.6, text="p50 <= 0.6 us"),
          Goal(_SPIN, _RING, 1.0, metric="p99.9", text="p99.9 <= the best rival's"),
          Goal(_SHORT, _RING, 1.0, ("tachyon-ipc",), "p50", text="p50 <= 1.0 x tachyon's"),
          Goal(_SHORT, _RING, 1.0, metric="p99.9", text="p99.9 <= the best rival's"),
          Goal(_SHORT, _RING, metric="idle CPU", limit=0.5, text="idle CPU <= 0.5 %"),
          Goal(_SHORT, _RING, metric="trickle CPU", limit=0.5, text="CPU with an event every 4 ms <= 0.5 %"),
          Goal(_SLEEP, _RING, 1 / 1.05, ("os.pipe",), "p50", text="p50 <= 1.05 x os.pipe's"),
          Goal(_SLEEP, _RING, 1.0, metric="p99.9", text="p99.9 <= the best rival's")),
         _latency),
    Case("stall", "a receiver that does not read while everything is sent",
         "the receiver does not read while all frames are sent; each send is timed. Then it takes them all",
         (*(Metric(name, "us", "lower") for name in ("p50_us", "p99_9_us", "max_us")),
          Metric("bytes_per_event", "bytes", "lower"), Metric("drained_per_s", "frames/s"), FRAMES),
         tuple(
             Goal(variant, ours, metric=metric, limit=limit, text=text)
             for variant, ours, by in ((_NATIVE, _C, ""), (_OBJECTS, _PYTHON, ", from Python"))
             for metric, limit, text in (
                 ("p50_us", 2.0, f"send p50 <= 2 us{by}"),
                 ("p99_9_us", 200.0, f"send p99.9 <= 200 us{by}"),
                 ("bytes_per_event", _MOST_BYTES, "memory <= 1.3 x the encoded records"))),
         _stall),
    Case("scale", "many rings between one pair of processes",
         "1 to 256 rings of 256 KiB in one pair of processes, 88-byte records to each in turn: all rings together",
         (RECORDS, Metric("beyond_capacity_bytes_per_ring", "bytes", "lower"),
          Metric("wakes_per_million", "wakes", "lower"), Metric("idle_cpu_percent", "%", "lower"),
          Metric("create_us", "us", "lower"), Metric("attach_us", "us", "lower")),
         (Goal("all", "64 rings", 0.85, ("2 rings",), text="64 rings within 15 % of 2"),
          Goal("all", "8 rings", 0.85, ("2 rings",), text="8 rings within 15 % of 2"),
          Goal("all", "256 rings", metric="idle_cpu_percent", limit=0.5,
               text="idle cost flat: under 0.5 % with 256 rings")),
         _scale),
)
CASES = {case.name: case for case in _IN_ORDER}
