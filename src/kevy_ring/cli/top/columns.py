"""The columns of top: what each shows, how wide it is, and which of them a terminal has room for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style

from kevy_ring.cli import figures
from kevy_ring.cli.top.meter import SPARK_LOOKS, TopRing
from kevy_ring.inbox.header_words import how_far_behind
from kevy_ring.ring import RoleState, RoleStats
from kevy_ring.ring.outside.process_state import ProcessState, process_state

PLAIN, DIM, BOLD = Style.null(), Style.parse("dim"), Style.parse("bold")
GREEN, YELLOW, RED, CYAN = (Style.parse(name) for name in ("green", "yellow", "red", "cyan"))
_SPARKS = "▁▂▃▄▅▆▇█"
_EIGHTHS = " ▏▎▍▌▋▊▉"
BAR_CELLS = 8
_NAME_MIN, _NAME_MAX = 10, 30
#: A role's process is looked up in the process table when the ring holds something and was not drained for this long.
_SUSPECT_S = 2.0

Cell = tuple[str, Style]


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A column. ``rank``: the one of the highest is left out first."""

    title: str
    cells: int
    rank: int
    is_right: bool
    cell: Callable[[TopRing], Cell]


def spark(history: Sequence[float], cells: int) -> str:
    """The last ``cells`` numbers as bars, against the greatest of them."""
    shown = list(history)[-cells:]
    most = max(shown, default=0.0)
    if not most:
        return _SPARKS[0] * len(shown)
    scale = 7.999 / most
    return "".join([_SPARKS[int(value * scale)] for value in shown])


def bar(share: float, cells: int) -> str:
    """A part of a whole, in eighths of a cell."""
    eighths = min(8 * cells, ceil(share * 8 * cells))
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (_EIGHTHS[rest] if rest else "")).ljust(cells, "·")


def fill_look(share: float) -> Style:
    return RED if share > 0.95 else YELLOW if share > 0.6 else GREEN


_BARS = [bar(eighths / (8 * BAR_CELLS), BAR_CELLS) for eighths in range(8 * BAR_CELLS + 1)]


def _bar(ring: TopRing) -> Cell:
    fill = ring.fill
    return _BARS[ceil(fill * 8 * BAR_CELLS)], fill_look(fill)


def _fill(ring: TopRing) -> Cell:
    if ring.stats is None:
        return figures.NOTHING, DIM
    return figures.percent(ring.stats.used_bytes, ring.stats.capacity), fill_look(ring.fill) if ring.fill else DIM


def _rate(number: float) -> Cell:
    return (figures.short(number), PLAIN) if number >= 0.5 else ("0", DIM)


def _byte_rate(number: float) -> Cell:
    return (figures.size(number), PLAIN) if number >= 0.5 else ("0", DIM)


def _overflow(ring: TopRing) -> Cell:
    if ring.stats is None or not ring.stats.overflow_events:
        return "0", DIM
    return figures.size(ring.stats.overflow_bytes), YELLOW


def _overflow_age(ring: TopRing) -> Cell:
    if ring.stats is None or not ring.stats.overflow_events:
        return figures.NOTHING, DIM
    return figures.age(ring.stats.overflow_age_s), YELLOW


def _drained(ring: TopRing) -> Cell:
    stats = ring.stats
    if stats is None or stats.last_drain_age_s is None:
        return "never" if stats else figures.NOTHING, DIM
    late = stats.used_bytes and stats.last_drain_age_s > _SUSPECT_S
    return figures.age(stats.last_drain_age_s), YELLOW if late else PLAIN


def is_suspect(ring: TopRing) -> bool:
    """Whether something waits and nobody has come for it for a while."""
    stats = ring.stats
    return stats is not None and stats.used_bytes > 0 and (stats.last_drain_age_s or 0.0) > _SUSPECT_S


