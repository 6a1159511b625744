"""``kevy-ring inspect``: the header of one ring as text, and the records that wait in it."""

from __future__ import annotations

import json
import struct
from math import isinf
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kevy_ring.cli import figures
from kevy_ring.cli.completion import ring_names_with
from kevy_ring.cli.failure import Failure
from kevy_ring.cli.rings.facts import ring_facts, ring_faults
from kevy_ring.cli.rings.ring_text import missing_text, odd_text, ring_object
from kevy_ring.cli.tables import new_table, print_table, tables_console
from kevy_ring.errors import SegmentError
from kevy_ring.events import Kind
from kevy_ring.inbox import Published
from kevy_ring.inbox.resume_point import read_published
from kevy_ring.ring import Segment, TimeInRing
from kevy_ring.ring.outside.leftovers import odd_segment
from kevy_ring.ring.outside.peek import Peek, PeekedRecord, peek_records
from kevy_ring.ring.time_in_ring import read_time_in_ring

_SHOWN_BYTES = 48
_LABEL = 12
_KINDS = {Kind.BYTES: "bytes", Kind.SNAPSHOT_BEGIN: "snapshot begins", Kind.SNAPSHOT_CHUNK: "snapshot chunk",
          Kind.SNAPSHOT_END: "snapshot ends", Kind.FRAME: "frame"}  # fmt: skip
_ARGC = struct.Struct("<I")


@click.command()
@click.argument("name", shell_complete=ring_names_with)
@click.option(
    "--records", metavar="N", type=click.IntRange(0, 1000), default=10, show_default=True,
    help="How many waiting records to show.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
def inspect(name: str, records: int, as_json: bool) -> int:
    """Show the header of the ring NAME in sentences, and the records that wait in it.

    It takes no role and writes nothing into the ring. It also works if the ring's processes are dead.
    """
    try:
        peek = peek_records(name, records)
        segment = Segment.attach(name)
        published, times = read_published(segment), read_time_in_ring(segment)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except SegmentError as error:
        raise Failure(_why_not(name, error)) from error
    faults = ring_faults(peek.stats, peek)
    if as_json:
        print(json.dumps(_object(peek, published, times, faults)))
    else:
        _print(tables_console(), peek, published, times, faults)
    if peek.corrupt is not None:
        raise Failure(f"ring {name!r} is corrupt at position {peek.corrupt_at}: {peek.corrupt}")
    return 0


def _why_not(name: str, error: SegmentError) -> str:
    if error.reason == "missing":
        return missing_text(name)
    odd = odd_segment(name)
    return str(error) if odd is None else odd_text(odd)


def _print(console: Console, peek: Peek, published: Published, times: TimeInRing, faults: list[str]) -> None:
    stats = peek.stats
    console.print(Text.assemble(("ring ", "bold"), (figures.name(stats.name), "bold")), soft_wrap=True)
    for fault in faults:
        _print_fact(console, "wrong", Text(fault, style="red"))
    for label, text in ring_facts(stats, published, times):
        _print_fact(console, label, text)
    if peek.records:
        print_table(console, _record_table(peek.records))
    elif peek.moved:
        console.print(f"  records    {figures.size(stats.used_bytes)} waited, but were drained during this look")
    elif peek.corrupt is None:
        console.print("  records    none" if not stats.used_bytes else "  records    not shown")


def _print_fact(console: Console, label: str, text: Text | str) -> None:
    """Print a line. A terminal wraps it, and indents what follows."""
    shown = text if isinstance(text, Text) else Text(text)
    if console.is_terminal:
        lines = Table.grid(padding=(0, 1, 0, 0))
        lines.add_column(width=_LABEL)
        lines.add_column(overflow="fold")
        lines.add_row(f"  {label}", shown)
        console.print(lines)
    else:
        console.print(Text.assemble(f"  {label:<{_LABEL - 1}}", shown), soft_wrap=True)


def _record_table(records: tuple[PeekedRecord, ...]) -> Table:
    table = new_table()
    table.add_column("position", justify="right", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("offset", justify="right", no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    # The cells do not wrap, but the column may: so this is the column that a narrow terminal cuts.
    table.add_column("begins with")
    for record in records:
        has_offset = record.kind in (Kind.FRAME, Kind.SNAPSHOT_END)
        table.add_row(
            figures.count(record.position),
            _KINDS[Kind(record.kind)] + (" (part)" if record.is_fragment else ""),
            figures.count(record.offset) if has_offset else figures.NOTHING,
            figures.count(record.length),
            Text(_beginning(record), no_wrap=True, overflow="ellipsis"),
        )
    return table


def _beginning(record: PeekedRecord) -> str:
    argv = _arguments(record)
    if argv is not None:
        return " ".join(argv)
    return figures.text(record.payload, _SHOWN_BYTES) if record.payload else ""


def _arguments(record: PeekedRecord) -> list[str] | None:
    """The arguments of a frame, as far as its first bytes go; None: the record is no whole frame."""
    payload = record.payload
    if record.kind != Kind.FRAME or record.is_fragment or len(payload) < _ARGC.size:
        return None
    (argc,) = _ARGC.unpack_from(payload)
    start = _ARGC.size * (1 + argc)
    if start > len(payload):
        return None
    shown: list[str] = []
    begin = 0
    for (end,) in _ARGC.iter_unpack(payload[_ARGC.size : start]):
        if not begin <= end <= record.length - start:
            return None
        if start + begin >= len(payload) and end > begin:
            shown.append(f"… ({figures.plural(argc - len(shown), 'argument')} more)")
            break
        whole = payload[start + begin : start + end]
        shown.append(figures.text(whole + bytes(end - begin - len(whole)), min(_SHOWN_BYTES, len(whole) or 1)))
        begin = end
    return shown


def _finite(bound: float | None) -> float | None:
    """JSON has no infinity, so a time beyond all bounds is null."""
    return None if bound is None or isinf(bound) else bound


def _object(peek: Peek, published: Published, times: TimeInRing, faults: list[str]) -> dict[str, Any]:
    return {
        **ring_object(peek.stats),
        "layout_version": peek.stats.version,
        "published": {
            "upstream_id": published.upstream_id or None,
            "offset": published.offset,
            "db": published.db,
            "after_snapshot": published.after_snapshot,
            "in_snapshot": published.in_snapshot,
            "snapshots": published.snapshots,
        },
        "time_in_ring": {
            "measured": times.measured,
            "median_at_most_s": _finite(times.quantile(0.5)),
            "p99_at_most_s": _finite(times.quantile(0.99)),
            "total_s": times.total_s,
            "oldest_age_s": times.oldest_age_s,
        },
        "faults": faults,
        "records": [
            {
                "position": record.position,
                "kind": Kind(record.kind).name.lower(),
                "offset": record.offset,
                "length": record.length,
                "fragment": record.is_fragment,
                "payload_hex": record.payload.hex(),
            }
            for record in peek.records
        ],
        "corrupt": peek.corrupt,
        "corrupt_at": peek.corrupt_at if peek.corrupt is not None else None,
    }
