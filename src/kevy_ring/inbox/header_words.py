"""The application words of a ring's header: the one table of their numbers, owners, names and decodings.

A ring has 16 words for its producer's side and 16 for its consumer's side. Each is a u64 that only its side writes. The
ring gives them no meaning. Most are plain counts and sizes; the functions here decode the others.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kevy_ring.ring import RingStats

#: Numbers that the core and the receiver leave to the application. A runner and a shard use most of them.
FREE_PRODUCER_WORDS = (4, *range(6, 16))
FREE_CONSUMER_WORDS = range(8, 16)

_CORE, _RUNNER, _RECEIVER, _SHARD = "core", "runner", "receiver", "shard"
_OFFSET = "offset + 1; 0: none"
_COUNTS_PER_WORD, _COUNT_BITS = 3, 21
_COUNT_MAX = (1 << _COUNT_BITS) - 1


class HeaderWord(IntEnum):
    """A word of the header: its number, its writer (``owner``) and the meaning of its value (``meaning``)."""

    owner: str
    meaning: str

    def __new__(cls, number: int, owner: str, meaning: str) -> HeaderWord:
        word = int.__new__(cls, number)
        word._value_ = number
        word.owner, word.meaning = owner, meaning
        return word


class ProducerWord(HeaderWord):
    """A word of the producer's side."""

    OVERFLOW_EVENTS = 0, _CORE, "events in the overflow"
    OVERFLOW_BYTES = 1, _CORE, "bytes in the overflow"
    OVERFLOW_PEAK_BYTES = 2, _CORE, "the most bytes that the overflow ever held"
    OVERFLOW_OLDEST_NS = 3, _CORE, "monotonic time of the oldest block of the overflow; 0: the overflow is empty"
    HEARD_NS = 4, _RUNNER, "monotonic time of the last byte from the upstream; 0: none came"
    SNAPSHOTS_ENDED = 5, _CORE, "SnapshotEnds sent; see is_snapshot_pending()"
    FULL_SYNC_REASONS = 6, _RUNNER, "full syncs by reason, the first three; see unpacked_counts()"
    FULL_SYNC_REASONS_2 = 7, _RUNNER, "the last three"
    LINK_STATE = 8, _RUNNER, "the state of the runner's link; see link_state()"
    RECEIVED_OFFSET = 9, _RUNNER, f"of the last event received: {_OFFSET}"
    UPSTREAM_OFFSET = 10, _RUNNER, f"of the upstream's newest event that the runner knows of: {_OFFSET}"
    SNAPSHOT_BYTES = 11, _RUNNER, "bytes received of the snapshot in progress"
    SNAPSHOT_TOTAL = 12, _RUNNER, "size of that snapshot in bytes; 0: unknown"
    FULL_SYNCS = 13, _RUNNER, "links that began with a full sync"
    PARTIAL_SYNCS = 14, _RUNNER, "links that continued the stream"
    RECONNECTS = 15, _RUNNER, "links lost"


class ConsumerWord(HeaderWord):
    """A word of the consumer's side. FRAMES to SNAPSHOTS begin again at 0 with each shard process."""

    APPLIED_OFFSET = 0, _RECEIVER, "the offset that mark_applied() was given"
    HAS_APPLIED = 1, _RECEIVER, "1: APPLIED_OFFSET is valid; 0: nothing is applied"
    SNAPSHOTS_APPLIED = 2, _RECEIVER, "SnapshotEnds marked as applied; see is_snapshot_pending()"
    LOST_OFFSET = 3, _RECEIVER, f"of an event of which only the end was received: {_OFFSET}"
    FRAMES = 8, _SHARD, "frames applied"
    FRAME_BYTES = 9, _SHARD, "bytes of those frames"
    ENTRIES = 10, _SHARD, "keys of the snapshots that were loaded"
    SNAPSHOTS = 11, _SHARD, "snapshots loaded"
    SKIPPED_KEYS = 12, _SHARD, "keys of the last snapshot that were left out"
    LEFT_OUT = 13, _SHARD, "other parts of it that were left out: function libraries"
    REFUSALS = 14, _SHARD, "commands that the sink refused, in all shard processes of the ring"


