"""The live table: one row per shard."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from kevy_ring.cli import figures
from kevy_ring.cli.ingest.progress import ShardProgress
from kevy_ring.inbox.header_words import LinkState

#: From this width on everything of a shard stands in one line, its upstream too.
WIDE = 140
#: From this width on names are written out, and columns are further apart.
_ROOMY = 92
#: Lines of a terminal that are not rows of the table.
_OTHER_LINES = 10
_BAR_CELLS = 8

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

    On a wide one a shard has one line with everything. Elsewhere it has two, what it received and what it applied; and
    where there is no room for that, one without the bytes per second.
    """
    gap = (0, 1 if width >= _ROOMY else 0)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=gap, collapse_padding=True, header_style="bold")
    if width >= WIDE:
        _fill_wide(table, shards)
    elif 2 * len(shards) + _OTHER_LINES <= height:
        _fill_tall(table, shards, ("received", "applied") if width >= _ROOMY else ("in", "out"))
    else:
        _fill_flat(table, shards)
    return table


def _fill_wide(table: Table, shards: Sequence[ShardProgress]) -> None:
    _add_first_columns(table, "shard")
    table.add_column("upstream", no_wrap=True, overflow="ellipsis", max_width=36)
    _add_numbers(table, {"received/s": 16, "applied/s": 16, "ring": _BAR_CELLS + 5, "overflow": 8})
    _add_numbers(table, {"received up to": 9, "applied up to": 9})
    for shard in shards:
        rates = shard.rates
        table.add_row(
            *_first_cells(shard),
            shard.upstream,
            _rate(rates.in_events, rates.in_bytes),
            _rate(rates.out_events, rates.out_bytes),
            _fill(shard, with_bar=True),
            _overflow(shard),
            figures.count(shard.received_at_least),
            figures.count(shard.applied_offset),
        )


def _fill_tall(table: Table, shards: Sequence[ShardProgress], sides: tuple[str, str]) -> None:
    _add_first_columns(table, "#")
    table.add_column("", no_wrap=True)
    _add_numbers(table, {"events/s": 8, "bytes/s": 8, "up to offset" if sides[0] != "in" else "offset": 9})
    _add_numbers(table, {"ring": 5, "overflow": 8})
    for shard in shards:
        rates = shard.rates
        table.add_row(
            *_first_cells(shard),
            Text("\n".join(sides), style="dim"),
            f"{figures.short(rates.in_events)}\n{figures.short(rates.out_events)}",
            f"{figures.size(rates.in_bytes)}\n{figures.size(rates.out_bytes)}",
            f"{figures.count(shard.received_at_least)}\n{figures.count(shard.applied_offset)}",
            _fill(shard, with_bar=False),
            _overflow(shard),
        )


def _fill_flat(table: Table, shards: Sequence[ShardProgress]) -> None:
    _add_first_columns(table, "#")
    _add_numbers(table, {"in/s": 5, "out/s": 5, "received": 9, "applied": 9, "ring": 5, "overflow": 8})
    for shard in shards:
        table.add_row(
            *_first_cells(shard),
            figures.short(shard.rates.in_events),
            figures.short(shard.rates.out_events),
            figures.count(shard.received_at_least),
            figures.count(shard.applied_offset),
            _fill(shard, with_bar=False),
            _overflow(shard),
        )


def _add_first_columns(table: Table, number: str) -> None:
    table.add_column(number, justify="right", no_wrap=True)
    table.add_column("link", no_wrap=True, min_width=10)
    _add_numbers(table, {"snapshot": 10})


def _add_numbers(table: Table, names: dict[str, int]) -> None:
    """Columns of numbers with at least so many cells, so that they do not dance while the numbers change."""
    for name, cells in names.items():
        table.add_column(name, justify="right", no_wrap=True, min_width=cells)


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


def _rate(events: float, size: float) -> Text:
    if events < 0.5:
        return Text("0", style="dim")
    return Text.assemble(figures.short(events), "  ", (f"{figures.size(size):>8}", "dim"))


def _fill(shard: ShardProgress, *, with_bar: bool) -> Text:
    if shard.ring is None:
        return Text(figures.NOTHING, style="dim")
    share = shard.ring.used_bytes / shard.ring.capacity
    text = f"{figures.percent(shard.ring.used_bytes, shard.ring.capacity):>5}"
    look = "red" if share > 0.95 else "yellow" if share > 0.6 else "green"
    if not with_bar:
        return Text(text, style=look if share > 0.6 else "")
    cells = round(share * _BAR_CELLS)
    return Text.assemble(("█" * cells, look), ("·" * (_BAR_CELLS - cells), "dim"), text)


def _overflow(shard: ShardProgress) -> Text:
    if shard.ring is None or not shard.ring.overflow_events:
        return Text("0", style="dim")
    return Text(figures.size(shard.ring.overflow_bytes), style="yellow")