def _role(role: RoleStats, *, ask: bool) -> Cell:
    if role.state is RoleState.VACANT:
        return "nobody", DIM
    if role.state is RoleState.CLOSED:
        return f"closed {role.pid}", YELLOW
    if role.state is RoleState.DEAD:
        return f"dead {role.pid}", RED
    if ask and process_state(role.pid) is ProcessState.STOPPED:
        return f"stopped {role.pid}", RED
    return f"alive {role.pid}", GREEN


def _producer(ring: TopRing) -> Cell:
    return _role(ring.stats.producer, ask=False) if ring.stats else (figures.NOTHING, DIM)


def _consumer(ring: TopRing) -> Cell:
    return _role(ring.stats.consumer, ask=is_suspect(ring)) if ring.stats else (figures.NOTHING, DIM)


def _applied(ring: TopRing) -> Cell:
    return figures.count(ring.stats.applied_offset if ring.stats else None), PLAIN


def _behind(ring: TopRing) -> Cell:
    behind = how_far_behind(ring.stats) if ring.stats else None
    if behind is None:
        return figures.NOTHING, DIM
    return (f"-{figures.short(behind)}", YELLOW) if behind else ("level", GREEN)


def _spark(ring: TopRing) -> Cell:
    return spark(ring.recent, SPARK_LOOKS), CYAN


COLUMNS = (
    Column("fill", BAR_CELLS, 7, False, _bar),
    Column("", 5, 0, True, _fill),
    Column("in/s", 5, 1, True, lambda ring: _rate(ring.rates.in_events)),
    Column("bytes in/s", 10, 12, True, lambda ring: _byte_rate(ring.rates.in_bytes)),
    Column("out/s", 5, 2, True, lambda ring: _rate(ring.rates.out_events)),
    Column("bytes out/s", 11, 13, True, lambda ring: _byte_rate(ring.rates.out_bytes)),
    Column("overflow", 8, 3, True, _overflow),
    Column("age", 6, 11, True, _overflow_age),
    Column("wakes/s", 7, 9, True, lambda ring: _rate(ring.rates.wakes)),
    Column("drained", 7, 4, True, _drained),
    Column("producer", 15, 8, False, _producer),
    Column("consumer", 15, 5, False, _consumer),
    Column("applied", 14, 14, True, _applied),
    Column("behind", 6, 10, True, _behind),
    Column("history", SPARK_LOOKS, 6, True, _spark),
)


@lru_cache(maxsize=16)
def choose_columns(width: int, longest_name: int) -> tuple[int, tuple[Column, ...]]:
    """The cells of the name and the columns beside it that ``width`` has room for, in their order."""
    left = width - 4 - _NAME_MIN  # the number of the ring and a blank stand before the name
    chosen = []
    for column in sorted(COLUMNS, key=lambda column: column.rank):
        if column.cells + 1 > left:
            break
        left -= column.cells + 1
        chosen.append(column)
    name = _NAME_MIN + max(0, min(left, max(longest_name, _NAME_MIN) - _NAME_MIN, _NAME_MAX - _NAME_MIN))
    return name, tuple(column for column in COLUMNS if column in chosen)


@lru_cache(maxsize=4096)
def fit(text: str, cells: int, is_right: bool = False) -> str:
    """Exactly so many cells: cut with a mark, or filled up."""
    length = cell_len(text)
    if length > cells:
        return set_cell_size(text, cells - 1) + "…"
    return " " * (cells - length) + text if is_right else text + " " * (cells - length)


def pieces(ring: TopRing, columns: Sequence[Column]) -> list[Segment]:
    """A ring's cells, a blank before each."""
    line: list[Segment] = []
    last, together = PLAIN, ""
    for column in columns:
        text, style = column.cell(ring)
        cells = column.cells
        # All characters of the cells are one cell wide.
        if len(text) > cells:
            text = fit(text, cells)
        if style is not last:
            line.append(Segment(together, last))
            last, together = style, ""
        together += text.rjust(cells + 1) if column.is_right else " " + text.ljust(cells)
    line.append(Segment(together, last))
    return line
