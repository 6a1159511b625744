"""Every metric of a ring as data: its name, help text, labels, and its value in the header."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from kevy_ring.inbox.header_words import (
    ConsumerWord,
    LinkState,
    ProducerWord,
    link_state,
    received_offset,
    upstream_offset,
    upstream_silence_s,
)
from kevy_ring.replica.link_words import full_syncs_by_reason
from kevy_ring.ring import RingStats, RoleState
from kevy_ring.ring.outside.leftovers import is_unused

#: The values of the labels other than ``ring``, and the figure.
Values = Iterable[tuple[tuple[str, ...], float]]


class MetricKind(Enum):
    """A counter only grows, until its ring is replaced by a new one. A gauge goes up and down."""

    COUNTER = "counter"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric. ``labels``: all but ``ring``. ``values`` yields nothing if the ring has no such figure."""

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...]
    values: Callable[[RingStats], Values]


def _counter(name: str, help: str, value: Callable[[RingStats], float]) -> Figure:
    return Figure(name, MetricKind.COUNTER, help, (), lambda stats: [((), value(stats))])


def _gauge(name: str, help: str, value: Callable[[RingStats], float | None]) -> Figure:
    def values(stats: RingStats) -> Values:
        number = value(stats)
        return [] if number is None else [((), number)]

    return Figure(name, MetricKind.GAUGE, help, (), values)


def _by_role(
    name: str,
    kind: MetricKind,
    help: str,
    producer: Callable[[RingStats], float],
    consumer: Callable[[RingStats], float],
) -> Figure:
    return Figure(
        name,
        kind,
        help,
        ("role",),
        lambda stats: [(("producer",), producer(stats)), (("consumer",), consumer(stats))],
    )


def _role_states(stats: RingStats) -> Values:
    for role, held in (("producer", stats.producer), ("consumer", stats.consumer)):
        for state in RoleState:
            yield (role, state.name.lower()), float(held.state is state)


def _link_states(stats: RingStats) -> Values:
    now = link_state(stats)
    if now is not LinkState.NONE:
        for state in LinkState:
            if state is not LinkState.NONE:
                yield (state.name.lower(),), float(state is now)


def _of_link(name: str, kind: MetricKind, help: str, word: ProducerWord) -> Figure:
    """A word of the runner; nothing if the ring never had a runner."""

    def values(stats: RingStats) -> Values:
        return [] if link_state(stats) is LinkState.NONE else [((), stats.producer_words[word])]

    return Figure(name, kind, help, (), values)


def _syncs(stats: RingStats) -> Values:
    if link_state(stats) is not LinkState.NONE:
        yield ("full",), stats.producer_words[ProducerWord.FULL_SYNCS]
        yield ("partial",), stats.producer_words[ProducerWord.PARTIAL_SYNCS]


def _full_syncs(stats: RingStats) -> Values:
    if link_state(stats) is not LinkState.NONE:
        for reason, count in full_syncs_by_reason(stats.producer_words).items():
            yield (reason.value,), count


_SHARD_WORDS = [word for word in ConsumerWord if word.owner == "shard"]


def _of_shard(name: str, help: str, word: ConsumerWord, kind: MetricKind = MetricKind.COUNTER) -> Figure:
    """A word of the shard. There is no value while all words of the shard are 0: the ring may have no shard."""

    def values(stats: RingStats) -> Values:
        words = stats.consumer_words
        return [((), words[word])] if any(words[each] for each in _SHARD_WORDS) else []

    return Figure(name, kind, help, (), values)


def _last_drain(stats: RingStats) -> float | None:
    return None if stats.last_drain_age_s is None else time.time() - stats.last_drain_age_s


_COUNTER, _GAUGE = MetricKind.COUNTER, MetricKind.GAUGE

