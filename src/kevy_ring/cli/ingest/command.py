"""``kevy-ring ingest``: follow upstreams into shard processes, and compare what they hold."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import chain

import click

from kevy_ring.cli import figures
from kevy_ring.cli.byte_size import ByteSize
from kevy_ring.cli.compare.comparison import comparison_of
from kevy_ring.cli.ingest.embedded import EMBEDDED_NAME, Embedded, run_embedded
from kevy_ring.cli.ingest.file_mode import FileMode
from kevy_ring.cli.ingest.goal import ForDuration, Goal, UntilCaughtUp, UntilStopped
from kevy_ring.cli.ingest.metrics_server import serve_metrics
from kevy_ring.cli.ingest.outcome import Outcome
from kevy_ring.cli.ingest.replication import GIVE_UP_AFTER_S, Replication
from kevy_ring.cli.ingest.sink_check import check_sinks
from kevy_ring.cli.redaction import shown_url, without_secrets
from kevy_ring.cli.views.view import View, choose_view
from kevy_ring.replica.refusal import checked_command
from kevy_ring.replica.stall_watch import STALL_AFTER_S
from kevy_ring.replica.upstream_url import REDIS_SCHEMES, UpstreamUrl, parse_upstream
from kevy_ring.shard.sinks.options import SinkOptions
from kevy_ring.shard.sinks.stdout import STDOUT

_EMBEDDED_SHARDS = 2
_RING_PREFIX = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,23}")
_HELP = """Follow upstreams into shard processes.

\b
URL:  kevy://host:port                     shard i is at port + i
      redis://[user:password@]host:port    Redis or Valkey (valkey://); rediss:// with TLS
      unix://[user:password@]path

Each stream gets a ring in shared memory, a runner process that receives and a shard process that applies. Without a
URL an embedded upstream is started, fed, followed and compared, first key by key and then by digest.

