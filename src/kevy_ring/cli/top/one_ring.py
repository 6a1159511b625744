"""One ring, opened in top: what is wrong with it, its history as a line of bars, and its header in sentences."""

from __future__ import annotations

from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from kevy_ring.cli import figures
from kevy_ring.cli.ring_columns import BOLD, CYAN, DIM, PLAIN, RED, bar, fill_look, fill_share
from kevy_ring.cli.rings.facts import ring_facts, ring_faults
from kevy_ring.cli.top.columns import fit, spark
from kevy_ring.cli.top.meter import HISTORY, TopRing
from kevy_ring.cli.top.screen import Line
from kevy_ring.errors import SegmentError
from kevy_ring.inbox.resume_point import read_published
from kevy_ring.ring import Segment as RingSegment
from kevy_ring.ring.time_in_ring import read_time_in_ring

_LABEL = 12
_PLAIN_CONSOLE = Console(width=1000, color_system=None, legacy_windows=False)


def ring_lines(ring: TopRing, width: int, height: int, now: float) -> list[Line]:
    """At most ``height`` lines of exactly ``width`` cells. Longer lines are cut."""
    state = "gone" if ring.gone_at is not None else "live"
    lines = [_line(width, (f" {figures.name(ring.name)}", BOLD), (f"  {state}", DIM))]
    faults = [f"corrupt: {ring.fault}"] if ring.fault else ring_faults(ring.stats) if ring.stats else []
    lines += [_line(width, (f" {'wrong':<{_LABEL}}", DIM), (fault, RED)) for fault in faults]
    if ring.stats is not None:
        lines += _figures(ring, width)
        lines += _facts(ring, width)
    lines = lines[: max(1, height - 1)]
    blank = [Segment(" " * width, PLAIN)]
    lines += [blank] * (height - 1 - len(lines))
    lines.append(_line(width, (" esc back · ↑ ↓ another ring · q quit", DIM)))
    return lines[:height]


def _figures(ring: TopRing, width: int) -> list[Line]:
    rates, cells = ring.rates, max(8, min(40, width - _LABEL - 10))
    assert ring.stats is not None
    share = fill_share(ring.stats)
    fill = figures.percent(ring.stats.used_bytes, ring.stats.capacity)
    history = spark(ring.history, min(HISTORY, width - _LABEL - 2))
    shown = (
        ("fill", f"{bar(share, cells)} {fill}", fill_look(share)),
        ("in", f"{figures.short(rates.in_events)}/s  {figures.size(rates.in_bytes)}/s", PLAIN),
        ("", history, CYAN),
        ("out", f"{figures.short(rates.out_events)}/s  {figures.size(rates.out_bytes)}/s", PLAIN),
        ("wakes", f"{figures.short(rates.wakes)}/s", PLAIN),
    )
    return [_line(width, (f" {label:<{_LABEL}}", DIM), (text, look)) for label, text, look in shown]


def _facts(ring: TopRing, width: int) -> list[Line]:
    assert ring.stats is not None
    published = times = None
    try:
        segment = RingSegment.attach(ring.name)
        published, times = read_published(segment), read_time_in_ring(segment)
    except (SegmentError, ValueError):
        pass  # it is gone or corrupt by now
    lines = []
    for label, fact in ring_facts(ring.stats, published, times, max(1, width - _LABEL - 1)):
        parts = [(f" {label:<{_LABEL}}", DIM)]
        text = fact if isinstance(fact, Text) else Text(fact)
        parts += [(each.text, each.style or PLAIN) for each in text.render(_PLAIN_CONSOLE) if each.text]
        lines.append(_line(width, *parts))
    return lines


def _line(width: int, *parts: tuple[str, Style]) -> Line:
    """The parts one after another, cut or padded to the width."""
    line, left = [], width
    for text, style in parts:
        if left > 0:
            shown = text if len(text) <= left else fit(text, left)
            line.append(Segment(shown, style))
            left -= len(shown)
    line.append(Segment(" " * max(0, left), PLAIN))
    return line
