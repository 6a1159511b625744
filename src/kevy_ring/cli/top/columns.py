"""The columns of top, and the choice of those that fit a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style

from kevy_ring.cli import figures, ring_columns
from kevy_ring.cli.rates import Rates
from kevy_ring.cli.ring_columns import CYAN, DIM, GREEN, PLAIN, RED, YELLOW, Cell, Column, rate_cell
from kevy_ring.cli.rings.ring_text import ROLE_STYLES, label_text, role_label
from kevy_ring.cli.tables import cut
from kevy_ring.cli.top.meter import SPARK_LOOKS, TopRing
from kevy_ring.inbox.header_words import how_far_behind
from kevy_ring.ring import RingStats, RoleState, RoleStats
from kevy_ring.ring.outside.process_state import ProcessState, process_state

_SPARKS = "▁▂▃▄▅▆▇█"
_NAME_MIN, _NAME_MAX = 10, 30
#: Columns of this rank and higher give way to a name of up to so many cells.
_NAME_FIRST_RANK, _NAME_EASY = 6, 25
#: A column with labels has at least so many cells, unless all labels are shorter, and takes so many before the columns
#: of higher ranks get any.
_SERVES_LEAST, _SERVES_EASY = 32, 60
#: Look up a role's process in the process table if records wait and were not drained for this long.
_SUSPECT_S = 2.0


def spark(history: Sequence[float], cells: int) -> str:
    """The last ``cells`` numbers as bars, relative to the largest of them."""
    shown = list(history)[-cells:]
    most = max(shown, default=0.0)
    if not most:
        return _SPARKS[0] * len(shown)
    scale = 7.999 / most
    return "".join([_SPARKS[int(value * scale)] for value in shown])


def _overflow_age(stats: RingStats | None, rates: Rates) -> Cell:
    if stats is None or not stats.overflow_events:
        return figures.NOTHING, DIM
    return figures.age(stats.overflow_age_s), YELLOW


def _drained(stats: RingStats | None, rates: Rates) -> Cell:
    if stats is None or stats.last_drain_age_s is None:
        return "never" if stats else figures.NOTHING, DIM
    return figures.age(stats.last_drain_age_s), YELLOW if is_suspect(stats) else PLAIN


def is_suspect(stats: RingStats) -> bool:
    """Whether records wait and were not drained for a while."""
    return stats.used_bytes > 0 and (stats.last_drain_age_s or 0.0) > _SUSPECT_S


_ROLE_STYLES = {state: Style.parse(style) for state, style in ROLE_STYLES.items()}


def _role(role: RoleStats, *, ask: bool) -> Cell:
    if ask and role.state is RoleState.ALIVE and process_state(role.pid) is ProcessState.STOPPED:
        return f"stopped {role.pid}", RED
    return role_label(role), _ROLE_STYLES[role.state]


def _producer(stats: RingStats | None, rates: Rates) -> Cell:
    return _role(stats.producer, ask=False) if stats else (figures.NOTHING, DIM)


def _consumer(stats: RingStats | None, rates: Rates) -> Cell:
    return _role(stats.consumer, ask=is_suspect(stats)) if stats else (figures.NOTHING, DIM)


def _behind(stats: RingStats | None, rates: Rates) -> Cell:
    behind = how_far_behind(stats) if stats else None
    if behind is None:
        return figures.NOTHING, DIM
    return (f"-{figures.short(behind)}", YELLOW) if behind else ("level", GREEN)


def _serves(stats: RingStats | None, rates: Rates) -> Cell:
    return (stats.label, DIM) if stats and stats.label else (figures.NOTHING, DIM)


#: The upstream and the sink. ``pieces`` cuts it, because only it knows how wide the column is.
_SERVES = Column("upstream → sink", 15, _serves, is_right=False)
#: ``pieces`` fills its cell from the ring's history, not from the last look.
_HISTORY = Column("history", SPARK_LOOKS, lambda stats, rates: ("", CYAN))
#: In the order of the screen. A narrow terminal drops the columns with the highest ranks.
_RANKS = {
    ring_columns.FILL_BAR: 8,
    ring_columns.FILL: 0,
    ring_columns.IN_EVENTS: 1,
    ring_columns.IN_BYTES: 13,
    ring_columns.OUT_EVENTS: 2,
    ring_columns.OUT_BYTES: 14,
    ring_columns.OVERFLOW: 3,
    Column("age", 6, _overflow_age): 12,
    Column("wakes/s", 7, lambda stats, rates: rate_cell(rates.wakes)): 10,
    Column("drained", 7, _drained): 4,
    Column("producer", 15, _producer, is_right=False): 9,
    Column("consumer", 15, _consumer, is_right=False): 5,
    ring_columns.APPLIED: 15,
    Column("behind", 6, _behind): 11,
    _HISTORY: 7,
    _SERVES: 6,
}


@lru_cache(maxsize=16)
def choose_columns(width: int, longest_name: int, longest_label: int = 0) -> tuple[int, tuple[Column, ...]]:
    """The cells for the name, and the other columns that fit ``width``, in their order.

    ``longest_label``: 0 if no ring has a label; then there is no column for it.
    """
    left = width - 4 - _NAME_MIN  # the ring's number and a blank come before the name
    easy = max(0, min(longest_name, _NAME_EASY) - _NAME_MIN)
    serves = 0
    chosen = []
    for column in sorted(_RANKS, key=_RANKS.__getitem__):
        cells = column.cells
        room = left - 1 - (easy if _RANKS[column] >= _NAME_FIRST_RANK else 0)
        if column is _SERVES:
            cells = serves = min(room, max(cells, min(longest_label, _SERVES_EASY)))
            if not longest_label or serves < min(_SERVES_LEAST, max(column.cells, longest_label)):
                continue
        if cells > room:
            break
        left -= cells + 1
        chosen.append(column)
    more = max(0, min(left, max(longest_name, _NAME_MIN) - _NAME_MIN, _NAME_MAX - _NAME_MIN))
    serves = max(serves, min(serves + left - more, longest_label))
    shown = (replace(_SERVES, cells=serves) if column is _SERVES else column for column in _RANKS if column in chosen)
    return _NAME_MIN + more, tuple(shown)


def shows_label(columns: Sequence[Column]) -> bool:
    """Whether one of the columns shows the upstream and the sink."""
    return any(column.cell is _serves for column in columns)


@lru_cache(maxsize=4096)
def fit_name(text: str, cells: int) -> str:
    """``text``, safe for a terminal, in exactly ``cells`` cells: a longer one loses its middle."""
    return fit(cut(figures.name(text), cells), cells)


@lru_cache(maxsize=4096)
def _fit_label(label: str, cells: int) -> str:
    return fit(label_text(label, cells), cells)


@lru_cache(maxsize=4096)
def fit(text: str, cells: int, is_right: bool = False) -> str:
    """``text`` in exactly ``cells`` cells: cut with a mark, or padded."""
    length = cell_len(text)
    if length > cells:
        return set_cell_size(text, cells - 1) + "…"
    return " " * (cells - length) + text if is_right else text + " " * (cells - length)


def pieces(ring: TopRing, columns: Sequence[Column]) -> list[Segment]:
    """A ring's cells, with a blank before each."""
    line: list[Segment] = []
    last, together = PLAIN, ""
    for column in columns:
        text, style = column.cell(ring.stats, ring.rates)
        if column is _HISTORY:
            text = spark(ring.recent, SPARK_LOOKS)
        cells = column.cells
        if column.cell is _serves:
            text = _fit_label(text, cells)
        elif len(text) > cells:
            text = fit(text, cells)
        if style is not last:
            line.append(Segment(together, last))
            last, together = style, ""
        together += text.rjust(cells + 1) if column.is_right else " " + text.ljust(cells)
    line.append(Segment(together, last))
    return line
