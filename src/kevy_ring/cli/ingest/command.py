"""``kevy-ring ingest``: follow upstreams into shard processes, and compare what they hold."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import click

from kevy_ring.cli.byte_size import ByteSize
from kevy_ring.cli.configuration.command import ConfiguredCommand
from kevy_ring.cli.ingest.asked import asked_of
from kevy_ring.cli.ingest.embedded import run_embedded
from kevy_ring.cli.ingest.followed import run_followed
from kevy_ring.cli.ingest.health import Health
from kevy_ring.cli.ingest.metrics_server import serve_health
from kevy_ring.cli.ingest.options_filter import filter_options
from kevy_ring.cli.ingest.options_health import health_options
from kevy_ring.cli.ingest.options_keep import keep_options
from kevy_ring.cli.ingest.options_log import log_options
from kevy_ring.cli.ingest.options_password import password_options
from kevy_ring.cli.ingest.outcome import Outcome
from kevy_ring.cli.ingest.replication import GIVE_UP_AFTER_S
from kevy_ring.cli.log.run_log import RunLog
from kevy_ring.cli.redaction import without_secrets
from kevy_ring.cli.views.view import View, choose_view
from kevy_ring.replica.stall_watch import STALL_AFTER_S
from kevy_ring.shard.sinks.stdout import STDOUT

_HELP = """Follow upstreams into shard processes.

\b
URL:  kevy://HOST:PORT                     one stream per shard; shard i is at PORT + i
      redis://[USER:PASSWORD@]HOST:PORT    Redis or Valkey (valkey://); rediss:// with TLS
      unix://[USER:PASSWORD@]PATH          Redis or Valkey on a Unix socket
      redis://HOST:PORT/N                  only database N of it, as with --db N

Each stream gets a ring in shared memory, a runner process that receives it and a shard process that applies it. Without
a URL, the command starts an embedded upstream, follows it, and compares the result: first key by key, then by digest.

Each option can also be set in the environment (--stall-after: KEVY_RING_STALL_AFTER; several values, as those of
KEVY_RING_URLS, are separated by blanks) and in a TOML file (stall-after = 30). The command line wins, then the
environment, then the file. Write a password into a file or the environment, not into the command line.

