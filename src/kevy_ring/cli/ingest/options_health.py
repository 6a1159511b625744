"""The options of ``kevy-ring ingest`` for its health and its metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from kevy_ring.cli.ingest.health import READY_LAG_S

_OPTIONS = (
    click.option(
        "--metrics-port", type=click.IntRange(0, 65535), metavar="PORT",
        help="Serve /metrics for Prometheus, /healthz and /ready on this port; 0: any free port.  [default: none]",
    ),
    click.option(
        "--metrics-address", metavar="ADDRESS", default="127.0.0.1", show_default=True,
        help="Address that --metrics-port listens on.",
    ),
    click.option(
        "--ready-lag", "ready_lag_s", type=click.FloatRange(min=1), metavar="S", default=READY_LAG_S, show_default=True,
        help="/ready, and READY=1 for systemd: at most S seconds from the arrival of an event until it is applied.",
    ),
)  # fmt: skip


def health_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
