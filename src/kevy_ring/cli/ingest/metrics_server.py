"""Serves the health of a run and the metrics of its rings while it lasts."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from kevy_ring.cli.failure import Failure
from kevy_ring.cli.ingest.health import Health, Verdict
from kevy_ring.cli.ingest.http_server import Answer, HttpServer, Pages, Request
from kevy_ring.cli.ingest.progress import ShardProgress
from kevy_ring.cli.ingest.systemd_notifier import notifier_of
from kevy_ring.cli.views.view import View
from kevy_ring.replica.fleet import FleetEvent

if TYPE_CHECKING:
    from kevy_ring.metrics import FleetCollector, RingCollector

_JSON = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
_OK, _UNAVAILABLE = 200, 503
#: Scrapes that run or wait. Two servers that scrape the same run need two.
_SCRAPES_MAX = 4


@contextmanager
def serve_health(port: int | None, address: str, health: Health, view: View) -> Iterator[Health]:
    """Serve /metrics, /healthz and /ready, and tell the service manager how the run is, if it asks for that.

    Port 0: any free port; None: no server. Raises :class:`Failure` if prometheus-client is not installed or the port
    cannot be opened.
    """
    with ExitStack() as stack:
        notifier = notifier_of(health, os.environ)
        if notifier is not None:
            stack.callback(notifier.close)
            health.listeners.append(notifier)
        if port is not None:
            stack.enter_context(_served(port, address, health, view))
        yield health


@contextmanager
def _served(port: int, address: str, health: Health, view: View) -> Iterator[None]:
    try:
        from kevy_ring.metrics import FleetCollector, RingCollector
    except ModuleNotFoundError as error:
        raise Failure(str(error)) from error

    names: set[str] = set()
    exported = _Exported(names, RingCollector(names.__contains__), FleetCollector())
    try:
        server = HttpServer(address, port, exported.pages(health))
    except OSError as error:
        raise Failure(f"no metrics at {address}:{port}: {error.strerror or error}") from error
    health.listeners.append(exported)
    try:
        host = f"[{address}]" if ":" in address else address
        view.note(f"metrics at http://{host}:{server.port}/metrics")
        yield
    finally:
        server.close()
        exported.rings.close()


class _Exported:
    """The collectors of a run. It listens to the health, so that they know what happens between two scrapes.

    ``names``: filled with the names of the rings. The rings of other runs are not mapped.
    """

    def __init__(self, names: set[str], rings: RingCollector, fleet: FleetCollector) -> None:
        self._names, self.rings, self.fleet = names, rings, fleet

    def pages(self, health: Health) -> Pages:
        """What is served."""
        return {
            "/metrics": _metrics_page(self.rings, self.fleet),
            "/healthz": lambda request: _health_page("alive", health.alive()),
            "/ready": lambda request: _health_page("ready", health.ready()),
        }

    def began(self) -> None:
        self.fleet.began()

    def happened(self, event: FleetEvent) -> None:
        self.fleet.happened(event)

    def looked(self, shards: Sequence[ShardProgress]) -> None:
        rings = [shard.ring for shard in shards if shard.ring is not None]
        names = {ring.name for ring in rings}
        if names != self._names:
            self._names |= names
            self._names &= names
            self.rings.close()  # the next scrape looks for the new ones
        self.fleet.looked(shards)
        self.rings.sample(rings)

    def passed(self) -> None:
        pass

    def ending(self) -> None:
        pass


def _metrics_page(*collectors: RingCollector | FleetCollector) -> Any:
    from prometheus_client import CollectorRegistry, make_wsgi_app

    registry = CollectorRegistry()
    for each in collectors:
        registry.register(each)
    application = make_wsgi_app(registry)
    # One scrape at a time: many at once would take the interpreter from the supervisor.
    one_at_a_time, places = threading.Lock(), threading.Semaphore(_SCRAPES_MAX)

    def page(request: Request) -> Answer:
        environment = {"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics", "QUERY_STRING": request.query}
        for name in ("Accept", "Accept-Encoding"):
            if (value := request.headers.get(name)) is not None:
                environment[f"HTTP_{name.upper().replace('-', '_')}"] = value
        started: list[Any] = []
        if not places.acquire(blocking=False):
            return Answer(_UNAVAILABLE, b"too many scrapes at once\n", [("Content-Type", "text/plain; charset=utf-8")])
        try:
            with one_at_a_time:
                body = b"".join(application(environment, lambda *start: started.extend(start)))
        finally:
            places.release()
        return Answer(int(started[0].split()[0]), body, started[1])

    return page


def _health_page(what: str, verdict: Verdict) -> Answer:
    body = json.dumps({what: verdict.holds, "reasons": verdict.reasons})
    return Answer(_OK if verdict.holds else _UNAVAILABLE, f"{body}\n".encode(), _JSON)