Exit code: 0 done (and verified, where asked for), 1 something is wrong, 2 bad usage.
"""


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
def ingest(
    *,
    urls: tuple[str, ...],
    shards: int | None,
    capacity: int,
    sink: str | None,
    replace_target: bool,
    allow_unchecked_target: bool,
    target_import_mode: bool,
    name: str | None,
    overflow_limit: int | None,
    stall_after: float,
    duration: float | None,
    allow_skipped: bool,
    until_caught_up: bool,
    verify: bool,
    data_urls: tuple[str, ...],
    metrics_port: int | None,
    metrics_address: str,
    file_mode: int,
    give_up_after: float,
    psync_command: str,
    protocol: str,
    keys: int,
    ops: int,
    as_json: bool,
) -> int:
    if duration is not None and until_caught_up:
        raise click.UsageError("--duration and --until-caught-up exclude each other")
    sink_options = SinkOptions(
        file_mode=file_mode,
        replace_target=replace_target,
        allow_unchecked_target=allow_unchecked_target,
        target_import_mode=target_import_mode,
        upstreams=(EMBEDDED_NAME,) * (shards or _EMBEDDED_SHARDS),
    )
    if (replace_target or allow_unchecked_target or target_import_mode) and not _is_redis(sink or ""):
        raise click.UsageError(
            "--replace-target, --allow-unchecked-target and --target-import-mode are for a redis:// sink"
        )
    with _ended_in_order(), ExitStack() as at_the_end:
        if not urls:
            if name is not None:
                raise click.UsageError("--name is for a URL to follow: the embedded upstream ends with the command")
            if data_urls:
                raise click.UsageError("--data-url is for a URL to follow: the embedded upstream knows its keys")
            embedded = Embedded(shards or _EMBEDDED_SHARDS, keys, ops, capacity, sink, duration, verify, sink_options)
            view = choose_view(as_json=as_json, to_stderr=sink == STDOUT)
            with serve_metrics(metrics_port, metrics_address, view):
                return _end(*run_embedded(embedded, lambda: view, at_the_end))
        upstreams = _upstreams(urls, data_urls, shards)
        _check_psync_command(psync_command)
        if name is not None and not _RING_PREFIX.fullmatch(name):
            raise click.UsageError("--name has 1 to 24 letters, digits, dots, dashes or underscores, no dot first")
        streams = sum((shards or 1) if upstream.kind == "kevy" else 1 for upstream in upstreams)
        chosen = sink or STDOUT
        compare = comparison_of(upstreams, data_urls, chosen, shards or 1, streams) if verify else None
        sink_options = replace(sink_options, upstreams=_followed(upstreams, shards or 1))
        check_sinks(chosen, streams, sink_options, at_the_end)
        view = choose_view(as_json=as_json, to_stderr=chosen == STDOUT)
        goal = _goal(duration, until_caught_up=until_caught_up or verify)
        replication = Replication(
            urls, chosen, goal, view, shards=shards or 1, streams=streams, capacity=capacity, compare=compare,
            protocol=protocol, ring_prefix=name, overflow_limit=overflow_limit,
            stall_after_s=stall_after or None, sink_options=sink_options, allow_skipped=allow_skipped,
            psync_command=psync_command, give_up_after_s=give_up_after or None,
        )  # fmt: skip
        replication.make_rings()
        _title(view, upstreams, chosen, goal, streams=streams, capacity=capacity, verify=verify)
        with serve_metrics(metrics_port, metrics_address, view):
            outcome = replication.run()
        view.outcome(outcome)
        did = "done" if outcome.comparison is None else "verified"
        return _end(view, [outcome], [f"{did} in {figures.seconds(outcome.seconds)}"])


def _goal(duration: float | None, *, until_caught_up: bool) -> Goal:
    if duration is not None:
        return ForDuration(duration)
    return UntilCaughtUp() if until_caught_up else UntilStopped()


def _upstreams(urls: tuple[str, ...], data_urls: tuple[str, ...], shards: int | None) -> list[UpstreamUrl]:
    try:
        upstreams = [parse_upstream(url) for url in urls]
        for upstream in upstreams:
            upstream.check_all_databases()
            if upstream.kind == "kevy":
                upstream.shard((shards or 1) - 1)
        for url in data_urls:
            data = parse_upstream(url)
            if data.kind != "redis":
                raise ValueError("--data-url is a redis://, rediss:// or unix:// URL: keys are read by commands")
            data.check_all_databases()
    except ModuleNotFoundError as error:
        raise click.ClickException(str(error)) from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if shards and not any(upstream.kind == "kevy" for upstream in upstreams):
        raise click.UsageError("--shards counts the listeners of a kevy:// upstream; any other is one stream")
    return upstreams


def _followed(upstreams: list[UpstreamUrl], shards: int) -> tuple[UpstreamUrl, ...]:
    """What each shard follows."""
    each = ([url.shard(at) for at in range(shards)] if url.kind == "kevy" else [url] for url in upstreams)
    return tuple(chain.from_iterable(each))


def _is_redis(sink: str) -> bool:
    return sink.partition("://")[0].lower() in REDIS_SCHEMES


def _check_psync_command(name: str) -> None:
    try:
        checked_command(name)
    except ValueError as error:
        raise click.UsageError(f"--psync-command: {error}") from error


def _title(
    view: View, upstreams: list[UpstreamUrl], sink: str, goal: Goal, *, streams: int, capacity: int, verify: bool
) -> None:
    shown = [str(upstream) for upstream in upstreams]
    parts = [f"{streams} shard{'s' if streams > 1 else ''}", goal.words]
    parts += ["then compared key by key"] if verify else []
    view.title(
        f"{', '.join(shown)} → {shown_url(sink)}",
        " · ".join(parts),
        upstreams=shown,
        sink=shown_url(sink),
        shards=streams,
        capacity=capacity,
        verify=verify,
    )


def _end(view: View, outcomes: list[Outcome], words: list[str]) -> int:
    """Close the view; returns the exit code."""
    problems = [problem for outcome in outcomes for problem in outcome.problems]
    problem = without_secrets(" ".join(problems[0].split())) if problems else None
    if problem and len(problems) > 1:
        problem += f" (and {len(problems) - 1} more)"
    view.close(outcomes, words if problem is None else [], problem)
    return 1 if problem is not None else 0


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM unwinds the stack as Ctrl-C does, wherever it comes (a fleet takes both while it runs), and a terminal
    that goes away is a SIGTERM: no ring may stay behind for it."""
    # Asked now: a terminal that is gone does not say any more that it was one.
    terminals = [end.fileno() for end in (sys.__stdout__, sys.__stderr__) if end is not None and end.isatty()]

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    def hang_up(number: int, frame: object) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for terminal in terminals:
            os.dup2(nowhere, terminal)
        os.close(nowhere)
        signal.raise_signal(signal.SIGTERM)

    before = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, interrupt),
        signal.SIGHUP: signal.signal(signal.SIGHUP, hang_up),
    }
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)
