"""A real Prometheus that scrapes often, on a free loopback port."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from absent import absent
from kevy_ring_command import DEADLINE_S, wait_until

SCRAPE_S = 0.5


class PrometheusServer:
    """Scrapes ``target`` (host:port) and evaluates ``rules`` (the text of a file of rules). Skips without one."""

    def __init__(self, directory: Path, target: str, rules: str) -> None:
        binary = shutil.which("prometheus")
        if binary is None:
            absent("prometheus (Debian: prometheus) is not installed")
        (directory / "rules.yaml").write_text(rules, encoding="utf-8")
        every = f"{int(SCRAPE_S * 1000)}ms"
        config = {
            "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": "kevy-ring", "static_configs": [{"targets": [target]}]}],
        }
        (directory / "prometheus.yaml").write_text(json.dumps(config), encoding="utf-8")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._at = f"127.0.0.1:{free.getsockname()[1]}"
        self._log = (directory / "log").open("w", encoding="utf-8")
        self._process = subprocess.Popen(
            [
                binary, "--config.file", str(directory / "prometheus.yaml"), "--web.listen-address", self._at,
                "--storage.tsdb.path", str(directory / "data"),
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )  # fmt: skip

    def ask(self, path: str, **query: str) -> Any:
        """The data of an answer of the HTTP API. An error of Prometheus is an AssertionError with its text."""
        url = f"http://{self._at}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
                found = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from None
        assert found["status"] == "success", found
        return found["data"]

    def values(self, expression: str) -> list[float]:
        """The present values of an expression, one for each series."""
        data = self.ask("query", query=expression)
        return [float(each["value"][1]) for each in data["result"]]

    def wait_for(self, expression: str) -> None:
        """Wait until an expression has a value."""
        wait_until(lambda: bool(self.values(expression)))

    def __enter__(self) -> PrometheusServer:
        wait_until(self._is_up)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(DEADLINE_S)
        self._log.close()

    def _is_up(self) -> bool:
        assert self._process.poll() is None, Path(self._log.name).read_text(encoding="utf-8")[-2000:]
        try:
            return bool(self.ask("status/runtimeinfo"))
        except (OSError, AssertionError):
            return False
