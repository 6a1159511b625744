"""Every panel and every alert of the documentation, in a real Prometheus that scrapes a run of the command."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path

import redis

from kevy_ring.ring import Ring
from kevy_ring_command import RunningCommand, wait_until
from monitoring_files import ALERTS, RULES, panels
from prometheus_server import PrometheusServer
from redis_server import RedisServer, find_redis

RING = f"kr-prom-{os.getpid()}"


@contextmanager
def writing(server: RedisServer) -> Iterator[None]:
    """Writes on and on, so that each rate has something to count."""
    done = threading.Event()

    def write() -> None:
        client: redis.Redis = server.client()
        numbers = count()
        while not done.wait(0.01):
            pipeline = client.pipeline(transaction=False)
            for n in islice(numbers, 200):
                pipeline.set(b"key:%d" % (n % 1000), b"v" * 100)
            pipeline.execute()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_every_panel_shows_something_and_no_alert_fires_in_a_healthy_run(tmp_path: Path) -> None:
    server = RedisServer(find_redis("7.0"), tmp_path / "redis")
    try:
        with (
            RunningCommand(
                "ingest", server.url, "--sink", f"jsonl:{tmp_path / 'sink'}", "--name", RING, "--json",
                "--metrics-port", "0", "--capacity", "64KiB",
            ) as running,
            writing(server),
        ):  # fmt: skip
            note = running.read_until(lambda found: found["type"] == "note" and "metrics" in found["text"])
            target = note["text"].partition("//")[2].removesuffix("/metrics")
            (tmp_path / "prometheus").mkdir()
            with PrometheusServer(tmp_path / "prometheus", target, RULES) as prometheus:
                prometheus.wait_for(
                    "rate(kevy_ring_drains_total[5s]) > 0 and rate(kevy_ring_frames_applied_total[5s]) > 0"
                )
                wait_until(
                    lambda: len(empty_panels(prometheus)) == 0, lambda: f"stay empty: {empty_panels(prometheus)}"
                )
                assert prometheus.values("kevy_ring_apply_lag_seconds < 60")
                assert all(each > 1 for each in prometheus.values(dict(panels())["Records for each drain"]))
                check_alerts(prometheus)
                # The series that a label asks for are there: an expression that names no such label matches nothing.
                assert sorted(prometheus.ask("label/reason/values")) == sorted(REASONS)
    finally:
        server.stop()
        with Ring.attach(f"{RING}-0") as ring:
            ring.remove()


REASONS = ["first", "store", "ring", "interrupted", "violation", "history"]
REASONS += ["login", "permission", "command", "protected", "tls", "sentinel", "silent", "protocol", "snapshot", "busy"]
REASONS += ["other"]


def empty_panels(prometheus: PrometheusServer) -> list[str]:
    """The targets of panels that have no number now."""
    asked = panels(ring=f"{RING}-0")
    return [f"{title}: {expr}" for title, expr in asked if not any(map(math.isfinite, prometheus.values(expr)))]


def check_alerts(prometheus: PrometheusServer) -> None:
    """Each rule was evaluated without an error, and none is pending or fires."""
    wait_until(lambda: all(rule["health"] != "unknown" for rule in rules(prometheus)))
    assert {rule["name"] for rule in rules(prometheus)} == set(ALERTS)
    for rule in rules(prometheus):
        assert (rule["health"], rule.get("lastError", "")) == ("ok", ""), rule
        assert rule["state"] == "inactive", rule
    for name, expression in ALERTS.items():
        assert prometheus.values(expression) == [], name


def rules(prometheus: PrometheusServer) -> list[dict[str, str]]:
    return [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
