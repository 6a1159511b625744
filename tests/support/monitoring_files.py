"""The expressions of the dashboard and the alerts of the documentation."""

from __future__ import annotations

import json
from typing import Any

import yaml

from places import DOCS

PAGE = (DOCS / "monitoring.md").read_text(encoding="utf-8")
DASHBOARD: dict[str, Any] = json.loads((DOCS / "grafana.json").read_text(encoding="utf-8"))
#: The file of rules, as text.
RULES = PAGE.partition("### Alerts")[2].partition("```yaml\n")[2].partition("```")[0]
#: Each alert's expression, by name.
ALERTS: dict[str, str] = {
    rule["alert"]: rule["expr"] for group in yaml.safe_load(RULES)["groups"] for rule in group["rules"]
}


def panels(*, ring: str = ".*", rate_interval: str = "5s") -> list[tuple[str, str]]:
    """Title and expression of each target of each panel, with the variables as Grafana replaces them."""
    return [
        (panel["title"], target["expr"].replace("$__rate_interval", rate_interval).replace("$ring", ring))
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    ]
