"""The metrics of a run, served over HTTP while it lasts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from kevy_ring.cli.failure import Failure
from kevy_ring.cli.views.view import View
from kevy_ring.ring import RingStats


@contextmanager
def serve_metrics(port: int | None, address: str, view: View) -> Iterator[None]:
    """Serve what Prometheus asks for, of the rings that this process made; port 0: any; None: not at all.

    Raises :class:`Failure` where prometheus-client is missing or the port cannot be had.
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
    rings = collector(wanted=_is_ours)
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


def _is_ours(stats: RingStats) -> bool:
    return stats.creator_pid == os.getpid()
