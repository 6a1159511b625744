"""A ring's header as text, and as plain values for a program."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from kevy_ring.cli import figures
from kevy_ring.cli.tables import cut
from kevy_ring.ring import RingStats, RoleState, RoleStats
from kevy_ring.ring.outside.leftovers import OddSegment, is_abandoned, is_unused
from kevy_ring.ring.segment import fitting_label
from kevy_ring.ring.stats import VERSION

ROLE_STYLES = {
    RoleState.VACANT: "dim",
    RoleState.ALIVE: "green",
    RoleState.DEAD: "bold red",
    RoleState.CLOSED: "yellow",
}


#: Figures of the header that have the same name in JSON.
_SAME_NAMES = (
    "events_in", "bytes_in", "publishes", "full_hits", "events_out", "bytes_out", "drains", "data_wakes", "space_wakes",
    "last_drain_age_s", "overflow_events", "overflow_bytes", "overflow_peak_bytes", "overflow_age_s", "applied_offset",
)  # fmt: skip


def role_label(role: RoleStats) -> str:
    """``alive 1234``, ``dead 1234``, ``vacant``."""
    label = role.state.name.lower()
    return f"{label} {role.pid}" if role.state is not RoleState.VACANT and role.pid else label


def role_text(role: RoleStats) -> Text:
    return Text(role_label(role), style=ROLE_STYLES[role.state])


def missing_text(name: str) -> str:
    return f"there is no ring {name!r}: kevy-ring ls shows the rings that exist"


def overflow_text(stats: RingStats) -> str:
    if not stats.overflow_events:
        return "0"
    return f"{figures.plural(stats.overflow_events, 'event')}, {figures.size(stats.overflow_bytes)}"


#: Between the upstream and the sink in the label of a ring.
_TO = " → "


def purpose_text(stats: RingStats, cells: int | None = None) -> str:
    """The purpose of a ring: ``kept; its service is not running (redis://a → null)``; empty: unknown.

    ``cells``: the most that it may take. Then a long upstream and a long sink lose their middles.
    """
    text = ""
    if stats.is_kept:
        text = "kept; its service is not running" if is_unused(stats) else "kept; its service is running"
    around = len(f"{text} ()") if text else 0
    label = label_text(stats.label, None if cells is None else cells - around)
    return f"{text} ({label})" if text and label else text or label


def ring_label(upstream: str, sink: str) -> str:
    """The label of a ring for its header. Names that are too long for it lose their middles."""
    label = whole = figures.name(f"{upstream}{_TO}{sink}")
    cells = len(whole)
    while fitting_label(label) != label:
        cells -= 4
        label = label_text(whole, cells)
    return label


def label_text(label: str, cells: int | None = None) -> str:
    """The label of a ring, for a terminal: its upstream and its sink, if ``ingest`` made it."""
    shown = figures.name(label)
    if cells is None or len(shown) <= cells:
        return shown
    upstream, to, sink = shown.partition(_TO)
    room = max(2, cells - len(to))
    first = min(len(upstream), max(room // 2, room - len(sink)))
    return cut(upstream, first) + to + cut(sink, room - first) if to else cut(shown, cells)


def users_text(stats: RingStats) -> str:
    """Which processes use a ring, as a sentence."""
    used = [("creator", stats.creator_pid)] if stats.creator_alive else []
    for name, role in (("producer", stats.producer), ("consumer", stats.consumer)):
        if role.state is RoleState.ALIVE:
            used.append((name, role.pid))
    return ", ".join(f"its {name} (pid {pid}) is alive" for name, pid in used) or "a process has started to use it"


def odd_text(odd: OddSegment) -> str:
    """Describes a segment that is no whole ring of this version, and says what removes it."""
    what = f"segment {figures.name(odd.name)!r} ({figures.size(odd.size_bytes)}) {odd.oddity.value}"
    if odd.oddity is odd.oddity.OTHER_VERSION:
        what += f" ({odd.version}; this kevy-ring has {VERSION})"
    if odd.users:
        pids = ", ".join(map(str, odd.users))
        return f"{what}; it is in use by process {pids}"
    remedy = f"kevy-ring gc {figures.name(odd.name)}"
    if odd.is_kept:
        return f"{what}; it was kept, and its service is not running; {remedy} removes it"
    if odd.mapped_by is None:
        return f"{what}; some processes hide whether they use it, so it is removed only by name: {remedy}"
    return f"{what}; no process uses it: kevy-ring gc removes it"


def odd_object(odd: OddSegment) -> dict[str, Any]:
    """The same, as plain values."""
    return {
        "name": odd.name,
        "error": odd_text(odd),
        "oddity": odd.oddity.name.lower(),
        "layout_version": odd.version,
        "size_bytes": odd.size_bytes,
        "abandoned": odd.is_abandoned,
        "kept": odd.is_kept,
        "creator": {"pid": odd.creator_pid, "alive": odd.creator_alive},
        "mapped_by": None if odd.mapped_by is None else list(odd.mapped_by),
    }


def ring_object(stats: RingStats) -> dict[str, Any]:
    """The whole header as plain values."""
    return {
        "name": stats.name,
        "capacity_bytes": stats.capacity,
        "used_bytes": stats.used_bytes,
        "head": stats.head,
        "tail": stats.tail,
        "abandoned": is_abandoned(stats),
        "kept": stats.is_kept,
        "in_use": not is_unused(stats),
        "label": stats.label,
        "created_unix_s": round(stats.created_unix_s, 3),
        "creator": {"pid": stats.creator_pid, "alive": stats.creator_alive},
        "producer": _role_object(stats.producer),
        "consumer": _role_object(stats.consumer),
        **{name: getattr(stats, name) for name in _SAME_NAMES},
        "producer_words": list(stats.producer_words),
        "consumer_words": list(stats.consumer_words),
    }


def _role_object(role: RoleStats) -> dict[str, Any]:
    return {"state": role.state.name.lower(), "pid": role.pid, "taken": role.epoch}
