"""What a runner shows of its link: the application words of a ring's producer, read live by other processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kevy_ring.inbox.header_words import LinkState, ProducerWord, packed_counts, unpacked_counts, word_of_offset
from kevy_ring.replica.protocol import FullSyncReason, ReplicationProtocol, Synced


def full_syncs_by_reason(producer_words: Sequence[int]) -> dict[FullSyncReason, int]:
    """How many full syncs of this ring's runners had which reason, from the words of the ring's producer."""
    words = producer_words[ProducerWord.FULL_SYNC_REASONS : ProducerWord.FULL_SYNC_REASONS_2 + 1]
    return dict(zip(FullSyncReason, unpacked_counts(words), strict=True))


class WordSender(Protocol):
    """The one method of a sender that is needed here."""

    def set_word(self, index: int, value: int, /) -> None:
        """Publish an application word."""


class LinkWords:
    """The words' values, kept here and published together; cheap, but not for every piece received.

    The offsets shown are those of events, because these are what a shard can mark applied: where an upstream's
    stream also holds bytes that are no event (a Redis PING), "everything received" is the last event's offset. So
    applied == received == upstream is "caught up" for every protocol.

    ``before``: the words of the ring's producer as the last runner left them, whose counts continue.
    """

    def __init__(self, sender: WordSender, before: Sequence[int] = ()) -> None:
        self._sender = sender
        self._received: int | None = None
        self.state = LinkState.NONE
        self.full_syncs = before[ProducerWord.FULL_SYNCS] if before else 0
        self.partial_syncs = before[ProducerWord.PARTIAL_SYNCS] if before else 0
        self.reconnects = before[ProducerWord.RECONNECTS] if before else 0
        self.full_reason = FullSyncReason.FIRST  # of the link that is open now, should it begin with a full sync
        self._by_reason = full_syncs_by_reason(before) if before else dict.fromkeys(FullSyncReason, 0)

    def count_sync(self, synced: Synced) -> None:
        """A link started in this way."""
        if synced == "full":
            self.full_syncs += 1
            self._by_reason[self.full_reason] += 1
        else:
            self.partial_syncs += 1

    def publish_state(self, state: LinkState) -> None:
        """Show ``state`` and the counters."""
        self.state = state
        self._sender.set_word(ProducerWord.LINK_STATE, state)
        self._sender.set_word(ProducerWord.FULL_SYNCS, self.full_syncs)
        self._sender.set_word(ProducerWord.PARTIAL_SYNCS, self.partial_syncs)
        for number, word in enumerate(packed_counts(list(self._by_reason.values()))):
            self._sender.set_word(ProducerWord.FULL_SYNC_REASONS + number, word)
        self._sender.set_word(ProducerWord.RECONNECTS, self.reconnects)

    def publish(self, protocol: ReplicationProtocol) -> None:
        """Show where the conversation stands."""
        self.publish_state(_state_of(protocol))
        self._sender.set_word(ProducerWord.SNAPSHOT_BYTES, protocol.snapshot_bytes)
        self._sender.set_word(ProducerWord.SNAPSHOT_TOTAL, protocol.snapshot_total or 0)
        if protocol.last_event_offset is not None:
            self._received = protocol.last_event_offset
        elif self._received is None or protocol.received_offset is None:
            self._received = protocol.received_offset
        upstream, received = protocol.upstream_offset, protocol.received_offset
        if upstream is not None and received is not None and upstream <= received:
            upstream = self._received
        self._sender.set_word(ProducerWord.RECEIVED_OFFSET, word_of_offset(self._received))
        self._sender.set_word(ProducerWord.UPSTREAM_OFFSET, word_of_offset(upstream))


def _state_of(protocol: ReplicationProtocol) -> LinkState:
    if protocol.in_snapshot:
        return LinkState.SNAPSHOT
    return LinkState.STREAMING if protocol.established else LinkState.HANDSHAKE
