"""Rings that nobody will remove any more: their creator and both of their roles are dead."""

from __future__ import annotations

from kevy_ring.ring.segment import remove_segment
from kevy_ring.ring.stats import RingStats, RoleState, inspect_ring


def is_abandoned(stats: RingStats) -> bool:
    """Whether no process is left that made this ring or has a role in it. A stopped process is not dead.

    The roles are marked by the kernel at the death of their holders; the creator is looked up by pid and start time,
    so a creator in another pid namespace that shares the shared memory looks dead.
    """
    roles = (stats.producer, stats.consumer)
    return not stats.creator_alive and all(role.state is not RoleState.ALIVE for role in roles)


def remove_abandoned(name: str) -> RingStats | None:
    """Remove an abandoned ring and its doorbells; returns what it was, None (and removes nothing) when it is not one.

    Who is attached keeps the memory, but nobody finds the name any more. Raises :class:`SegmentError`.
    """
    stats = inspect_ring(name)
    if not is_abandoned(stats):
        return None
    remove_segment(name)
    return stats
