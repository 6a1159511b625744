"""What is installed with what: the metadata, the stable ABI, and the extra that is named where one is missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import kevy_ring
from kevy_ring._core import __file__ as core_file

TREE = Path(__file__).resolve().parent.parent
SETTINGS: Mapping[str, Any] = tomllib.loads((TREE / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = SETTINGS["project"]
EXTRAS: Mapping[str, Sequence[str]] = PROJECT["optional-dependencies"]
# Imports are refused as Python itself does it where a package is not there.
BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
from kevy_ring.cli import main
main({arguments!r})
"""
OF_EXTRAS = ("click", "fakeredis", "prometheus_client", "rdb", "redis", "rich")
INGEST = ("ingest", "--keys", "10", "--ops", "10")


def names(requirements: Sequence[str]) -> set[str]:
    return {re.split(r"[<>=!~; ]", requirement)[0] for requirement in requirements}


def command_without(packages: Sequence[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCKED.format(blocked=set(packages), arguments=arguments)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def test_the_library_alone_pulls_numpy_and_cffi_only() -> None:
    assert names(PROJECT["dependencies"]) == {"numpy", "cffi"}


def test_every_extra_that_is_spoken_of_is_there() -> None:
    assert {"ingest", "cli", "metrics", "docs", "dev"} <= set(EXTRAS)
    for requirement in {one for extra in EXTRAS.values() for one in extra}:
        if own := re.match(r"kevy-ring\[(.*)\]", requirement):
            assert set(own[1].split(",")) <= set(EXTRAS), requirement


def test_the_version_is_one_everywhere() -> None:
    assert PROJECT["version"] == kevy_ring.__version__


def test_the_core_is_of_the_stable_abi_of_the_oldest_python() -> None:
    assert core_file.endswith(".abi3.so")
    oldest = re.fullmatch(r">=3\.(\d+)", PROJECT["requires-python"])
    assert oldest is not None
    minor = int(oldest[1])
    assert f"cp3{minor}" in (TREE / "setup.py").read_text(encoding="utf-8")
    assert SETTINGS["tool"]["cibuildwheel"]["build"] == f"cp3{minor}-*"
    calls = "".join(path.read_text(encoding="utf-8") for path in (TREE / "csrc" / "python").glob("*.[ch]"))
    asked = set(re.findall(r"define Py_LIMITED_API (0x\w+)", calls))
    assert asked == {f"0x03{minor:02X}0000"}


def test_each_requirement_is_a_lower_bound_alone_which_nox_can_pin() -> None:
    for requirement in PROJECT["dependencies"]:
        assert re.fullmatch(r"\w+>=[\d.]+", requirement), requirement


@pytest.mark.parametrize("arguments", [("ls",), ("gc", "--dry-run"), ("top", "--once"), ("ingest",), ("--version",)])
@pytest.mark.parametrize("package", ["click", "rich"])
def test_every_command_without_its_extra_names_it(package: str, arguments: tuple[str, ...]) -> None:
    done = command_without([package], *arguments)
    assert done.returncode == 1
    assert done.stderr == f"kevy-ring: {package} is not installed; pip install 'kevy-ring[cli]'\n"
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("package", "arguments"),
    [
        ("redis", ("ingest", "redis://127.0.0.1:1")),
        ("redis", (*INGEST, "--sink", "redis://127.0.0.1:1/{shard}")),
        ("fakeredis", (*INGEST, "--sink", "memory")),
        ("fakeredis", (*INGEST, "--sink", "sqlite:never-made.db")),
    ],
)
def test_ingest_without_its_extra_names_it(package: str, arguments: tuple[str, ...]) -> None:
    done = command_without([package], *arguments)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert package in line
    assert "kevy-ring[ingest]" in line
    assert "Traceback" not in done.stdout + done.stderr
    assert not Path("never-made.db").exists()


def test_metrics_without_their_extra_name_it() -> None:
    done = command_without(["prometheus_client"], *INGEST, "--sink", "null", "--metrics-port", "0")
    assert done.returncode == 1
    assert "pip install 'kevy-ring[metrics]'" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [("ls", "--json"), ("gc", "--dry-run", "no-such-ring"), ("primary", "--help")])
def test_what_needs_no_upstream_does_without_the_extra_of_one(arguments: tuple[str, ...]) -> None:
    done = command_without([name for name in OF_EXTRAS if name not in ("click", "rich")], *arguments)
    assert "kevy-ring[" not in done.stderr
    assert "Traceback" not in done.stderr


def test_an_ingest_into_no_store_does_without_the_extra() -> None:
    blocked = [name for name in OF_EXTRAS if name not in ("click", "rich")]
    done = command_without(blocked, *INGEST, "--sink", "null", "--json")
    assert done.returncode == 0, done.stderr
    assert '"verified": true' in done.stdout
