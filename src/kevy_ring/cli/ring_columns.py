"""The columns that show the figures of a ring in the tables of ``top`` and ``ingest``: title, width and cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from rich.style import Style

from kevy_ring.cli import figures
from kevy_ring.cli.rates import Rates
from kevy_ring.inbox.header_words import received_at_least
from kevy_ring.ring import RingStats

PLAIN, DIM, BOLD = Style.null(), Style.parse("dim"), Style.parse("bold")
GREEN, YELLOW, RED, CYAN = (Style.parse(name) for name in ("green", "yellow", "red", "cyan"))
BAR_CELLS = 8
_EIGHTHS = " ▏▎▍▌▋▊▉"

Cell = tuple[str, Style]
#: ``cell`` of a column: from the ring's header (None: it was not read) and its rates.
CellOf = Callable[["RingStats | None", Rates], Cell]


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A column of ``cells`` cells. All characters of a cell are one cell wide."""

    title: str
    cells: int
    cell: CellOf
    is_right: bool = True


def fill_share(stats: RingStats | None) -> float:
    """The part of the ring that is in use, 0 to 1."""
    return min(1.0, stats.used_bytes / stats.capacity) if stats else 0.0


def fill_look(share: float) -> Style:
    return RED if share > 0.95 else YELLOW if share > 0.6 else GREEN


def bar(share: float, cells: int) -> str:
    """``share`` (0 to 1) as a bar, in eighths of a cell."""
    eighths = min(8 * cells, ceil(share * 8 * cells))
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (_EIGHTHS[rest] if rest else "")).ljust(cells, "·")


_BARS = [bar(eighths / (8 * BAR_CELLS), BAR_CELLS) for eighths in range(8 * BAR_CELLS + 1)]


def _bar(stats: RingStats | None, rates: Rates) -> Cell:
    share = fill_share(stats)
    return _BARS[ceil(share * 8 * BAR_CELLS)], fill_look(share)


def _fill(stats: RingStats | None, rates: Rates) -> Cell:
    if stats is None:
        return figures.NOTHING, DIM
    share = fill_share(stats)
    return figures.percent(stats.used_bytes, stats.capacity), fill_look(share) if share else DIM


def rate_cell(number: float) -> Cell:
    return (figures.short(number), PLAIN) if number >= 0.5 else ("0", DIM)


def _byte_rate(number: float) -> Cell:
    return (figures.size(number), PLAIN) if number >= 0.5 else ("0", DIM)


def _overflow(stats: RingStats | None, rates: Rates) -> Cell:
    if stats is None or not stats.overflow_events:
        return "0", DIM
    return figures.size(stats.overflow_bytes), YELLOW


def _received(stats: RingStats | None, rates: Rates) -> Cell:
    return figures.count(received_at_least(stats) if stats else None), PLAIN


def _applied(stats: RingStats | None, rates: Rates) -> Cell:
    return figures.count(stats.applied_offset if stats else None), PLAIN


FILL_BAR = Column("fill", BAR_CELLS, _bar, is_right=False)
FILL = Column("", 5, _fill)
IN_EVENTS = Column("in/s", 5, lambda stats, rates: rate_cell(rates.in_events))
IN_BYTES = Column("bytes in/s", 10, lambda stats, rates: _byte_rate(rates.in_bytes))
OUT_EVENTS = Column("out/s", 5, lambda stats, rates: rate_cell(rates.out_events))
OUT_BYTES = Column("bytes out/s", 11, lambda stats, rates: _byte_rate(rates.out_bytes))
OVERFLOW = Column("overflow", 8, _overflow)
RECEIVED = Column("received", 14, _received)
APPLIED = Column("applied", 14, _applied)
