"""Looks at a sink before any process is started: a mistake is then one line, and no process that dies and dies."""

from __future__ import annotations

import click

from kevy_ring.cli.secrets import without_secrets
from kevy_ring.shard.sinks.options import SinkOptions
from kevy_ring.shard.sinks.sink import sink_from_url


def check_sinks(sink: str, shards: int, options: SinkOptions) -> None:
    """Make every shard's sink once, and let go of it.

    Raises ``click.UsageError`` for a URL that names no sink, SinkError for one that cannot be had.
    """
    for shard in range(shards):
        try:
            made = sink_from_url(sink, shard=shard, shards=shards, options=options)
        except ValueError as error:
            raise click.UsageError(f"--sink: {without_secrets(str(error))}") from error
        if not sink.startswith("python:"):
            # Closing is the user's own code there, and nothing was opened.
            made.close()
