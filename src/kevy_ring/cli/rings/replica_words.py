"""What a runner and a shard say of themselves in a ring's application words, where they do."""

from __future__ import annotations

from dataclasses import dataclass

from kevy_ring.replica.link_words import LinkState, LinkWord
from kevy_ring.ring import RingStats


@dataclass(frozen=True, slots=True)
class ReplicaWords:
    """Where a stream stands. ``link_state`` is None for a ring that no runner has been in; offsets: None for none yet.

    ``behind``: see :func:`how_far_behind`.
    """

    link_state: LinkState | None
    received_offset: int | None
    upstream_offset: int | None
    applied_offset: int | None

    behind: int | None


def how_far_behind(stats: RingStats) -> int | None:
    """How far what is applied is behind what was received, in the upstream's own unit; None where either is unknown."""
    received, applied = stats.producer_words[LinkWord.RECEIVED_OFFSET], stats.applied_offset
    if not received or applied is None:
        return None
    # A runner tells what it received ten times a second; what is applied was received.
    return max(0, received - 1 - applied)


def replica_words(stats: RingStats) -> ReplicaWords:
    """Read them; what no runner writes is taken as nothing."""
    words = stats.producer_words
    state = words[LinkWord.STATE]
    if not 0 < state <= max(LinkState):
        return ReplicaWords(None, None, None, stats.applied_offset, None)
    received, upstream = words[LinkWord.RECEIVED_OFFSET], words[LinkWord.UPSTREAM_OFFSET]
    return ReplicaWords(
        LinkState(state),
        received - 1 if received else None,
        upstream - 1 if upstream else None,
        stats.applied_offset,
        how_far_behind(stats),
    )
