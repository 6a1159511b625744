"""``kevy-ring inspect``: one ring in words, and what waits in it; nothing is changed."""

from __future__ import annotations

import json
import struct
import time
from datetime import datetime
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kevy_ring.cli import figures
from kevy_ring.cli.failure import Failure
from kevy_ring.cli.progress_table import link_word
from kevy_ring.cli.ring_words import overflow_words, ring_object, role_text
from kevy_ring.cli.tables import print_table, tables_console
from kevy_ring.errors import SegmentError
from kevy_ring.events import Kind
from kevy_ring.replica.link_words import LinkState, LinkWord
from kevy_ring.ring import RingStats, RoleState
from kevy_ring.ring.leftovers import is_abandoned
from kevy_ring.ring.peek import Peek, PeekedRecord, peek_records
from kevy_ring.shard.shard import ENTRIES_WORD, FRAMES_WORD, SNAPSHOTS_WORD

_PIPE_WIDTH = 120
_SHOWN_BYTES = 48
_KINDS = {Kind.BYTES: "bytes", Kind.SNAPSHOT_BEGIN: "snapshot begins", Kind.SNAPSHOT_CHUNK: "snapshot chunk",
          Kind.SNAPSHOT_END: "snapshot ends", Kind.FRAME: "frame"}  # fmt: skip
_ARGC = struct.Struct("<I")


@click.command(short_help="Look into one ring.")
@click.argument("name")
@click.option(
    "--records", metavar="N", type=click.IntRange(0, 1000), default=10, show_default=True, help="How many to show."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def inspect(name: str, records: int, as_json: bool) -> int:
    """Say what the ring NAME holds, and show the records that wait in it.

    Takes no role and writes nothing; works on a ring whose processes are dead.
    """
    try:
        peek = peek_records(name, records)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except SegmentError as error:
        raise Failure(_why_not(name, error)) from error
    if as_json:
        print(json.dumps(_object(peek)))
    else:
        _print(tables_console(_PIPE_WIDTH), peek)
    if peek.corrupt is not None:
        raise Failure(f"ring {name!r} is corrupt at position {peek.corrupt_at}: {peek.corrupt}")
    return 0


def _why_not(name: str, error: SegmentError) -> str:
    return f"there is no ring {name!r}; kevy-ring ls shows those there are" if error.reason == "missing" else str(error)


def _print(console: Console, peek: Peek) -> None:
    stats = peek.stats
    console.print(Text.assemble(("ring ", "bold"), (stats.name, "bold"), "  ", *_marks(stats)), soft_wrap=True)
    for label, words in _facts(stats):
        console.print(Text.assemble(f"  {label:<11}", words), soft_wrap=True)
    if peek.records:
        print_table(console, _record_table(peek.records))
    elif peek.moved:
        console.print(f"  records    {figures.size(stats.used_bytes)} waited, and were drained while this looked")
    elif peek.corrupt is None:
        console.print("  records    none waits" if not stats.used_bytes else "  records    not shown")


def _marks(stats: RingStats) -> list[tuple[str, str]]:
    return [("abandoned: kevy-ring gc removes it", "bold red")] if is_abandoned(stats) else []


def _facts(stats: RingStats) -> list[tuple[str, Text | str]]:
    made = datetime.fromtimestamp(stats.created_unix_s).astimezone()
    age = figures.seconds(max(0.0, time.time() - stats.created_unix_s))
    maker = f"process {stats.creator_pid}, {'alive' if stats.creator_alive else 'dead'}"
    drained = "never" if stats.last_drain_age_s is None else f"{figures.seconds(stats.last_drain_age_s)} ago"
    facts: list[tuple[str, Text | str]] = [
        ("created", f"{made:%Y-%m-%d %H:%M:%S}, {age} ago, by {maker}"),
        ("capacity", f"{figures.size(stats.capacity)}, {figures.count(stats.used_bytes)} bytes in use "
                     f"({figures.percent(stats.used_bytes, stats.capacity)})"),
        ("positions", f"head {figures.count(stats.head)}, tail {figures.count(stats.tail)}"),
        ("producer", Text.assemble(role_text(stats.producer), _taken(stats.producer.epoch, stats.producer.state))),
        ("consumer", Text.assemble(role_text(stats.consumer), _taken(stats.consumer.epoch, stats.consumer.state))),
        ("written", f"{figures.plural(stats.events_in, 'record')}, {figures.size(stats.bytes_in)}, in "
                    f"{figures.plural(stats.publishes, 'publish', 'publishes')}; found it full "
                    f"{figures.plural(stats.full_hits, 'time')}"),
        ("read", f"{figures.plural(stats.events_out, 'record')}, {figures.size(stats.bytes_out)}, in "
                 f"{figures.plural(stats.drains, 'drain')}; last drained {drained}"),
        ("overflow", f"{overflow_words(stats)} now, {figures.size(stats.overflow_peak_bytes)} at the most"),
    ]  # fmt: skip
    if stats.applied_offset is not None:
        facts.append(("applied", f"up to offset {figures.count(stats.applied_offset)}"))
    return facts + _replica_facts(stats)


def _taken(times: int, state: RoleState) -> str:
    return "" if state is RoleState.VACANT else f", taken {figures.plural(times, 'time')}"


def _replica_facts(stats: RingStats) -> list[tuple[str, Text | str]]:
    """What a runner and a shard publish in the words that are the application's; nothing of it where they do not."""
    producer, consumer = stats.producer_words, stats.consumer_words
    facts: list[tuple[str, Text | str]] = []
    if 0 < producer[LinkWord.STATE] <= max(LinkState):
        syncs = (
            f"{figures.plural(producer[LinkWord.FULL_SYNCS], 'full sync')}, {producer[LinkWord.PARTIAL_SYNCS]} partial"
        )
        received = producer[LinkWord.RECEIVED_OFFSET]
        offset = f", received up to offset {figures.count(received - 1)}" if received else ""
        facts.append(("runner", f"{link_word(LinkState(producer[LinkWord.STATE]))}, {syncs}{offset}"))
    if consumer[FRAMES_WORD] or consumer[SNAPSHOTS_WORD]:
        snapshots = figures.plural(consumer[SNAPSHOTS_WORD], "snapshot")
        keys = figures.plural(consumer[ENTRIES_WORD], "key")
        facts.append(("shard", f"{figures.plural(consumer[FRAMES_WORD], 'frame')} and {snapshots} ({keys}) applied"))
    return facts


def _record_table(records: tuple[PeekedRecord, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True, header_style="bold")
    table.add_column("position", justify="right", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("offset", justify="right", no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    # Not the column but its cells do not wrap: then it is this one that gives way on a narrow terminal.
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
    """The arguments of a frame, as far as its first bytes reach; None for what is no whole frame."""
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


def _object(peek: Peek) -> dict[str, Any]:
    return {
        **ring_object(peek.stats),
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
