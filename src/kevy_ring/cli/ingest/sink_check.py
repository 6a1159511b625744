"""Checks the sinks before any process starts, so that a mistake is one error line and not a restart loop."""

from __future__ import annotations

from contextlib import ExitStack

import click

from kevy_ring.cli.redaction import without_secrets
from kevy_ring.shard.sinks.options import SinkOptions
from kevy_ring.shard.sinks.sink_url import sink_from_url


def check_sinks(sink: str, shards: int, options: SinkOptions, at_the_end: ExitStack) -> None:
    """Make every shard's sink once, claim it if it has a claim, and close it.

    A sink that restores a setting when it closes stays open until ``at_the_end``. Raises ``click.UsageError`` for a URL
    that names no sink, and SinkError for a sink that cannot be opened.
    """
    with ExitStack() as made:
        sinks = []
        for shard in range(shards):
            try:
                each = sink_from_url(sink, shard=shard, shards=shards, options=options)
            except ValueError as error:
                raise click.UsageError(f"--sink: {without_secrets(str(error))}") from error
            if not sink.startswith("python:"):
                # close() of a python: sink is the user's code, and nothing was opened.
                made.callback(each.close)
            sinks.append(each)
        # Claim only after all sinks could be made: a refused run must not mark a target.
        for each in sinks:
            if (claim := getattr(each, "claim", None)) is not None and not sink.startswith("python:"):
                claim()
        kept = [each for each in sinks if getattr(each, "restores_at_close", False) is True]
        if kept:
            at_the_end.push(made.pop_all())
