"""The live table: one row per shard."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from kevy_ring.cli import figures, ring_columns
from kevy_ring.cli.ingest.progress import ShardProgress
from kevy_ring.cli.ring_columns import Column
from kevy_ring.cli.tables import new_table, width_of
from kevy_ring.inbox.header_words import LinkState

#: From this width on, one line has everything about a shard, its upstream too.
WIDE = 140
#: From this width on, names are written out and columns are further apart.
_ROOMY = 92
#: Lines of the terminal that are not rows of the table.
_OTHER_LINES = 10

#: A column of the table: its title, its least width, and the figures in a cell. A tall table puts them on two lines,
#: the others side by side.
Shown = tuple[str, int, tuple[Column, ...]]
_WIDE: tuple[Shown, ...] = (
    ("received/s", 16, (ring_columns.IN_EVENTS, ring_columns.IN_BYTES)),
    ("applied/s", 16, (ring_columns.OUT_EVENTS, ring_columns.OUT_BYTES)),
    ("ring", 13, (ring_columns.FILL_BAR, ring_columns.FILL)),
    ("overflow", 8, (ring_columns.OVERFLOW,)),
    ("received up to", 9, (ring_columns.RECEIVED,)),
    ("applied up to", 9, (ring_columns.APPLIED,)),
)
_TALL: tuple[Shown, ...] = (
    ("events/s", 8, (ring_columns.IN_EVENTS, ring_columns.OUT_EVENTS)),
    ("bytes/s", 8, (ring_columns.IN_BYTES, ring_columns.OUT_BYTES)),
    ("offset", 9, (ring_columns.RECEIVED, ring_columns.APPLIED)),
    ("ring", 5, (ring_columns.FILL,)),
    ("overflow", 8, (ring_columns.OVERFLOW,)),
)
_FLAT: tuple[Shown, ...] = (
    ("in/s", 5, (ring_columns.IN_EVENTS,)),
    ("out/s", 5, (ring_columns.OUT_EVENTS,)),
    ("received", 9, (ring_columns.RECEIVED,)),
    ("applied", 9, (ring_columns.APPLIED,)),
    ("ring", 5, (ring_columns.FILL,)),
    ("overflow", 8, (ring_columns.OVERFLOW,)),
)
#: A narrow terminal drops the first of these first.
_KEPT_LONGEST = ("received", "overflow", "ring", "in/s", "applied", "out/s")

_LOOKS = {
    LinkState.NONE: ("starting", "dim"),
    LinkState.CONNECTING: ("connecting", "yellow"),
    LinkState.HANDSHAKE: ("handshake", "yellow"),
    LinkState.SNAPSHOT: ("snapshot", "cyan"),
    LinkState.STREAMING: ("streaming", "green"),
    LinkState.WAITING: ("no link", "red"),
    LinkState.REFUSED: ("refused", "red"),
    LinkState.STOPPED: ("stopped", "dim"),
    LinkState.RECEIVER_GONE: ("no shard", "red"),
}


def link_label(state: LinkState) -> str:
    """The state of a link as a label."""
    return _LOOKS[state][0]


def progress_table(shards: Sequence[ShardProgress], width: int, height: int) -> Table:
    """A table for a terminal of ``width`` by ``height`` cells.

    On a wide terminal, a shard has one line with everything. On others it has two, for received and applied. If the
    terminal is not high enough or wide enough for that, it has one, without bytes per second. A narrow terminal has
    fewer columns.
    """
    gap = 1 if width >= _ROOMY else 0
    if width >= WIDE:
        return _filled(gap, shards, _WIDE, with_upstream=True)
    if 2 * len(shards) + _OTHER_LINES <= height:
        table = _filled(gap, shards, _TALL, sides="received\napplied" if width >= _ROOMY else "in\nout")
        if width_of(table) <= width:
            return table
    shown = list(_FLAT)
    while width_of(table := _filled(gap, shards, shown, with_snapshot=len(shown) > 2)) > width and shown:
        shown.remove(min(shown, key=lambda each: _KEPT_LONGEST.index(each[0])))
    return table


def row_in_words(shard: ShardProgress) -> str:
    """A shard in one short line, for a terminal without room for a table."""
    label = link_label(LinkState.SNAPSHOT if shard.awaits_snapshot else shard.link_state)
    out = figures.short(shard.rates.out_events)
    return f"  {shard.index} {label}  out {out}/s  applied {figures.count(shard.applied_offset)}"


def _filled(
    gap: int,
    shards: Sequence[ShardProgress],
    shown: Sequence[Shown],
    *,
    with_upstream: bool = False,
    with_snapshot: bool = True,
    sides: str = "",
) -> Table:
    """``sides``: the names of the two lines of a shard in a tall table."""
    table = new_table(gap)
    table.add_column("shard" if with_upstream else "#", justify="right", no_wrap=True)
    table.add_column("link", no_wrap=True, min_width=10)
    if with_snapshot:
        table.add_column("snapshot", justify="right", no_wrap=True, min_width=10)
    if with_upstream:
        table.add_column("upstream", no_wrap=True, overflow="ellipsis", max_width=36)
    if sides:
        table.add_column("", no_wrap=True)
    for title, cells, _ in shown:  # a least width, so that columns do not move when the figures change
        table.add_column(title, justify="right", no_wrap=True, min_width=cells)
    for shard in shards:
        row = _first_cells(shard) if with_snapshot else _first_cells(shard)[:2]
        if with_upstream:
            row.append(shard.upstream)
        if sides:
            row.append(Text(sides, style="dim"))
        table.add_row(*row, *(_cell(shard, columns, is_tall=bool(sides)) for _, _, columns in shown))
    return table


def _cell(shard: ShardProgress, columns: tuple[Column, ...], *, is_tall: bool) -> Text:
    first, *others = columns
    parts = [first.cell(shard.ring, shard.rates)]
    for column in others:
        text, style = column.cell(shard.ring, shard.rates)
        parts.append((f"\n{text}" if is_tall else text.rjust(column.cells), style))
    return Text.assemble(*parts)


def _first_cells(shard: ShardProgress) -> list[Text | str]:
    label, look = _LOOKS[LinkState.SNAPSHOT if shard.awaits_snapshot else shard.link_state]
    return [str(shard.index), Text(label, style=look), _snapshot(shard)]


def _snapshot(shard: ShardProgress) -> Text | str:
    if shard.link_state is LinkState.SNAPSHOT:
        if shard.snapshot_total:
            return Text(f"{figures.percent(shard.snapshot_bytes, shard.snapshot_total)} of "
                        f"{figures.size(shard.snapshot_total)}", style="cyan")  # fmt: skip
        return Text(figures.size(shard.snapshot_bytes), style="cyan")
    if shard.is_loading and not shard.is_drained:
        return Text("loading", style="cyan")
    if not shard.snapshots:
        return figures.NOTHING
    return f"{figures.short(shard.entries)} keys" if shard.entries else "empty"
