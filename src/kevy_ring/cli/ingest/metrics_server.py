"""Serves the metrics of a run over HTTP while it lasts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from kevy_ring.cli.failure import Failure
from kevy_ring.cli.views.view import View


@contextmanager
def serve_metrics(port: int | None, address: str, view: View) -> Iterator[None]:
    """Serve the metrics of the rings that this process made. Port 0: any free port; None: serve nothing.

    Raises :class:`Failure` if prometheus-client is not installed or the port cannot be opened.
    """
    if port is None:
        yield
        return
    try:
        from kevy_ring.metrics import collector
    except ModuleNotFoundError as error:
        raise Failure(str(error)) from error
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    rings = collector(wanted=lambda stats: stats.creator_pid == os.getpid())
    registry.register(rings)
    try:
        server, thread = start_http_server(port, address, registry)
    except OSError as error:
        raise Failure(f"no metrics at {address}:{port}: {error.strerror or error}") from error
    try:
        host = f"[{address}]" if ":" in address else address
        view.note(f"metrics at http://{host}:{server.server_address[1]}/metrics")
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        rings.close()
