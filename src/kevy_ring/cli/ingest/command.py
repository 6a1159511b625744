"""``kevy-ring ingest``: follow upstreams into shard processes, and compare what they hold."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any

import click

from kevy_ring.cli.byte_size import ByteSize
from kevy_ring.cli.ingest.asked import asked_of
from kevy_ring.cli.ingest.embedded import run_embedded
from kevy_ring.cli.ingest.ending import end, ended_in_order
from kevy_ring.cli.ingest.file_mode import FileMode
from kevy_ring.cli.ingest.followed import run_followed
from kevy_ring.cli.ingest.metrics_server import serve_metrics
from kevy_ring.cli.ingest.replication import GIVE_UP_AFTER_S
from kevy_ring.cli.views.view import choose_view
from kevy_ring.replica.stall_watch import STALL_AFTER_S
from kevy_ring.shard.sinks.stdout import STDOUT

_HELP = """Follow upstreams into shard processes.

\b
URL:  kevy://host:port                     shard i is at port + i
      redis://[user:password@]host:port    Redis or Valkey (valkey://); rediss:// with TLS
      unix://[user:password@]path

Each stream gets a ring in shared memory, a runner process that receives and a shard process that applies. Without a
URL an embedded upstream is started, fed, followed and compared, first key by key and then by digest.

Exit code: 0 done (and verified, where asked for), 1 something is wrong, 2 bad usage.
"""


def _none_if_zero(context: click.Context, parameter: click.Parameter, number: float) -> float | None:
    return number or None


# An option that is named like a field of FollowOptions or SinkOptions needs no other edit than its use.
@click.command(help=_HELP)
@click.argument("urls", metavar="[URL]...", nargs=-1)
@click.option(
    "--shards", metavar="N", type=click.IntRange(1, 1024), help="Shards of each kevy:// upstream.  [1; 2 without a URL]"
)
@click.option("--capacity", type=ByteSize(power_of_two=True), default="8MiB", show_default=True, help="Of each ring.")
@click.option(
    "--sink",
    metavar="SINK",
    help="jsonl:- (lines on standard output), jsonl:DIR, sqlite:FILE, memory, null, redis://HOST:PORT[/{shard}], "
    "python:MODULE:CALLABLE.  [jsonl:-]",
)
@click.option(
    "--replace-target", is_flag=True,
    help="Replace all keys of a redis:// sink's server (or database), also those of others.",
)  # fmt: skip
@click.option(
    "--allow-unchecked-target", is_flag=True,
    help="Write to a redis:// sink although INFO is refused there or upstream: nothing tells then that they are two.",
)  # fmt: skip
@click.option(
    "--target-import-mode", is_flag=True,
    help="Switch import-mode of a redis:// sink on (Valkey 8.1 and newer), so that it expires nothing by its own "
    "clock, and back at the end.",
)  # fmt: skip
@click.option(
    "--name",
    "name_prefix",
    metavar="PREFIX",
    help="Name the rings PREFIX-0, ... and keep them at exit: the next run with this name goes on where this one ended "
    "(jsonl and sqlite).",
)
@click.option(
    "--overflow-limit",
    type=ByteSize(),
    help="Stop reading from an upstream while more than this waits behind a ring, until half of it is gone.  [off]",
)
@click.option(
    "--stall-after",
    "stall_after_s",
    callback=_none_if_zero,
    type=click.FloatRange(min=0),
    metavar="S",
    default=STALL_AFTER_S,
    show_default=True,
    help="Say so when a full ring was not drained for S seconds; 0: never.",
)
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), metavar="S", help="End after S seconds.")
@click.option(
    "--allow-skipped", is_flag=True,
    help="Exit with 0 although a snapshot had what cannot be read (streams, types of modules), or --verify could not "
    "compare it.",
)  # fmt: skip
@click.option("--until-caught-up", is_flag=True, help="End when all that the upstream has is applied, for a second.")
@click.option("--verify", is_flag=True, help="Compare with the upstream at the end (after catching up, unless told).")
@click.option(
    "--data-url", "data_urls", multiple=True, metavar="URL",
    help="Where --verify reads the upstream's keys, for each upstream in turn; needed for kevy://.",
)  # fmt: skip
@click.option(
    "--metrics-port", type=click.IntRange(0, 65535), metavar="PORT", help="Serve Prometheus metrics there; 0: any port."
)
@click.option(
    "--metrics-address", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Where --metrics-port listens."
)
@click.option(
    "--file-mode", type=FileMode(), metavar="MODE", default="0600",
    show_default=True, help="Permissions of the files that jsonl and sqlite make, in octal.",
)  # fmt: skip
@click.option(
    "--give-up-after",
    "give_up_after_s",
    callback=_none_if_zero,
    type=click.FloatRange(min=0),
    metavar="S",
    default=GIVE_UP_AFTER_S,
    show_default=True,
    help="With --until-caught-up or --verify: end with exit code 1 when an upstream was not followed for S seconds; "
    "0: never.",
)
@click.option(
    "--psync-command",
    metavar="NAME",
    default="PSYNC",
    help="What a Redis upstream has renamed PSYNC to.",
)
@click.option("--protocol", type=click.Choice(["auto", "kevy1", "kevy2"]), default="auto", hidden=True)
@click.option(
    "--keys",
    metavar="N",
    type=click.IntRange(0),
    default=50_000,
    show_default=True,
    help="Without a URL: in the snapshot.",
)
@click.option(
    "--ops", metavar="N", type=click.IntRange(0), default=500_000, show_default=True, help="Without a URL: live frames."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, a summary at last.")
def ingest(*, as_json: bool, metrics_port: int | None, metrics_address: str, **options: Any) -> int:
    asked = asked_of(**options)
    run = run_followed if asked.upstreams else run_embedded
    make_view = partial(choose_view, as_json=as_json, to_stderr=asked.sink == STDOUT)
    serve = partial(serve_metrics, metrics_port, metrics_address)
    with ended_in_order(), ExitStack() as stack:
        return end(*run(asked, make_view, serve, stack))