FIGURES = (
    _gauge("kevy_ring_capacity_bytes", "Size of the ring's data area in bytes.", lambda s: s.capacity),
    _gauge("kevy_ring_used_bytes", "Bytes published and not yet released, with headers.", lambda s: s.used_bytes),
    _gauge("kevy_ring_creation_timestamp_seconds", "Unix time at which the ring was made.", lambda s: s.created_unix_s),
    _gauge("kevy_ring_kept", "1 if the ring is kept when its service ends, else 0.", lambda s: s.is_kept),
    _gauge("kevy_ring_in_use", "1 while its creator or a process of a role lives.", lambda s: not is_unused(s)),
    _by_role("kevy_ring_records_total", _COUNTER, "Records published (producer) and released (consumer).",
             lambda s: s.events_in, lambda s: s.events_out),
    _by_role("kevy_ring_record_bytes_total", _COUNTER, "Bytes of records published (producer) and released (consumer).",
             lambda s: s.bytes_in, lambda s: s.bytes_out),
    _counter("kevy_ring_publishes_total", "How often the producer published, with any number of records at once.",
             lambda s: s.publishes),
    _counter("kevy_ring_drains_total", "How often the consumer took records, any number at once.", lambda s: s.drains),
    _counter("kevy_ring_full_hits_total", "How often the producer found no space for a record.", lambda s: s.full_hits),
    _by_role("kevy_ring_wakes_total", _COUNTER, "How often the role slept and the other side woke it.",
             lambda s: s.space_wakes, lambda s: s.data_wakes),
    _gauge("kevy_ring_last_drain_timestamp_seconds",
           "Unix time at which the consumer last took records; absent before the first time.", _last_drain),
    _gauge("kevy_ring_overflow_events", "Events that wait in the overflow, in the producer's memory.",
           lambda s: s.overflow_events),
    _gauge("kevy_ring_overflow_bytes", "Bytes that wait in the overflow, in the producer's memory.",
           lambda s: s.overflow_bytes),
    _gauge("kevy_ring_overflow_peak_bytes", "The most bytes that ever waited in the overflow.",
           lambda s: s.overflow_peak_bytes),
    _gauge("kevy_ring_overflow_age_seconds", "Seconds that the oldest event has waited in the overflow, 0 if empty.",
           lambda s: s.overflow_age_s),
    Figure("kevy_ring_role_state", _GAUGE, "1 for the state of the role, 0 for the other states.",
           ("role", "state"), _role_states),
    _by_role("kevy_ring_role_claims_total", _COUNTER, "How often a process took the role.",
             lambda s: s.producer.epoch, lambda s: s.consumer.epoch),
    _gauge("kevy_ring_applied_offset", "The shard has applied the stream up to this offset; absent before the first.",
           lambda s: s.applied_offset),
    _gauge("kevy_ring_received_offset", "The runner has received the stream up to this offset.", received_offset),
    _gauge("kevy_ring_upstream_offset", "The newest offset of the upstream that the runner knows.", upstream_offset),
    _gauge("kevy_ring_apply_lag_bytes", "Bytes in the ring and in the overflow: received, and not applied yet.",
           lambda s: s.used_bytes + s.overflow_bytes),
    _gauge("kevy_ring_upstream_silence_seconds",
           "Seconds since the last byte, also of a ping, from the upstream; absent before it.", upstream_silence_s),
    Figure("kevy_ring_link_state", _GAUGE, "1 for the link's state, 0 for the others; absent without a runner.",
           ("state",), _link_states),
    Figure("kevy_ring_syncs_total", _COUNTER, "How often a link started, by a full sync or a partial one.",
           ("how",), _syncs),
    Figure("kevy_ring_full_syncs_total", _COUNTER, "How often a link had to start with a full sync, by reason.",
           ("reason",), _full_syncs),
    _of_link("kevy_ring_reconnects_total", _COUNTER, "How often the runner lost its link.", ProducerWord.RECONNECTS),
    _of_link("kevy_ring_snapshot_received_bytes", _GAUGE, "Bytes of the present snapshot that the runner has received.",
             ProducerWord.SNAPSHOT_BYTES),
    _of_link("kevy_ring_snapshot_size_bytes", _GAUGE, "Size of the present snapshot in bytes; 0 if unknown.",
             ProducerWord.SNAPSHOT_TOTAL),
    _of_shard("kevy_ring_frames_applied_total", "Frames that the shard has applied.", ConsumerWord.FRAMES),
    _of_shard("kevy_ring_frame_applied_bytes_total", "Bytes of the frames that the shard has applied.",
              ConsumerWord.FRAME_BYTES),
    _of_shard("kevy_ring_snapshots_loaded_total", "Snapshots that the shard has loaded.", ConsumerWord.SNAPSHOTS),
    _of_shard("kevy_ring_snapshot_keys_loaded_total", "Keys in the snapshots that the shard has loaded.",
              ConsumerWord.ENTRIES),
    _of_shard("kevy_ring_snapshot_keys_skipped", "Keys of the last snapshot that could not be read.",
              ConsumerWord.SKIPPED_KEYS, _GAUGE),
    _of_shard("kevy_ring_snapshot_left_out",
              "Other omissions of the last snapshot: function libraries.",
              ConsumerWord.LEFT_OUT, _GAUGE),
    _of_shard("kevy_ring_commands_refused_total", "Commands that the sink refused, so that the replica may differ.",
              ConsumerWord.REFUSALS),
)  # fmt: skip
