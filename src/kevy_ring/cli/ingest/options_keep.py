"""The options of ``ingest`` about errors, restarts and what is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from kevy_ring.replica.options import MAX_RESTARTS
from kevy_ring.shard.refused.policy import ErrorPolicy
from kevy_ring.shard.sinks.retention import FOREVER, Retention

Command = TypeVar("Command", bound=Callable[..., Any])


class ErrorPolicyType(click.ParamType):  # type: ignore[type-arg, unused-ignore] # generic in newer versions of click
    """``stop``, ``skip`` or ``dead-letter:FILE``."""

    name = "POLICY"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> ErrorPolicy:
        if isinstance(value, ErrorPolicy):
            return value
        try:
            return ErrorPolicy.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class RetentionType(click.ParamType):  # type: ignore[type-arg, unused-ignore] # generic in newer versions of click
    """``off``, ``forever``, an age (``7d``) or a size (``10GB``)."""

    name = "KEEP"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Retention:
        if isinstance(value, Retention):
            return value
        try:
            return Retention.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


_OPTIONS = (
    click.option(
        "--on-error", type=ErrorPolicyType(), metavar="POLICY",
        help="What to do with a command that the sink refuses, an event at which a python: sink raises, and a key of a "
        "snapshot that cannot be read. stop: end the run before it. skip: count it and continue. dead-letter:FILE: "
        "append it to FILE and continue; kevy-ring replay applies FILE later.  [default: skip, but a python: sink "
        "that raises fails its process]",
    ),
    click.option(
        "--max-restarts", metavar="N", type=click.IntRange(0), default=MAX_RESTARTS, show_default=True,
        help="Exit with 1 when a runner or shard process ends after N restarts within ten minutes.",
    ),
    click.option(
        "--changes", type=RetentionType(), metavar="KEEP", default=str(FOREVER), show_default=True,
        help="How much of its log of changes a jsonl:DIR or sqlite:FILE sink keeps: off, forever, an age (30m, 12h, "
        "7d) or a size (500MB, 10GB). Older changes are removed, also those of earlier runs.",
    ),
    click.option(
        "--keep-generations", metavar="N", type=click.IntRange(1),
        help="Keep the last N generations of a jsonl:DIR sink, with the current one, and remove older ones.  "
        "[default: all]",
    ),
)  # fmt: skip


def keep_options(command: Command) -> Command:
    """Add the options of this file to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
