"""The application words of a ring's header: the one table of their numbers, owners, names and decodings.

A ring has 16 words of its producer's side and 16 of its consumer's. Each is a u64, and only its side writes it. The
ring itself gives them no meaning. Most are plain counts and sizes; the functions here decode the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kevy_ring.ring import RingStats

#: Numbers that the core and the receiver leave to the application. A runner and a shard use most of them.
FREE_PRODUCER_WORDS = range(6, 16)
FREE_CONSUMER_WORDS = range(8, 16)

_CORE, _RUNNER, _RECEIVER, _SHARD = "core", "runner", "receiver", "shard"
_OFFSET = "offset + 1; 0: none"
_COUNTS_PER_WORD, _COUNT_BITS = 3, 21
_COUNT_MAX = (1 << _COUNT_BITS) - 1


class HeaderWord(IntEnum):
    """A word of the header: its number, who writes it (``owner``), and what its value says (``meaning``)."""

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
    SNAPSHOTS_ENDED = 5, _CORE, "SnapshotEnds sent; see is_snapshot_pending()"
    FULL_SYNC_REASONS = 6, _RUNNER, "full syncs by reason, the first three; see unpacked_counts()"
    FULL_SYNC_REASONS_2 = 7, _RUNNER, "the other three"
    LINK_STATE = 8, _RUNNER, "what the runner is doing; see link_state()"
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
    HAS_APPLIED = 1, _RECEIVER, "1: that offset counts; 0: nothing is applied"
    SNAPSHOTS_APPLIED = 2, _RECEIVER, "SnapshotEnds marked as applied; see is_snapshot_pending()"
    LOST_OFFSET = 3, _RECEIVER, f"of an event of which only the end was received: {_OFFSET}"
    FRAMES = 8, _SHARD, "frames applied"
    FRAME_BYTES = 9, _SHARD, "bytes of those frames"
    ENTRIES = 10, _SHARD, "keys of the snapshots that were loaded"
    SNAPSHOTS = 11, _SHARD, "snapshots loaded"
    SKIPPED_KEYS = 12, _SHARD, "keys of the last snapshot that were left out"
    LEFT_OUT = 13, _SHARD, "what else of it was left out: expiries of hash fields (per hash), function libraries"
    REFUSALS = 14, _SHARD, "commands that the sink refused, in all shard processes of the ring"


class LinkState(IntEnum):
    """What a runner is doing."""

    NONE = 0  # no runner has been here yet
    CONNECTING = 1
    HANDSHAKE = 2
    SNAPSHOT = 3
    STREAMING = 4
    WAITING = 5  # between two attempts
    REFUSED = 6  # between two attempts too: the upstream sent a refusal
    STOPPED = 7
    RECEIVER_GONE = 8

    @property
    def is_following(self) -> bool:
        """Whether the upstream is followed: in its snapshot or in its stream."""
        return self in (LinkState.SNAPSHOT, LinkState.STREAMING)


_LAST_STATE = max(LinkState)


def link_state(stats: RingStats) -> LinkState:
    """What the runner of a ring is doing. NONE also for a value of another application, which may use the word."""
    state = stats.producer_words[ProducerWord.LINK_STATE]
    return LinkState(state) if state <= _LAST_STATE else LinkState.NONE


def offset_of_word(word: int) -> int | None:
    """The offset that a word holds as ``offset + 1``. 0 means that there is none."""
    return word - 1 if word else None


def word_of_offset(offset: int | None) -> int:
    """An offset as a word holds it. See :func:`offset_of_word`."""
    return 0 if offset is None else offset + 1


def received_offset(stats: RingStats) -> int | None:
    """The offset of the last event that the runner received; None without one, and on a ring without a runner."""
    return _runner_offset(stats, ProducerWord.RECEIVED_OFFSET)


def upstream_offset(stats: RingStats) -> int | None:
    """The offset of the upstream's newest event that the runner knows of; None where it knows of none."""
    return _runner_offset(stats, ProducerWord.UPSTREAM_OFFSET)


def _runner_offset(stats: RingStats, word: ProducerWord) -> int | None:
    return None if link_state(stats) is LinkState.NONE else offset_of_word(stats.producer_words[word])


def lost_offset(stats: RingStats) -> int | None:
    """The offset of an event of which only the end was received, while that gap is not made good; else None."""
    return offset_of_word(stats.consumer_words[ConsumerWord.LOST_OFFSET])


def is_snapshot_pending(stats: RingStats, ended: int | None = None, *, is_open: bool = False) -> bool:
    """Whether a snapshot was sent that the shard has not marked as applied.

    ``ended``: the number of SnapshotEnds to compare with; by default those that senders of the ring have sent, also
    the ones that wait in the overflow. ``is_open``: a snapshot was begun after them.
    """
    if ended is None:
        ended = stats.producer_words[ProducerWord.SNAPSHOTS_ENDED]
    return is_open or ended > stats.consumer_words[ConsumerWord.SNAPSHOTS_APPLIED]


def how_far_behind(stats: RingStats) -> int | None:
    """How far the applied offset is behind the received one, in the upstream's own unit; None if either is unknown."""
    received, applied = received_offset(stats), stats.applied_offset
    # The shard may be ahead of the word: a runner publishes what it received ten times a second.
    return None if received is None or applied is None else max(0, received - applied)


def received_at_least(stats: RingStats) -> int | None:
    """The received offset for display. While the stream is followed, what is applied was received.

    A runner publishes what it received ten times a second, and the shard may be ahead of that.
    """
    received, applied = received_offset(stats), stats.applied_offset
    if received is None or applied is None or link_state(stats) is not LinkState.STREAMING:
        return received
    return received if is_snapshot_pending(stats) else max(received, applied)


def packed_counts(counts: Sequence[int]) -> list[int]:
    """Counts as words: three in a word, the first in the lowest 21 bits.

    A count that does not fit stays at its largest value. One full sync a second reaches that after 24 days.
    """
    bounded = [min(count, _COUNT_MAX) for count in counts]
    groups = [bounded[first : first + _COUNTS_PER_WORD] for first in range(0, len(bounded), _COUNTS_PER_WORD)]
    return [sum(count << place * _COUNT_BITS for place, count in enumerate(group)) for group in groups]


def unpacked_counts(words: Iterable[int]) -> list[int]:
    """The counts that :func:`packed_counts` made these words of."""
    return [word >> place * _COUNT_BITS & _COUNT_MAX for word in words for place in range(_COUNTS_PER_WORD)]
