"""A runner's report about its link: the application words of a ring's producer. Other processes read them live."""

from __future__ import annotations

from collections.abc import Sequence

from kevy_ring.inbox import ReplicaInboxSender
from kevy_ring.inbox.header_words import LinkState, ProducerWord, packed_counts, unpacked_counts, word_of_offset
from kevy_ring.replica.protocol import FullSyncReason, ReplicationProtocol, Synced


def full_syncs_by_reason(producer_words: Sequence[int]) -> dict[FullSyncReason, int]:
    """The full syncs of this ring's runners, counted by reason. Decoded from the words of the ring's producer."""
    words = producer_words[ProducerWord.FULL_SYNC_REASONS : ProducerWord.FULL_SYNC_REASONS_2 + 1]
    return dict(zip(FullSyncReason, unpacked_counts(words), strict=True))


class LinkWords:
    """The values of the words. They are published together, but not after every received piece.

    The published offsets are those of events, because a shard marks events as applied. If bytes without an event (a
    Redis PING) follow the last event, its offset still counts as "everything received". So
    applied == received == upstream means "caught up" for every protocol.

    ``before``: the producer's words that the last runner left. Its counts continue.
    """

    def __init__(self, sender: ReplicaInboxSender, before: Sequence[int] = ()) -> None:
        self._sender = sender
        self._received: int | None = None
        self.state = LinkState.NONE
        self.heard_at_s: float | None = None  # monotonic time of the last byte from the upstream, of any link
        self.full_syncs = before[ProducerWord.FULL_SYNCS] if before else 0
        self.partial_syncs = before[ProducerWord.PARTIAL_SYNCS] if before else 0
        self.reconnects = before[ProducerWord.RECONNECTS] if before else 0
        self.full_reason = FullSyncReason.FIRST  # of the open link, if it begins with a full sync
        self._by_reason = full_syncs_by_reason(before) if before else dict.fromkeys(FullSyncReason, 0)

    def count_sync(self, synced: Synced) -> None:
        """Count how a link started."""
        if synced == "full":
            self.full_syncs += 1
            self._by_reason[self.full_reason] += 1
        else:
            self.partial_syncs += 1

    def publish_state(self, state: LinkState) -> None:
        """Publish ``state`` and the counters."""
        self.state = state
        self._sender.set_word(ProducerWord.LINK_STATE, state)
        self._sender.set_word(ProducerWord.FULL_SYNCS, self.full_syncs)
        self._sender.set_word(ProducerWord.PARTIAL_SYNCS, self.partial_syncs)
        for number, word in enumerate(packed_counts(list(self._by_reason.values()))):
            self._sender.set_word(ProducerWord.FULL_SYNC_REASONS + number, word)
        self._sender.set_word(ProducerWord.RECONNECTS, self.reconnects)
        if self.heard_at_s is not None:  # an earlier runner's value stays until this one has heard something
            self._sender.set_word(ProducerWord.HEARD_NS, int(self.heard_at_s * 1e9))

    def publish(self, protocol: ReplicationProtocol) -> None:
        """Publish the state and the offsets of the conversation."""
        state = LinkState.STREAMING if protocol.established else LinkState.HANDSHAKE
        self.publish_state(LinkState.SNAPSHOT if protocol.in_snapshot else state)
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