class LinkState(IntEnum):
    """The state of a runner's link."""

    NONE = 0  # the ring had no runner yet
    CONNECTING = 1
    HANDSHAKE = 2
    SNAPSHOT = 3
    STREAMING = 4
    WAITING = 5  # before the next attempt
    REFUSED = 6  # before the next attempt, after the upstream refused
    STOPPED = 7
    RECEIVER_GONE = 8

    @property
    def is_following(self) -> bool:
        """Whether the runner receives a snapshot or the stream."""
        return self in (LinkState.SNAPSHOT, LinkState.STREAMING)


_LAST_STATE = max(LinkState)


def link_state(stats: RingStats) -> LinkState:
    """The state of the link of a ring's runner. NONE also for an unknown value: others may use the word."""
    state = stats.producer_words[ProducerWord.LINK_STATE]
    return LinkState(state) if state <= _LAST_STATE else LinkState.NONE


def offset_of_word(word: int) -> int | None:
    """Decode a word that holds ``offset + 1``, where 0 means none."""
    return word - 1 if word else None


def word_of_offset(offset: int | None) -> int:
    """Encode an offset for a word. See :func:`offset_of_word`."""
    return 0 if offset is None else offset + 1


def received_offset(stats: RingStats) -> int | None:
    """The offset of the last event that the runner received. None: there is none, or the ring had no runner."""
    return _runner_offset(stats, ProducerWord.RECEIVED_OFFSET)


def upstream_offset(stats: RingStats) -> int | None:
    """The offset of the upstream's newest event that the runner knows of; None if it knows of none."""
    return _runner_offset(stats, ProducerWord.UPSTREAM_OFFSET)


def _runner_offset(stats: RingStats, word: ProducerWord) -> int | None:
    return None if link_state(stats) is LinkState.NONE else offset_of_word(stats.producer_words[word])


def upstream_silence_s(stats: RingStats) -> float | None:
    """Seconds since the last byte came from the upstream, of any kind; None if none came. Exact to 0.1 s."""
    heard_ns = stats.producer_words[ProducerWord.HEARD_NS]
    if link_state(stats) is LinkState.NONE or not heard_ns:
        return None
    return max(0.0, (time.monotonic_ns() - heard_ns) / 1e9)


def lost_offset(stats: RingStats) -> int | None:
    """The offset of an event of which only the end was received, until a snapshot repairs the gap; else None."""
    return offset_of_word(stats.consumer_words[ConsumerWord.LOST_OFFSET])


def is_snapshot_pending(stats: RingStats, ended: int | None = None, *, is_open: bool = False) -> bool:
    """Whether a snapshot was sent that the shard has not marked as applied.

    ``ended``: the number of SnapshotEnds sent; by default all of this ring, with those that wait in the overflow.
    ``is_open``: another snapshot has begun after them.
    """
    if ended is None:
        ended = stats.producer_words[ProducerWord.SNAPSHOTS_ENDED]
    return is_open or ended > stats.consumer_words[ConsumerWord.SNAPSHOTS_APPLIED]


def how_far_behind(stats: RingStats) -> int | None:
    """The received offset minus the applied offset, in the upstream's unit; None if either is unknown."""
    received, applied = received_offset(stats), stats.applied_offset
    # Not below 0: a runner publishes its offset ten times a second, and the shard may be ahead of it.
    return None if received is None or applied is None else max(0, received - applied)


def received_at_least(stats: RingStats) -> int | None:
    """The received offset for display. In the stream it is never below the applied offset.

    A runner publishes its offset ten times a second, so the applied offset may be newer.
    """
    received, applied = received_offset(stats), stats.applied_offset
    if received is None or applied is None or link_state(stats) is not LinkState.STREAMING:
        return received
    return received if is_snapshot_pending(stats) else max(received, applied)


def packed_counts(counts: Sequence[int]) -> list[int]:
    """Pack counts into words: three in a word, the first in the lowest 21 bits.

    A count that does not fit is stored as the largest value. One full sync a second reaches it after 24 days.
    """
    bounded = [min(count, _COUNT_MAX) for count in counts]
    groups = [bounded[first : first + _COUNTS_PER_WORD] for first in range(0, len(bounded), _COUNTS_PER_WORD)]
    return [sum(count << place * _COUNT_BITS for place, count in enumerate(group)) for group in groups]


def unpacked_counts(words: Iterable[int]) -> list[int]:
    """The counts in words that :func:`packed_counts` made."""
    return [word >> place * _COUNT_BITS & _COUNT_MAX for word in words for place in range(_COUNTS_PER_WORD)]
