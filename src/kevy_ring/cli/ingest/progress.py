"""How far each shard of a fleet is, with rates, read from the rings' headers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from kevy_ring.cli import figures
from kevy_ring.cli.rates import NO_RATES, RateMeter, Rates
from kevy_ring.inbox import header_words
from kevy_ring.inbox.header_words import ConsumerWord, ProducerWord
from kevy_ring.replica.fleet.event import ShardStatus
from kevy_ring.replica.link_words import full_syncs_by_reason
from kevy_ring.replica.protocol import FullSyncReason


@dataclass(frozen=True, slots=True)
class ShardProgress(ShardStatus):
    """One shard at one moment. Received: the runner has sent it into the inbox. Applied: the shard has released it.

    An offset is None before the first event. Counts of syncs and lost links begin with the ring; ``of_run`` gives the
    counts since ``words_before``.
    """

    rates: Rates = NO_RATES

    @property
    def received_offset(self) -> int | None:
        return header_words.received_offset(self.ring) if self.ring else None

    @property
    def received_at_least(self) -> int | None:
        """The received offset for display."""
        return header_words.received_at_least(self.ring) if self.ring else None

    @property
    def upstream_offset(self) -> int | None:
        return header_words.upstream_offset(self.ring) if self.ring else None

    @property
    def applied_offset(self) -> int | None:
        return self.ring.applied_offset if self.ring else None

    @property
    def snapshot_bytes(self) -> int:
        return self._link_word(ProducerWord.SNAPSHOT_BYTES)

    @property
    def snapshot_total(self) -> int:
        return self._link_word(ProducerWord.SNAPSHOT_TOTAL)

    @property
    def full_syncs(self) -> int:
        return self._link_word(ProducerWord.FULL_SYNCS)

    @property
    def full_syncs_by_reason_of_run(self) -> dict[FullSyncReason, int]:
        if self.ring is None:
            return {}
        before = full_syncs_by_reason(self.words_before) if self.words_before else {}
        return {why: n - before.get(why, 0) for why, n in full_syncs_by_reason(self.ring.producer_words).items()}

    @property
    def partial_syncs(self) -> int:
        return self._link_word(ProducerWord.PARTIAL_SYNCS)

    def of_run(self, counter: ProducerWord) -> int:
        """The count of a counter of the link since this run began, even if the ring is older."""
        return self._link_word(counter) - (self.words_before[counter] if self.words_before else 0)

    @property
    def frames(self) -> int:
        return self._shard_word(ConsumerWord.FRAMES)

    @property
    def frame_bytes(self) -> int:
        return self._shard_word(ConsumerWord.FRAME_BYTES)

    @property
    def entries(self) -> int:
        return self._shard_word(ConsumerWord.ENTRIES)

    @property
    def snapshots(self) -> int:
        return self._shard_word(ConsumerWord.SNAPSHOTS)

    @property
    def refusals(self) -> int:
        """Commands that the sink refused, since the ring was made."""
        return self._shard_word(ConsumerWord.REFUSALS)

    @property
    def skipped(self) -> int:
        """Keys of the last snapshot that were skipped."""
        return self._shard_word(ConsumerWord.SKIPPED_KEYS)

    @property
    def left_out_besides(self) -> int:
        """What else of the last snapshot was left out: function libraries."""
        return self._shard_word(ConsumerWord.LEFT_OUT)

    @property
    def snapshots_sent(self) -> int:
        """Whole snapshots that the runner has sent into the inbox."""
        return self._link_word(ProducerWord.SNAPSHOTS_ENDED)

    @property
    def awaits_snapshot(self) -> bool:
        """True from the first full sync until the runner has sent the first whole snapshot."""
        return self.full_syncs > 0 and not self.snapshots_sent

    @property
    def is_loading(self) -> bool:
        """True while a snapshot was sent whole and is not marked as applied."""
        return self.ring is not None and header_words.is_snapshot_pending(self.ring)

    @property
    def is_drained(self) -> bool:
        """True when nothing waits in the ring or in the overflow: everything that was sent is applied."""
        return self.ring is not None and not self.ring.used_bytes and not self.ring.overflow_events

    def _shard_word(self, word: ConsumerWord) -> int:
        return self.ring.consumer_words[word] if self.ring else 0

    def _link_word(self, word: ProducerWord) -> int:
        return self.ring.producer_words[word] if self.ring else 0


def trouble_text(shards: Sequence[ShardProgress]) -> str:
    """What was refused or skipped so far, as text; empty: nothing."""
    refused, skipped = sum(shard.refusals for shard in shards), sum(shard.skipped for shard in shards)
    parts = [f"{figures.plural(refused, 'command')} refused"] if refused else []
    parts += [f"{figures.plural(skipped, 'key')} skipped"] if skipped else []
    return ", ".join(parts)


class ProgressMeter:
    """Turns statuses into progress, with rates over the last second."""

    def __init__(self) -> None:
        self._meters: dict[int, RateMeter] = {}

    def sample(self, statuses: Sequence[ShardStatus], now: float) -> list[ShardProgress]:
        """``now``: seconds of a monotonic clock."""
        return [self._sample(status, now) for status in statuses]

    def _sample(self, status: ShardStatus, now: float) -> ShardProgress:
        meter = self._meters.setdefault(status.index, RateMeter())
        if status.ring is None:
            meter.forget()
        else:
            meter.take(status.ring, now)
        facts = {field.name: getattr(status, field.name) for field in fields(status)}
        return ShardProgress(**facts, rates=meter.rates)
