"""Looks at a sink before any process is started: a mistake is then one line, and no process that dies and dies."""

from __future__ import annotations

from contextlib import ExitStack

import click

from kevy_ring.cli.redaction import without_secrets
from kevy_ring.shard.sinks.options import SinkOptions
from kevy_ring.shard.sinks.sink_url import sink_from_url


def check_sinks(sink: str, shards: int, options: SinkOptions, at_the_end: ExitStack) -> None:
    """Make every shard's sink once, claim what can be claimed, and let go of it.

    A sink that puts something back when it is closed is kept until ``at_the_end``. Raises ``click.UsageError`` for a
    URL that names no sink, SinkError for one that cannot be had.
    """
    with ExitStack() as made:
        sinks = []
        for shard in range(shards):
            try:
                each = sink_from_url(sink, shard=shard, shards=shards, options=options)
            except ValueError as error:
                raise click.UsageError(f"--sink: {without_secrets(str(error))}") from error
            if not sink.startswith("python:"):
                # Closing is the user's own code there, and nothing was opened.
                made.callback(each.close)
            sinks.append(each)
        # Only when all of them can be had: a refused run marks no target.
        for each in sinks:
            if (claim := getattr(each, "claim", None)) is not None and not sink.startswith("python:"):
                claim()
        kept = [each for each in sinks if getattr(each, "restores_at_close", False) is True]
        if kept:
            at_the_end.push(made.pop_all())
