"""A ring's header in words, and as plain values for a program."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from kevy_ring.cli import figures
from kevy_ring.ring import RingStats, RoleState, RoleStats
from kevy_ring.ring.leftovers import is_abandoned

_LOOKS = {
    RoleState.VACANT: ("nobody yet", "dim"),
    RoleState.ALIVE: ("alive", "green"),
    RoleState.DEAD: ("dead", "bold red"),
    RoleState.CLOSED: ("closed", "yellow"),
}


def role_text(role: RoleStats) -> Text:
    """``alive 1234``, ``dead 1234``, ``nobody yet``."""
    word, look = _LOOKS[role.state]
    return Text(f"{word} {role.pid}" if role.state is not RoleState.VACANT and role.pid else word, style=look)


def overflow_words(stats: RingStats) -> str:
    if not stats.overflow_events:
        return "0"
    return f"{figures.plural(stats.overflow_events, 'event')}, {figures.size(stats.overflow_bytes)}"


def ring_object(stats: RingStats) -> dict[str, Any]:
    """All of the header as plain values."""
    return {
        "name": stats.name,
        "capacity_bytes": stats.capacity,
        "used_bytes": stats.used_bytes,
        "head": stats.head,
        "tail": stats.tail,
        "abandoned": is_abandoned(stats),
        "created_unix_s": round(stats.created_unix_s, 3),
        "creator": {"pid": stats.creator_pid, "alive": stats.creator_alive},
        "producer": _role_object(stats.producer),
        "consumer": _role_object(stats.consumer),
        "events_in": stats.events_in,
        "bytes_in": stats.bytes_in,
        "publishes": stats.publishes,
        "full_hits": stats.full_hits,
        "events_out": stats.events_out,
        "bytes_out": stats.bytes_out,
        "drains": stats.drains,
        "data_wakes": stats.data_wakes,
        "space_wakes": stats.space_wakes,
        "last_drain_age_s": stats.last_drain_age_s,
        "overflow_events": stats.overflow_events,
        "overflow_bytes": stats.overflow_bytes,
        "overflow_peak_bytes": stats.overflow_peak_bytes,
        "overflow_age_s": stats.overflow_age_s,
        "applied_offset": stats.applied_offset,
        "producer_words": list(stats.producer_words),
        "consumer_words": list(stats.consumer_words),
    }


def _role_object(role: RoleStats) -> dict[str, Any]:
    return {"state": role.state.name.lower(), "pid": role.pid, "taken": role.epoch}
