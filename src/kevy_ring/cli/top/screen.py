"""The screen of top: a line of segments per ring. A rich table would cost more than everything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from kevy_ring.cli import figures
from kevy_ring.cli.ring_columns import BOLD, CYAN, DIM, PLAIN, RED, YELLOW, Column
from kevy_ring.cli.rings.ring_text import label_text
from kevy_ring.cli.top.columns import choose_columns, fit, fit_name, pieces, shows_label
from kevy_ring.cli.top.meter import TopRing
from kevy_ring.cli.top.state import TopState
from kevy_ring.ring.outside.leftovers import is_abandoned

_KEYS = "q quit · r rate · f fill · o overflow · n name · ↑ ↓ enter or number open"
_KEYS_SHORT = "q r f o n ↑↓ enter"
#: With more rings than this, draw a row no more often than this: drawing takes most of the time.
_ROWS_AT_ONCE = 24
_LARGE_REDRAW_S = 0.4
#: A lower screen has no line for the upstream and the sink of the marked ring.
_SERVED_HEIGHT = 10
_MARKED = Style.parse("reverse")

Line = list[Segment]


@dataclass(frozen=True, slots=True)
class Layout:
    """What fits a screen of ``width`` cells. ``rows``: the number of rings that are shown."""

    width: int
    rows: int
    name_cells: int
    columns: tuple[Column, ...]
    cells: int  # of all columns, with a blank before each


def layout_for(rings: Sequence[TopRing], width: int, rows: int) -> Layout:
    longest = max((len(ring.name) for ring in rings), default=0)
    label = max((len(ring.stats.label) for ring in rings if ring.stats), default=0)
    name_cells, columns = choose_columns(width, longest, label)
    return Layout(width, rows, name_cells, columns, sum(column.cells + 1 for column in columns))


def list_lines(rings: Sequence[TopRing], state: TopState, width: int, height: int, now: float) -> list[Line]:
    """At most ``height`` lines of exactly ``width`` cells. A low screen shows only rings.

    ``rings``: in the order to show. The marked ring is always among those that are shown.
    """
    with_ends = height >= 5
    served = _served(rings, state, width) if height >= _SERVED_HEIGHT else []
    room = max(1, height - (3 if with_ends else 1) - len(served))
    state.page = room
    first = _first_shown([ring.name for ring in rings], state.marked, room)
    layout = layout_for(rings, width, min(room, len(rings)))
    lines = [_summary(rings, state, width)] if with_ends else []
    if rings and height > 1:
        lines.append(_titles(layout))
    for number, ring in enumerate(rings[first : first + room], first + 1):
        lines.append(_row(number, ring, layout, now, is_marked=ring.name == state.marked))
    if with_ends:
        blank = [Segment(" " * width, PLAIN)]
        lines += [blank] * (height - 1 - len(served) - len(lines)) + served
        keys = _KEYS if width > len(_KEYS) else _KEYS_SHORT
        more = len(rings) - room
        lines.append([Segment(fit(f" {keys}" + (f" · {more} more" if more > 0 else ""), width), DIM)])
    return lines


def _served(rings: Sequence[TopRing], state: TopState, width: int) -> list[Line]:
    """A line with the upstream and the sink of the marked ring; none if it has no label, or a column shows it."""
    ring = next((ring for ring in rings if ring.name == state.marked), None)
    if ring is None or ring.stats is None or not ring.stats.label or shows_label(layout_for(rings, width, 0).columns):
        return []
    text = f" {figures.name(ring.name)}: "
    return [[Segment(fit(text + label_text(ring.stats.label, max(1, width - cell_len(text))), width), DIM)]]


def table_lines(rings: Sequence[TopRing], width: int, now: float) -> list[Line]:
    """All rings, without summary and keys."""
    layout = layout_for(rings, width, len(rings))
    return [_titles(layout), *(_row(number, ring, layout, now) for number, ring in enumerate(rings, 1))]


def label_lines(rings: Sequence[TopRing], width: int) -> list[str]:
    """The upstream and the sink of each ring, if the table of this width has no column for them."""
    if shows_label(layout_for(rings, width, 0).columns):
        return []
    labels = [(figures.name(ring.name), ring.stats.label) for ring in rings if ring.stats and ring.stats.label]
    return [f"{name}: {label_text(label, width - len(name) - 2)}" for name, label in labels]


def _first_shown(names: list[str], marked: str | None, room: int) -> int:
    if marked not in names or len(names) <= room:
        return 0
    return max(0, min(names.index(marked) - room // 2, len(names) - room))


def _summary(rings: Sequence[TopRing], state: TopState, width: int) -> Line:
    rates = [ring.rates for ring in rings]
    overflow = sum(ring.stats.overflow_bytes for ring in rings if ring.stats)
    text = (
        f" {figures.plural(len(rings), 'ring')} · in {figures.short(sum(r.in_events for r in rates))}/s "
        f"{figures.size(sum(r.in_bytes for r in rates))}/s · out {figures.short(sum(r.out_events for r in rates))}/s "
        f"{figures.size(sum(r.out_bytes for r in rates))}/s · overflow {figures.size(overflow)} · by {state.order}"
    )
    return [Segment(fit(text, width), BOLD)]


def _titles(layout: Layout) -> Line:
    text = "  # " + fit("ring", layout.name_cells)
    text += "".join(f" {fit(column.title, column.cells, column.is_right)}" for column in layout.columns)
    return [Segment(fit(text, layout.width), DIM)]


def _row(number: int, ring: TopRing, layout: Layout, now: float, *, is_marked: bool = False) -> Line:
    drawn = (number, layout.columns, layout.width, layout.name_cells, is_marked, ring.gone_at, ring.fault)
    if drawn == ring.drawn and _is_fresh(ring, layout, now):
        return ring.row
    text, look = _instead(ring, now)
    line = [Segment(f"{number:>3} "[:4], DIM), Segment(fit_name(ring.name, layout.name_cells), look)]
    used = 4 + layout.name_cells
    if text:
        line.append(Segment(fit(f" {text}", max(0, layout.width - used)), look))
    else:
        line += pieces(ring, layout.columns)
        used += layout.cells
        line.append(Segment(" " * max(0, layout.width - used), PLAIN))
    if used > layout.width:
        line = [Segment(fit("".join(segment.text for segment in line), layout.width), look)]
    if is_marked:
        line = [Segment(text, (style or PLAIN) + _MARKED) for text, style, _ in line]
    ring.drawn, ring.drawn_at, ring.row = drawn, now, line
    return line


def _is_fresh(ring: TopRing, layout: Layout, now: float) -> bool:
    """Whether the row on the screen is still good enough."""
    if ring.is_quiet:
        return int(now) == int(ring.drawn_at)  # only its ages change
    return layout.rows > _ROWS_AT_ONCE and now - ring.drawn_at < _LARGE_REDRAW_S


def _instead(ring: TopRing, now: float) -> tuple[str, Style]:
    """The text instead of missing or wrong figures (empty: show the figures), and the style of the name."""
    if ring.gone_at is not None:
        return f"gone {figures.age(now - ring.gone_at)} ago", DIM
    if ring.fault is not None:
        return f"corrupt: {ring.fault}" if ring.stats is not None else f"unreadable: {ring.fault}", RED
    if ring.stats is None:
        return "not read yet", DIM
    if is_abandoned(ring.stats):
        return "", RED
    return "", YELLOW if ring.stats.overflow_events else CYAN if ring.rates.in_events >= 0.5 else PLAIN
