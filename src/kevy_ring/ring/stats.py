"""The header of a ring: positions, roles and counters. Reading it takes no role."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from kevy_ring._core import ffi, lib
from kevy_ring.errors import SegmentError
from kevy_ring.ring.segment import Segment
from kevy_ring.ring.segment_names import SHM_DIR

MAGIC = b"KEVYRING"
VERSION: int = lib.KR_VERSION
#: The first bytes of a segment, equal in all versions of the layout: magic, version, bytes of the header, capacity,
#: time of creation, the creator's pid, flags, the creator's start time. csrc/ring/layout.h has the same in C.
FIXED_HEADER = struct.Struct("<8sIIQQIIQ")


class RoleState(Enum):
    """The state of a role. ``DEAD``: the process that had it ended without a close."""

    VACANT = 0
    ALIVE = 1
    DEAD = 2
    CLOSED = 3


@dataclass(frozen=True)
class RoleStats:
    """One role: its ``state``, the ``pid`` of its process or its last one, and how often it was taken (``epoch``)."""

    state: RoleState
    pid: int
    epoch: int


@dataclass(frozen=True)
class RingStats:
    """The state of a ring at one moment. Counters begin at its creation. Each is exact, but they are read one by one.

    ``name`` and ``capacity`` (bytes) are the ring's. ``created_unix_s``, ``creator_pid`` and ``creator_alive``: when
    and by which process it was made, and whether that lives. ``producer`` and ``consumer`` are the :class:`RoleStats`.

    ``head`` and ``tail``: the free-running positions. ``used_bytes``: between them. ``events_in``, ``bytes_in`` and
    ``publishes`` count what was written, and how often it was published; ``events_out``, ``bytes_out`` and ``drains``
    what was released, and how often it was drained. ``full_hits``: how often the producer found no room. ``data_wakes``
    and ``space_wakes``: how often the consumer, and the producer, slept and was woken.

    ``overflow_events``, ``overflow_bytes``, ``overflow_peak_bytes`` and ``overflow_age_s``: see :class:`Overflow`.
    ``applied_offset``: what the receiver has marked as applied, None before. ``last_drain_age_s``: None before the
    first drain. The overflow is memory of the producer's process; its figures are as old as its last send or move.
    ``producer_words`` and ``consumer_words``: the 16 words that each side may publish for the layers above.
    ``version``: of the layout. ``is_kept``: the ring stays after its creator ends. ``label``: the creator's text for
    people.
    """

    name: str
    capacity: int
    head: int
    tail: int
    used_bytes: int
    created_unix_s: float
    creator_pid: int
    creator_alive: bool
    producer: RoleStats
    consumer: RoleStats
    events_in: int
    bytes_in: int
    publishes: int
    full_hits: int
    data_wakes: int
    events_out: int
    bytes_out: int
    drains: int
    space_wakes: int
    last_drain_age_s: float | None
    overflow_events: int
    overflow_bytes: int
    overflow_peak_bytes: int
    overflow_age_s: float
    applied_offset: int | None
    producer_words: tuple[int, ...]
    consumer_words: tuple[int, ...]
    version: int = VERSION
    is_kept: bool = False
    label: str = ""


@lru_cache(maxsize=256)
def _role(state: int, pid: int, epoch: int) -> RoleStats:
    return RoleStats(RoleState(state), pid, epoch)


@lru_cache(maxsize=256)
def _text(label: bytes) -> str:
    return label.decode("utf-8", "replace")


def creator_is_alive(segment: Segment) -> bool:
    """Whether the process that made a ring lives. Looks up its pid and start time in the process table."""
    raw = ffi.new("kr_stats *")
    lib.kr_map_stats(segment.map, raw)
    return bool(lib.kr_process_alive(raw.creator_pid, raw.creator_start))


def header_fault(stats: RingStats) -> str | None:
    """The first value in the header that no correct process writes, in words; None: there is none."""
    if stats.used_bytes > stats.capacity:
        return f"head and tail are {stats.used_bytes} bytes apart, and the capacity is {stats.capacity}"
    if (stats.head | stats.tail) & 7:
        return f"head {stats.head} and tail {stats.tail} are not both multiples of 8"
    return None


def read_stats(segment: Segment, *, creator_alive: bool | None = None) -> RingStats:
    """Read the header of a mapped segment. ``creator_alive``: None looks it up."""
    raw = ffi.new("kr_stats *")
    lib.kr_map_stats(segment.map, raw)
    if creator_alive is None:
        creator_alive = bool(lib.kr_process_alive(raw.creator_pid, raw.creator_start))
    # The fields for the overflow and the applied offset are the words that kevy_ring.inbox.header_words lists; a test
    # compares the two.
    p, c = tuple(ffi.unpack(raw.producer_words, 16)), tuple(ffi.unpack(raw.consumer_words, 16))
    producer, consumer = raw.producer, raw.consumer
    stats = RingStats.__new__(RingStats)
    # Without the constructor: in a frozen class it sets the fields one by one, which costs more than all the rest here.
    # A monitor reads the header of every ring many times.
    stats.__dict__.update(
        name=segment.name,
        capacity=raw.capacity,
        head=raw.head,
        tail=raw.tail,
        used_bytes=(raw.tail - raw.head) % 2**64,
        created_unix_s=raw.created_unix_ns / 1e9,
        creator_pid=raw.creator_pid,
        creator_alive=creator_alive,
        producer=_role(producer.state, producer.pid, producer.epoch),
        consumer=_role(consumer.state, consumer.pid, consumer.epoch),
        events_in=raw.events_in,
        bytes_in=raw.bytes_in,
        publishes=raw.publishes,
        full_hits=raw.full_hits,
        data_wakes=raw.data_wakes,
        events_out=raw.events_out,
        bytes_out=raw.bytes_out,
        drains=raw.drains,
        space_wakes=raw.space_wakes,
        last_drain_age_s=max(0, raw.now_ns - raw.last_drain_ns) / 1e9 if raw.last_drain_ns else None,
        overflow_events=p[0],
        overflow_bytes=p[1],
        overflow_peak_bytes=p[2],
        overflow_age_s=max(0, raw.now_ns - p[3]) / 1e9 if p[3] else 0.0,
        applied_offset=c[0] if c[1] else None,
        producer_words=p,
        consumer_words=c,
        version=raw.version,
        is_kept=bool(raw.flags & lib.KR_SEGMENT_KEPT),
        label=_text(ffi.string(raw.label)),
    )
    return stats


def inspect_ring(name: str) -> RingStats:
    """Read the header of a ring by name, also if all its processes are dead. Takes no role and writes nothing.

    Raises :class:`SegmentError` as :meth:`Ring.attach`.
    """
    return read_stats(Segment.attach(name))


def ring_names() -> list[str]:
    """The names of all rings of this user on this machine: the files with the magic of a ring."""
    return sorted(name for name, _, first in files_in_shared_memory() if first.startswith(MAGIC))


def files_in_shared_memory() -> Iterator[tuple[str, os.stat_result, bytes]]:
    """All files in shared memory that this user may read: name, status and first bytes of each."""
    try:
        entries = list(os.scandir(SHM_DIR))
    except OSError as exc:
        raise SegmentError(str(SHM_DIR), reason="resources", detail=str(exc), errno=exc.errno or 0) from exc
    for entry in entries:
        try:
            if entry.is_file(follow_symlinks=False):
                with open(entry.path, "rb") as file:
                    yield entry.name, os.fstat(file.fileno()), file.read(FIXED_HEADER.size)
        except OSError:  # this user may not read it, or it is gone now
            continue
