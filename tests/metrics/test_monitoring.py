"""The dashboard, the alerts and the table of metrics name existing metrics, and the table names all."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from kevy_ring.metrics import FleetCollector, collector
from monitoring_files import ALERTS, DASHBOARD, PAGE, RULES, panels

NAME = re.compile(r"\bkevy_ring_[a-z_]+\b")
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def families() -> dict[str, str]:
    """The exposed name of each family, and its type."""
    rings = collector("kr-no-ring-of-this-name")
    described = [*rings.describe(), *FleetCollector().describe()]
    found = {family.name + ("_total" if family.type == "counter" else ""): family.type for family in described}
    rings.close()
    return found


def series() -> set[str]:
    found = families()
    ends = ("_bucket", "_sum", "_count")
    return set(found) | {name + end for name, kind in found.items() if kind == "histogram" for end in ends}


@pytest.mark.parametrize("expression", [*EXPRESSIONS, *ALERTS.values()])
def test_an_expression_asks_for_metrics_that_there_are(expression: str) -> None:
    asked = set(NAME.findall(expression))
    assert asked
    assert asked <= series()


def test_the_page_lists_every_metric_and_no_other() -> None:
    table = "\n".join(line for line in PAGE.splitlines() if line.startswith("| `kevy_ring_"))
    assert set(NAME.findall(table)) == set(families())
    assert set(NAME.findall(PAGE)) <= series()


def test_the_dashboard_is_one_that_grafana_can_import() -> None:
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource", "ring"}
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    cells = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(cells)) == len(cells), "panels lie on one another"
    assert all(x < 24 for x, _ in cells)
    for panel in panels:
        assert panel["title"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert set(re.findall(r"\$\{?(\w+)", target["expr"])) <= {"ring", "__rate_interval"}


@pytest.mark.usefixtures("promtool")
def test_promtool_takes_the_rules_and_every_expression(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    plain = [expression for _, expression in panels()]
    records = "".join(
        f"      - record: kevy_ring:expression_{n}\n        expr: {json.dumps(expr)}\n" for n, expr in enumerate(plain)
    )
    rules.write_text(f"{RULES}  - name: dashboard\n    rules:\n{records}")
    done = subprocess.run(
        ["promtool", "check", "rules", str(rules)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
