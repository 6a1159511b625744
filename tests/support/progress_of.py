"""Made-up progress of a shard."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kevy_ring.cli.ingest.progress import ShardProgress
from kevy_ring.cli.rates import Rates
from kevy_ring.inbox.header_words import ConsumerWord, LinkState, ProducerWord, word_of_offset
from kevy_ring.ring import Ring, RingStats


def _header() -> RingStats:
    with Ring.create(4096) as ring:
        return ring.stats()


HEADER = _header()


def progress_of(
    state: LinkState = LinkState.STREAMING,
    *,
    index: int = 0,
    received: int | None = None,
    upstream: int | None = None,
    applied: int | None = None,
    full_syncs: int = 1,
    snapshots_sent: int = 1,
    snapshots_applied: int = 1,
    waiting_bytes: int = 0,
    link_age_s: float = 0.0,
    entries: int = 0,
    frames: int = 0,
    frame_bytes: int = 0,
    rates: Rates | None = None,
    **header: Any,
) -> ShardProgress:
    """Offsets go into the words of the ring's header. ``header``: other fields of the ring's statistics."""
    producer, consumer = [0] * 16, [0] * 16
    for word, offset in ((ProducerWord.RECEIVED_OFFSET, received), (ProducerWord.UPSTREAM_OFFSET, upstream)):
        producer[word] = word_of_offset(offset)
    producer[ProducerWord.LINK_STATE] = state
    producer[ProducerWord.FULL_SYNCS] = full_syncs
    producer[ProducerWord.SNAPSHOTS_ENDED] = snapshots_sent
    consumer[ConsumerWord.SNAPSHOTS_APPLIED] = consumer[ConsumerWord.SNAPSHOTS] = snapshots_applied
    consumer[ConsumerWord.ENTRIES] = entries
    consumer[ConsumerWord.FRAMES], consumer[ConsumerWord.FRAME_BYTES] = frames, frame_bytes
    ring = replace(
        HEADER,
        applied_offset=applied,
        used_bytes=waiting_bytes,
        producer_words=tuple(producer),
        consumer_words=tuple(consumer),
        **header,
    )
    upstream = f"redis://replica-{index}.example:6379"
    return ShardProgress(
        index, upstream, ring, state, "", None, None, 0, 0, link_age_s=link_age_s, rates=rates or Rates()
    )