Exit code: 0 done (and equal, with --verify), 1 something is wrong, 2 bad usage.
"""


class FileMode(click.ParamType):  # type: ignore[type-arg, unused-ignore] # generic in newer versions of click
    """Permissions of files in octal (``0640``, ``600``). The owner can read and write; no one can execute."""

    name = "MODE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            mode = int(value, 8)
        except ValueError:
            mode = -1
        if not 0 <= mode <= 0o777 or mode & 0o111 or mode & 0o600 != 0o600:
            self.fail(f"{value!r} is no mode of files to write: 0600, 0640, 0644, 0660, ...", param, ctx)
        return mode


def _none_if_zero(context: click.Context, parameter: click.Parameter, number: float) -> float | None:
    return number or None


# An option named like a field of FollowOptions, SinkOptions or KeyFilter reaches that field without another edit.
@click.command(help=_HELP, cls=ConfiguredCommand)
@click.argument("urls", metavar="[URL]...", nargs=-1)
@click.option(
    "--shards", metavar="N", type=click.IntRange(1, 1024),
    help="Number of shards of each kevy:// upstream.  [default: 1; 2 without a URL]",
)  # fmt: skip
@click.option(
    "--capacity", type=ByteSize(power_of_two=True), default="8MiB", show_default=True,
    help="Size of each ring in bytes: a power of two, at least 4KiB.",
)  # fmt: skip
@click.option(
    "--sink", metavar="SINK",
    help="Where the shards apply the stream: jsonl:- (lines on standard output), jsonl:DIR, sqlite:FILE, memory, "
    "null, redis://HOST:PORT[/DB] or python:MODULE:CALLABLE.  [default: jsonl:-; without a URL memory, then null]",
)  # fmt: skip
@click.option(
    "--replace-target", is_flag=True,
    help="Let a redis:// sink delete all keys of its server (or database) first, also keys that others wrote.",
)  # fmt: skip
@click.option(
    "--allow-unchecked-target", is_flag=True,
    help="Write to a redis:// sink even if it or the upstream refuses INFO, which would show whether they are one "
    "server.",
)  # fmt: skip
@click.option(
    "--target-import-mode", is_flag=True,
    help="Switch on import-mode of a redis:// sink (Valkey 8.1 or newer), so that it expires no key by its own clock. "
    "Switch it back at the end.",
)  # fmt: skip
@filter_options
@click.option(
    "--name", "name_prefix", metavar="PREFIX",
    help="Name the rings PREFIX-0, PREFIX-1, ... and keep them at exit. The next run with this name continues where "
    "this one ended (jsonl and sqlite sinks).  [default: rings without such a name, removed at exit]",
)  # fmt: skip
@click.option("--no-keep", is_flag=True, help="With --name: remove the rings at exit.")
@click.option(
    "--overflow-limit", type=ByteSize(),
    help="Stop reading from an upstream while more bytes than this wait behind its ring, until half of them are gone.  "
    "[default: no limit]",
)  # fmt: skip
@click.option(
    "--stall-after", "stall_after_s", callback=_none_if_zero, type=click.FloatRange(min=0), metavar="S",
    default=STALL_AFTER_S, show_default=True,
    help="Report a full ring that was not drained for S seconds; 0: never.",
)  # fmt: skip
@click.option(
    "--duration", type=click.FloatRange(min=0, min_open=True), metavar="S",
    help="End after S seconds.  [default: at Ctrl-C]",
)  # fmt: skip
@click.option(
    "--allow-skipped", is_flag=True,
    help="Exit with 0 even if a snapshot held what cannot be read (values of modules, functions), or if --verify could "
    "not compare it.",
)  # fmt: skip
@click.option(
    "--until-caught-up", is_flag=True,
    help="End when everything that the upstream has is applied, and nothing new has come for one second.",
)  # fmt: skip
@click.option(
    "--verify", is_flag=True,
    help="Compare the sink with the upstream at the end: after --duration, or when it has caught up.",
)  # fmt: skip
@click.option(
    "--data-url", "data_urls", multiple=True, metavar="URL",
    help="Where --verify reads the upstream's keys, one URL for each upstream, in order. A kevy:// upstream needs it.  "
    "[default: the upstream]",
)  # fmt: skip
@health_options
@click.option(
    "--file-mode", type=FileMode(), metavar="MODE", default="0600", show_default=True,
    help="Permissions, in octal, of the files that a jsonl or sqlite sink makes.",
)  # fmt: skip
@click.option(
    "--give-up-after", "give_up_after_s", callback=_none_if_zero, type=click.FloatRange(min=0), metavar="S",
    default=GIVE_UP_AFTER_S, show_default=True,
    help="With --until-caught-up or --verify: exit with 1 when an upstream was not followed for S seconds; 0: never.",
)  # fmt: skip
@click.option(
    "--psync-command", metavar="NAME", default="PSYNC", show_default=True,
    help="Name of the PSYNC command, if a Redis upstream has renamed it.",
)  # fmt: skip
@password_options
@keep_options
@click.option("--protocol", type=click.Choice(["auto", "kevy1", "kevy2"]), default="auto", hidden=True)
@click.option(
    "--ops", metavar="N", type=click.IntRange(0), default=500_000, show_default=True,
    help="Without a URL: number of live frames, 3/5 of them in the first phase and the rest in the second.",
)  # fmt: skip
@log_options
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object per line. The last one is a summary.")
def ingest(*, as_json: bool, metrics_port: int | None, metrics_address: str, ready_lag_s: float, **options: Any) -> int:
    asked = asked_of(**options)
    log, to_stderr = RunLog(asked.log, as_json=as_json), asked.sink == STDOUT
    if as_json and log.is_on and to_stderr:
        raise click.UsageError("--json and --log-format exclude each other if the stream uses standard output")
    run = run_followed if asked.upstreams else run_embedded
    make_view = partial(choose_view, log, as_json=as_json, to_stderr=to_stderr)
    serve = partial(serve_health, metrics_port, metrics_address, Health(ready_lag_s))
    with log, log.failure_in_json(), _ended_in_order(), ExitStack() as stack:
        return _end(*run(asked, make_view, serve, stack))


def _end(view: View, outcomes: list[Outcome], remarks: list[str]) -> int:
    """Close the view; returns the exit code."""
    problems = [problem for outcome in outcomes for problem in outcome.problems]
    problem = without_secrets(" ".join(problems[0].split())) if problems else None
    if problem and len(problems) > 1:
        problem += f" (and {len(problems) - 1} more)"
    view.close(outcomes, remarks if problem is None else [], problem)
    return 1 if problem is not None else 0


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Let SIGTERM unwind the stack as Ctrl-C does. (A fleet handles both signals itself while it runs.)

    Handle the loss of the terminal (SIGHUP) like a SIGTERM, so that no ring stays behind.
    """
    # Ask now: a terminal that is gone no longer reports that it is one.
    terminals = [each.fileno() for each in (sys.__stdout__, sys.__stderr__) if each is not None and each.isatty()]

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    def hang_up(number: int, frame: object) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        for terminal in terminals:
            os.dup2(null, terminal)
        os.close(null)
        signal.raise_signal(signal.SIGTERM)

    before = {number: signal.signal(number, action)
              for number, action in ((signal.SIGTERM, interrupt), (signal.SIGHUP, hang_up))}  # fmt: skip
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)
