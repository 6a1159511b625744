"""The live table: one row per shard."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from kevy_ring.cli import figures
from kevy_ring.cli.progress import ShardProgress
from kevy_ring.replica.link_words import LinkState

#: From this width on everything of a shard stands in one line, its upstream too.
WIDE = 140
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


def link_word(state: LinkState) -> str:
    """The state of a link in a word or two."""
    return _LOOKS[state][0]


def progress_table(shards: Sequence[ShardProgress], width: int, height: int) -> Table:
    """A table for a terminal of ``width`` by ``height`` cells: on one that is not wide a row takes two lines, as long
    as there is room for them, and goes without the bytes per second otherwise."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True, header_style="bold")
    is_wide = width >= WIDE
    is_tall = 2 * len(shards) + _OTHER_LINES <= height
    table.add_column("shard", justify="right", no_wrap=True)
    if is_wide:
        table.add_column("upstream", no_wrap=True, overflow="ellipsis", max_width=36)
    table.add_column("link", no_wrap=True, min_width=10)
    table.add_column("snapshot", justify="right", no_wrap=True, min_width=11)
    for name in ("received/s", "applied/s"):
        table.add_column(name, justify="right", no_wrap=True, min_width=16 if is_wide else 10)
    table.add_column("ring", justify="right", no_wrap=True, min_width=_BAR_CELLS + 5 if is_wide else 5)
    table.add_column("overflow", justify="right", no_wrap=True, min_width=8)
    for name in ("received", "applied"):
        table.add_column(f"{name} up to" if is_wide else f"{name}\nup to", justify="right", no_wrap=True, min_width=9)
    for shard in shards:
        table.add_row(*_cells(shard, is_wide=is_wide, is_tall=is_tall))
    return table


def _cells(shard: ShardProgress, *, is_wide: bool, is_tall: bool) -> list[Text | str]:
    word, look = _LOOKS[LinkState.SNAPSHOT if shard.awaits_snapshot else shard.link_state]
    rates = shard.rates
    between = "  " if is_wide else "\n" if is_tall else None
    return [
        str(shard.index),
        *([shard.upstream] if is_wide else []),
        Text(word, style=look),
        _snapshot(shard),
        _rate(rates.received_events, rates.received_bytes, between),
        _rate(rates.applied_events, rates.applied_bytes, between),
        _fill(shard, with_bar=is_wide),
        _overflow(shard),
        figures.count(shard.received_at_least),
        figures.count(shard.applied_offset),
    ]


def _snapshot(shard: ShardProgress) -> Text | str:
    if shard.link_state is LinkState.SNAPSHOT:
        if shard.snapshot_total:
            return Text(f"{figures.percent(shard.snapshot_bytes, shard.snapshot_total)} of "
                        f"{figures.size(shard.snapshot_total)}", style="cyan")  # fmt: skip
        return Text(figures.size(shard.snapshot_bytes), style="cyan")
    if shard.snapshots_sent > shard.snapshots and not shard.is_drained:
        return Text("loading", style="cyan")
    if not shard.snapshots:
        return figures.NOTHING
    return figures.plural(shard.entries, "key") if shard.entries else "empty"


def _rate(events: float, size: float, between: str | None) -> Text:
    """Events and bytes per second; ``between`` None: events only."""
    if events < 0.5:
        return Text("0", style="dim")
    if between is None:
        return Text(figures.short(events))
    return Text.assemble(figures.short(events), between, (f"{figures.size(size):>8}", "dim"))


def _fill(shard: ShardProgress, *, with_bar: bool) -> Text:
    if shard.ring is None:
        return Text(figures.NOTHING, style="dim")
    share = shard.ring.used_bytes / shard.ring.capacity
    words = f"{figures.percent(shard.ring.used_bytes, shard.ring.capacity):>5}"
    look = "red" if share > 0.95 else "yellow" if share > 0.6 else "green"
    if not with_bar:
        return Text(words, style=look if share > 0.6 else "")
    cells = round(share * _BAR_CELLS)
    return Text.assemble(("█" * cells, look), ("·" * (_BAR_CELLS - cells), "dim"), words)


def _overflow(shard: ShardProgress) -> Text:
    if shard.ring is None or not shard.ring.overflow_events:
        return Text("0", style="dim")
    return Text(figures.size(shard.ring.overflow_bytes), style="yellow")
