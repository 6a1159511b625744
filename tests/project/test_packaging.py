"""The metadata, the stable ABI, and the errors that name the missing extra."""

from __future__ import annotations

import importlib
import importlib.metadata
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
from kevy_ring.cli import HELP
from kevy_ring.cli.command import command
from kevy_ring.errors import SinkError
from kevy_ring.shard.extras import FAKEREDIS, check_fakeredis
from kevy_ring.shard.sinks.sink_url import sink_from_url
from places import ROOT

TREE = ROOT
SETTINGS: Mapping[str, Any] = tomllib.loads((TREE / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = SETTINGS["project"]
EXTRAS: Mapping[str, Sequence[str]] = PROJECT["optional-dependencies"]
# Imports fail with the error of Python for a missing package.
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


def command_without(
    packages: Sequence[str], *arguments: str, path: Sequence[Path] = ()
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCKED.format(blocked=set(packages), arguments=arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*map(str, path), *filter(None, sys.path)])},
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


@pytest.mark.parametrize("arguments", [("ls",), ("gc", "--dry-run"), ("top", "--once"), ("ingest",)])
@pytest.mark.parametrize("package", ["click", "rich"])
def test_every_command_without_its_extra_names_it(package: str, arguments: tuple[str, ...]) -> None:
    done = command_without([package], *arguments)
    assert done.returncode == 1
    assert done.stderr == f"kevy-ring: {package} is not installed; pip install 'kevy-ring[cli]'\n"
    assert done.stdout == ""


@pytest.mark.parametrize("name", sorted(command.commands))
def test_every_subcommand_without_any_extra_ends_with_one_line_that_names_it(name: str) -> None:
    done = command_without(OF_EXTRAS, name)
    assert done.returncode == 1
    assert re.fullmatch(r"kevy-ring: \w+ is not installed; pip install 'kevy-ring\[cli\]'\n", done.stderr)
    assert done.stdout == ""


@pytest.mark.parametrize("missing", [(), OF_EXTRAS], ids=["with all extras", "without extras"])
def test_help_and_version_need_no_extra(missing: Sequence[str]) -> None:
    for option in ("--help", "-h"):
        done = command_without(missing, option)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{HELP}\n", "")
    done = command_without(missing, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"kevy-ring, version {kevy_ring.__version__}\n", "")


@pytest.mark.parametrize("missing", [(), OF_EXTRAS], ids=["with all extras", "without extras"])
def test_the_command_alone_prints_its_usage_once_and_exits_with_2(missing: Sequence[str]) -> None:
    done = command_without(missing)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{HELP}\n")
    assert done.stderr.count("Usage:") == 1


def test_the_help_lists_every_subcommand() -> None:
    listed = re.findall(r"^  (\w+) +\w.*\.$", HELP.partition("\nCommands:\n")[2], re.M)
    assert listed == sorted(command.commands)


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


def test_the_extra_takes_the_tested_versions_of_fakeredis_only() -> None:
    assert FAKEREDIS in EXTRAS["ingest"]
    assert re.search(r">=\d+\.\d+,<\d+\.\d+$", FAKEREDIS)
    check_fakeredis("memory")  # the installed version is in the range


@pytest.mark.parametrize("installed", ["2.39.9", "2.42.0", "2.42.0b1", "3.0", "1.99", "unknown"])
@pytest.mark.parametrize("url", ["memory", "sqlite:never-made.db"])
def test_a_fakeredis_that_was_not_tested_is_refused(installed: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: installed)
    with pytest.raises(SinkError) as raised:
        sink_from_url(url)
    assert raised.value.reason == "untested-version"
    assert raised.value.sink == url.partition(":")[0]
    assert f"fakeredis {installed} is installed" in raised.value.detail
    assert ">=2.40,<2.42" in raised.value.detail
    assert raised.value.detail.endswith("pip install 'fakeredis[lua]>=2.40,<2.42'")
    assert not Path("never-made.db").exists()


@pytest.mark.parametrize("installed", ["2.40.0", "2.40", "2.41.7"])
def test_every_tested_minor_version_of_fakeredis_is_taken(installed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: installed)
    assert sink_from_url("memory")


def test_the_command_refuses_a_fakeredis_that_was_not_tested_in_one_line(tmp_path: Path) -> None:
    metadata = tmp_path / "fakeredis-2.99.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: fakeredis\nVersion: 2.99.0\n", encoding="utf-8")
    done = command_without([], *INGEST, "--sink", "memory", path=[tmp_path])
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("kevy-ring: sink memory: untested-version: fakeredis 2.99.0 is installed")
    assert line.endswith(f"pip install '{FAKEREDIS}'")


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
