"""What a runner shows of its link: the application words of a ring's producer, read live by other processes."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol

from kevy_ring.replica.protocol import FullSyncReason, ReplicationProtocol, Synced


class LinkState(IntEnum):
    """What a runner is doing; the value of ``LinkWord.STATE``."""

    NONE = 0  # no runner has been here yet
    CONNECTING = 1
    HANDSHAKE = 2
    SNAPSHOT = 3
    STREAMING = 4
    WAITING = 5  # between two attempts
    REFUSED = 6  # between two attempts too: the upstream said no, in words
    STOPPED = 7
    RECEIVER_GONE = 8

    @property
    def is_following(self) -> bool:
        """Whether the upstream is followed: in its snapshot or in its stream."""
        return self in (LinkState.SNAPSHOT, LinkState.STREAMING)


class LinkWord(IntEnum):
    """The index of each application word that a runner sets. Offsets are stored plus one, so that 0 means none."""

    FULL_REASONS = 6  # and 7: see ``full_syncs_by_reason``
    STATE = 8
    RECEIVED_OFFSET = 9
    UPSTREAM_OFFSET = 10
    SNAPSHOT_BYTES = 11
    SNAPSHOT_TOTAL = 12
    FULL_SYNCS = 13
    PARTIAL_SYNCS = 14
    RECONNECTS = 15


# Six counters in two words. A runner that needed a full sync every second would fill one in 24 days; it then stays.
_REASONS_PER_WORD, _REASON_BITS = 3, 21
_REASON_MAX = (1 << _REASON_BITS) - 1


def full_syncs_by_reason(producer_words: Sequence[int]) -> dict[FullSyncReason, int]:
    """How many full syncs of this ring's runners had which reason, from the words of the ring's producer."""
    counts = {}
    for number, reason in enumerate(FullSyncReason):
        word, place = divmod(number, _REASONS_PER_WORD)
        counts[reason] = producer_words[LinkWord.FULL_REASONS + word] >> place * _REASON_BITS & _REASON_MAX
    return counts


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
        self.full_syncs = before[LinkWord.FULL_SYNCS] if before else 0
        self.partial_syncs = before[LinkWord.PARTIAL_SYNCS] if before else 0
        self.reconnects = before[LinkWord.RECONNECTS] if before else 0
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
        self._sender.set_word(LinkWord.STATE, state)
        self._sender.set_word(LinkWord.FULL_SYNCS, self.full_syncs)
        self._sender.set_word(LinkWord.PARTIAL_SYNCS, self.partial_syncs)
        counts = [min(count, _REASON_MAX) for count in self._by_reason.values()]
        for word, first in enumerate(range(0, len(counts), _REASONS_PER_WORD)):
            packed = sum(count << i * _REASON_BITS for i, count in enumerate(counts[first : first + _REASONS_PER_WORD]))
            self._sender.set_word(LinkWord.FULL_REASONS + word, packed)
        self._sender.set_word(LinkWord.RECONNECTS, self.reconnects)

    def publish(self, protocol: ReplicationProtocol) -> None:
        """Show where the conversation stands."""
        self.publish_state(_state_of(protocol))
        self._sender.set_word(LinkWord.SNAPSHOT_BYTES, protocol.snapshot_bytes)
        self._sender.set_word(LinkWord.SNAPSHOT_TOTAL, protocol.snapshot_total or 0)
        if protocol.last_event_offset is not None:
            self._received = protocol.last_event_offset
        elif self._received is None or protocol.received_offset is None:
            self._received = protocol.received_offset
        upstream, received = protocol.upstream_offset, protocol.received_offset
        if upstream is not None and received is not None and upstream <= received:
            upstream = self._received
        self._sender.set_word(LinkWord.RECEIVED_OFFSET, _plus_one(self._received))
        self._sender.set_word(LinkWord.UPSTREAM_OFFSET, _plus_one(upstream))


def _state_of(protocol: ReplicationProtocol) -> LinkState:
    if protocol.in_snapshot:
        return LinkState.SNAPSHOT
    return LinkState.STREAMING if protocol.established else LinkState.HANDSHAKE


def _plus_one(offset: int | None) -> int:
    return 0 if offset is None else offset + 1
