"""The options of ``ingest`` for its log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import click

from kevy_ring.cli.log.formats import JSON, TEXT
from kevy_ring.cli.log.run_log import LOG_INTERVAL_S

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def _level(context: click.Context, parameter: click.Parameter, name: str) -> int:
    return _LEVELS[name]


def _none_if_zero(context: click.Context, parameter: click.Parameter, seconds: float) -> float | None:
    return seconds or None


# They have the names of the fields of LogOptions.
_OPTIONS = (
    click.option(
        "--log-level", type=click.Choice(tuple(_LEVELS), case_sensitive=False), default="info", show_default=True,
        callback=_level, help="Least level that the log on standard error has.",
    ),
    click.option(
        "--log-interval", "log_interval_s", callback=_none_if_zero, type=click.FloatRange(min=0), metavar="S",
        default=LOG_INTERVAL_S, show_default=True,
        help="Seconds between two lines of the log about the progress; 0: no such lines. A terminal shows a table "
        "instead.",
    ),
    click.option(
        "--log-format", type=click.Choice((TEXT, JSON), case_sensitive=False),
        help="Lines of text, or one JSON object per line.  [default: text; with --json there is no log unless this "
        "option asks for it]",
    ),
)  # fmt: skip


def log_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: adds the options of the log."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
