"""Each alert fires when what it warns of happens, and not before: with promtool, on series that the test makes up."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring_files import ALERTS, RULES

#: For each alert: the series by text, the minute at which it fires, and one before which it does not. Notation of
#: promtool: ``0+5x4`` is 0 5 10 15 20, one each minute.
USED = 'kevy_ring_in_use{ring="r"}'
FIRES: dict[str, tuple[dict[str, str], int, int]] = {
    "KevyRingNotApplied": ({'kevy_ring_apply_lag_seconds{ring="r"}': "0 0 31+60x10"}, 4, 2),
    "KevyRingOverflowGrows": (
        {
            'kevy_ring_overflow_bytes{ring="r"}': "0 0 0+1000x20",
            'kevy_ring_overflow_age_seconds{ring="r"}': "0 0 0+60x20",
        },
        12,
        4,
    ),
    "KevyRingRoleDead": (
        {'kevy_ring_role_state{ring="r",role="consumer",state="dead"}': "0 0 1x10", USED: "1x20"},
        4,
        2,
    ),
    "KevyRingServiceNotRunning": ({'kevy_ring_kept{ring="r"}': "1x20", USED: "1 1 0x20"}, 8, 6),
    "KevyRingNoLink": (
        # A link whose handshake never ends changes between these states.
        {
            'kevy_ring_link_state{ring="r",state="streaming"}': "1 1 0x20",
            'kevy_ring_link_state{ring="r",state="snapshot"}': "0x20",
            'kevy_ring_link_state{ring="r",state="waiting"}': "0 0 1 0 1 0 1 0 1 0 1",
            'kevy_ring_link_state{ring="r",state="handshake"}': "0 0 0 1 0 1 0 1 0 1 0",
            USED: "1x20",
        },
        8,
        6,
    ),
    "KevyRingUpstreamSilent": ({'kevy_ring_upstream_silence_seconds{ring="r"}': "5 5 65+60x20", USED: "1x20"}, 8, 6),
    "KevyRingRefused": ({'kevy_ring_refusals_total{ring="r",reason="login"}': "0 0 1 2 3 4 5 5 5"}, 5, 1),
    "KevyRingRestarts": ({'kevy_ring_restarts_total{ring="r",role="shard"}': "0 0 0+2x20"}, 6, 2),
    "KevyRingReplicaDiffers": ({'kevy_ring_commands_refused_total{ring="r"}': "0 0 1x20"}, 4, 1),
    "KevyRingFullSyncs": ({'kevy_ring_syncs_total{ring="r",how="full"}': "1 1 1+1x20"}, 8, 3),
    "KevyRingCorrupt": ({'kevy_ring_corrupt{ring="r"}': "0 0 1x20"}, 2, 1),
}
#: What a run that works shows: 30 minutes of it fire nothing.
HEALTHY = {
    'kevy_ring_apply_lag_seconds{ring="r"}': "0 0.1 12 0 0 3 0x30",
    'kevy_ring_overflow_bytes{ring="r"}': "0 5000 0 900 0x30",
    'kevy_ring_overflow_age_seconds{ring="r"}': "0 12 0 5 0x30",
    'kevy_ring_role_state{ring="r",role="consumer",state="dead"}': "0x30",
    'kevy_ring_kept{ring="r"}': "1x30",
    USED: "1x30",
    'kevy_ring_link_state{ring="r",state="streaming"}': "0 0 1 1 0 1x30",
    'kevy_ring_link_state{ring="r",state="snapshot"}': "0 1 0 0 1 0x30",
    'kevy_ring_link_state{ring="r",state="waiting"}': "1 0 0 0 0 0x30",
    'kevy_ring_upstream_silence_seconds{ring="r"}': "0 9 3 1x30",
    'kevy_ring_refusals_total{ring="r",reason="login"}': "0x30",
    'kevy_ring_refusals_total{ring="r",reason="busy"}': "0 1 2 3 4 4x30",
    'kevy_ring_restarts_total{ring="r",role="shard"}': "0 0 1x30",
    'kevy_ring_commands_refused_total{ring="r"}': "0x30",
    'kevy_ring_snapshot_keys_skipped{ring="r"}': "0x30",
    'kevy_ring_syncs_total{ring="r",how="full"}': "1 1 2x30",
    'kevy_ring_corrupt{ring="r"}': "0x30",
}


def series(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"series": name, "values": each} for name, each in values.items()]


def run_rule_tests(directory: Path, tests: list[dict[str, Any]]) -> str:
    """What promtool complains of; empty: nothing."""
    (directory / "rules.yaml").write_text(RULES, encoding="utf-8")
    file = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    (directory / "tests.yaml").write_text(yaml.safe_dump(file), encoding="utf-8")
    done = subprocess.run(
        ["promtool", "test", "rules", str(directory / "tests.yaml")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stdout + done.stderr


def none_fires(name: str, minute: int) -> dict[str, Any]:
    """A test that asks whether no alert of this name fires at this minute."""
    return {"eval_time": f"{minute}m", "alertname": name, "exp_alerts": []}


def test_each_alert_has_a_case() -> None:
    assert set(FIRES) == set(ALERTS)


@pytest.mark.usefixtures("promtool")
@pytest.mark.parametrize("name", FIRES)
def test_an_alert_fires_when_it_should_and_not_before(name: str, tmp_path: Path) -> None:
    values, fires_at, silent_at = FIRES[name]
    test = {"interval": "1m", "input_series": series(values)}
    before = [none_fires(name, minute) for minute in (silent_at, max(0, silent_at - 1))]
    assert run_rule_tests(tmp_path, [{**test, "alert_rule_test": before}]) == ""
    # The text of a failure names what fired. The labels are the ring's, whatever else an alert has.
    complaint = run_rule_tests(tmp_path, [{**test, "alert_rule_test": [none_fires(name, fires_at)]}])
    assert f'alertname="{name}"' in complaint, complaint or "it did not fire"
    assert 'ring="r"' in complaint


@pytest.mark.usefixtures("promtool")
def test_a_healthy_run_fires_no_alert(tmp_path: Path) -> None:
    asked = [none_fires(name, minute) for name in ALERTS for minute in range(31)]
    test = {"interval": "1m", "input_series": series(HEALTHY), "alert_rule_test": asked}
    assert run_rule_tests(tmp_path, [test]) == ""
