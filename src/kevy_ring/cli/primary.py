"""``kevy-ring primary``: the embedded upstream without a replica."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kevy_ring.cli import figures
from kevy_ring.cli.byte_size import ByteSize
from kevy_ring.cli.tables import new_table
from kevy_ring.testing.options import DEFAULT_BACKLOG_BYTES, PrimaryOptions
from kevy_ring.testing.primary import UpstreamStatus, serve

_TERMINAL_S, _JSON_S, _PIPE_S = 0.5, 1.0, 5.0
_HELP = """Serve an embedded upstream for tests, in the foreground, until Ctrl-C.

It speaks the kevy protocols 1 and 2 on loopback, with one port per shard. It holds keys of all types and sends them as
a snapshot. Once every shard has a replica, it sends live frames from a workload that --seed repeats. Follow it with:

\b
    kevy-ring ingest kevy://127.0.0.1:PORT --shards N
"""


def _as_number(context: click.Context, parameter: click.Parameter, choice: str | None) -> int | None:
    return int(choice) if choice else None


# An option is named like the field of PrimaryOptions that it sets.
@click.command(help=_HELP)
@click.option(
    "--shards", metavar="N", type=click.IntRange(1, 1024), default=2, show_default=True,
    help="Number of shards. Each has a port.",
)  # fmt: skip
@click.option(
    "--port", metavar="N", type=click.IntRange(0, 65535), default=0,
    help="Port of shard 0; the other shards use the next ports.  [default: any free ports]",
)  # fmt: skip
@click.option(
    "--keys", metavar="N", type=click.IntRange(0), default=50_000, show_default=True,
    help="Number of keys in the snapshot, over all shards.",
)  # fmt: skip
@click.option(
    "--ops", metavar="N", type=click.IntRange(0), default=500_000, show_default=True,
    help="Number of live frames, over all shards.",
)  # fmt: skip
@click.option(
    "--rate", metavar="N", type=click.FloatRange(min=0, min_open=True),
    help="Live frames per second.  [default: as fast as the replicas take them]",
)  # fmt: skip
@click.option(
    "--value-bytes", metavar="N", type=click.IntRange(0), default=64, show_default=True,
    help="Size of most values in bytes.",
)  # fmt: skip
@click.option(
    "--backlog", "backlog_bytes", type=ByteSize(), default=DEFAULT_BACKLOG_BYTES,
    help="Backlog of each shard in bytes.  [default: 64MiB]",
)  # fmt: skip
@click.option(
    "--protocol", type=click.Choice(["1", "2"]), callback=_as_number,
    help="Speak only this version of the kevy protocol.  [default: both]",
)  # fmt: skip
@click.option("--seed", metavar="N", type=int, default=1, show_default=True, help="Seed of the workload.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object per line.")
def primary(*, as_json: bool, **options: Any) -> int:
    try:
        chosen = PrimaryOptions(**options)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    on_status, interval_s, live = _view(chosen.shards, as_json=as_json)
    if live is not None:
        live.start()
    try:
        serve(chosen, on_status=on_status, status_interval_s=interval_s)
    except OSError as error:
        raise click.ClickException(f"the ports cannot be opened: {error}; choose others with --port") from error
    finally:
        if live is not None:
            live.stop()
    return 0


def _view(shards: int, *, as_json: bool) -> tuple[Callable[[list[UpstreamStatus]], None], float, Live | None]:
    """Returns the function to call with every status, the seconds between calls, and the live display or None."""
    if as_json:
        return _say_json, _JSON_S, None
    if not sys.stdout.isatty():
        return _Lines(shards), _PIPE_S, None
    live = Live(console=Console(highlight=False), auto_refresh=False)

    def draw(statuses: list[UpstreamStatus]) -> None:
        live.update(Group(_where(statuses, shards), _table(statuses)), refresh=True)

    return draw, _TERMINAL_S, live


def _url(statuses: list[UpstreamStatus]) -> str:
    return f"kevy://127.0.0.1:{statuses[0].port}"


def _where(statuses: list[UpstreamStatus], shards: int) -> Text:
    command = f"kevy-ring ingest {_url(statuses)}" + (f" --shards {shards}" if shards > 1 else "")
    return Text.assemble(("serving ", "bold"), (_url(statuses), "bold green"), f"  follow it with: {command}")


def _table(statuses: list[UpstreamStatus]) -> Table:
    table = new_table()
    for name in ("shard", "port", "replicas", "live frames sent", "of", "acknowledged by a replica"):
        table.add_column(name, justify="right", no_wrap=True)
    for number, status in enumerate(statuses):
        acked = max(status.acked.values(), default=None)
        table.add_row(
            str(number),
            str(status.port),
            str(status.links),
            figures.count(status.published),
            figures.count(status.frames),
            figures.NOTHING if acked is None else f"up to {figures.count(acked)}",
        )
    return table


class _Lines:
    """Plain lines: the address first, then one line for each change."""

    def __init__(self, shards: int) -> None:
        self._shards = shards
        self._said = ""

    def __call__(self, statuses: list[UpstreamStatus]) -> None:
        if not self._said:
            print(_where(statuses, self._shards).plain, flush=True)
        text = ", ".join(
            f"shard {number}: {figures.plural(status.links, 'replica')}, "
            f"{figures.count(status.published)} of {figures.count(status.frames)} live frames"
            for number, status in enumerate(statuses)
        )
        if text != self._said:
            self._said = text
            print(text, flush=True)


def _say_json(statuses: list[UpstreamStatus]) -> None:
    shards = [
        {
            "shard": number,
            "port": status.port,
            "replicas": status.links,
            "published": status.published,
            "frames": status.frames,
            "acked": {name.decode("utf-8", "backslashreplace"): position for name, position in status.acked.items()},
        }
        for number, status in enumerate(statuses)
    ]
    print(json.dumps({"type": "status", "url": _url(statuses), "shards": shards}), flush=True)
