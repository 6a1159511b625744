"""``kevy-ring ls``: every ring of this machine."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import click
from rich.table import Table
from rich.text import Text

from kevy_ring.cli import figures
from kevy_ring.cli.rings.ring_text import odd_object, odd_text, purpose_text, ring_object, role_text
from kevy_ring.cli.tables import new_table, print_line, print_table, tables_console
from kevy_ring.errors import SegmentError
from kevy_ring.ring import RingStats, inspect_ring, ring_names
from kevy_ring.ring.outside.leftovers import OddSegment, is_abandoned, odd_segment, odd_segments

#: A width at which a table takes what it needs.
_MUCH = 1000


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object per line, one for each ring.")
def ls(as_json: bool) -> int:
    """List the rings in this machine's shared memory that this user may read.

    A ring is marked abandoned if its creator is dead, no live process has one of its roles, and it is not a kept ring
    (ingest --name): kevy-ring gc removes it. Segments of other layout versions and half-made ones are listed too, with
    what removes them.
    """
    found, console = look_at_all(), tables_console()
    if as_json:
        for stats in found.rings:
            print(json.dumps(ring_object(stats)))
        for odd in found.odd:
            print(json.dumps(odd_object(odd)))
        for error in found.unreadable:
            print(json.dumps({"name": error.name, "error": str(error)}))
        return 0
    if found.rings:
        table = _table(found.rings, is_wide=True)
        if console.measure(table, options=console.options.update(width=_MUCH)).maximum > console.width:
            table = _table(found.rings, is_wide=False)
        print_table(console, table)
        for stats in found.rings:
            name = figures.name(stats.name)
            # A terminal shows what fits. A program that reads a pipe gets everything.
            text = purpose_text(stats, console.width - len(name) - 2 if console.is_terminal else None)
            if text:
                print(f"{name}: {text}")
    elif not found.odd:
        print("no rings")
    for odd in found.odd:
        print_line(console, Text(odd_text(odd)))
    for error in found.unreadable:
        print_line(console, Text(figures.name(str(error))))
    abandoned = sum(map(is_abandoned, found.rings))
    if abandoned:
        print(
            f"{figures.plural(abandoned, 'abandoned ring')}: kevy-ring gc removes {'it' if abandoned == 1 else 'them'}"
        )
    return 0


@dataclass(frozen=True, slots=True)
class Found:
    """The headers of rings, segments that are no whole rings of this version, and errors of unreadable ones."""

    rings: list[RingStats]
    odd: list[OddSegment]
    unreadable: list[SegmentError]

    @property
    def names(self) -> set[str]:
        """The names of all of them."""
        odd, unreadable = [each.name for each in self.odd], [each.name for each in self.unreadable]
        return {*(stats.name for stats in self.rings), *odd, *unreadable}


def look_at_all(names: tuple[str, ...] = ()) -> Found:
    """All rings that exist now; if ``names`` is not empty, only those."""
    odd = odd_segments(names)
    found: list[RingStats] = []
    unreadable: list[SegmentError] = []
    for name in sorted(set(ring_names()) - {each.name for each in odd}):
        if names and name not in names:
            continue
        try:
            found.append(inspect_ring(name))
        except SegmentError as error:
            now_odd = None if error.reason == "missing" else odd_segment(name)  # it was made after the first look
            if now_odd is not None:
                odd.append(now_odd)
            elif error.reason != "missing":
                unreadable.append(error)
        except ValueError as error:  # no ring can have this name
            unreadable.append(SegmentError(name, reason="not-a-ring", detail=str(error)))
    return Found(found, odd, unreadable)


def _table(found: list[RingStats], *, is_wide: bool) -> Table:
    """One line per ring if ``is_wide``, else two."""
    table = new_table(1 if is_wide else 0)
    table.add_column("ring", no_wrap=True, overflow="fold")
    for name in ("capacity", "fill") if is_wide else ("size\nfill",):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("producer", "consumer") if is_wide else ("producer\nconsumer",):
        table.add_column(name, no_wrap=True)
    for name in ("overflow", "last drain" if is_wide else "drained", "age"):
        table.add_column(name, justify="right", no_wrap=True)
    now = time.time()
    for stats in found:
        table.add_row(*_cells(stats, now, is_wide=is_wide))
    return table


def _cells(stats: RingStats, now: float, *, is_wide: bool) -> list[Text | str]:
    name = Text(figures.name(stats.name))
    if is_abandoned(stats):
        name = Text.assemble((figures.name(stats.name), "red"), "\n", ("abandoned", "bold red"))
    capacity, fill = figures.size(stats.capacity), figures.percent(stats.used_bytes, stats.capacity)
    producer, consumer = role_text(stats.producer), role_text(stats.consumer)
    middle: list[Text | str] = [capacity, fill, producer, consumer]
    if not is_wide:
        middle = [f"{capacity}\n{fill}", Text.assemble(producer, "\n", consumer)]
    return [
        name,
        *middle,
        figures.size(stats.overflow_bytes) if stats.overflow_events else "0",
        "never" if stats.last_drain_age_s is None else figures.age(stats.last_drain_age_s),
        figures.age(max(0.0, now - stats.created_unix_s)),
    ]
