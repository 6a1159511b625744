"""``kevy-ring completion`` in real shells."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from absent import absent
from kevy_ring.cli import main
from kevy_ring.cli.command import run
from kevy_ring.cli.completion import VARIABLE
from kevy_ring.ring import Ring

# Ask bash for the completions of each argument, a command line, as readline does when the user presses the tabulator.
_ASK = """
source <(kevy-ring completion bash)
function=$(complete -p kevy-ring | sed 's/.*-F \\([^ ]*\\).*/\\1/')
for line in "$@"; do
    COMP_WORDS=($line)
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    COMPREPLY=()
    $function kevy-ring
    echo "${COMPREPLY[@]}"
done
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a shell that finds the kevy-ring of this test run."""
    file = tmp_path / "kevy-ring"
    file.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m kevy_ring "$@"\n')
    file.chmod(0o755)
    path = os.pathsep.join(part for part in sys.path if part)
    return os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": path}


def completed(environment: dict[str, str], *lines: str) -> list[list[str]]:
    done = subprocess.run(
        ["bash", "--norc", "-euo", "pipefail", "-c", _ASK, "bash", *lines],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return [line.split() for line in done.stdout.splitlines()]


def test_bash_completes_options_and_names_of_rings_also_with_a_broken_configuration(
    environment: dict[str, str],
) -> None:
    broken = environment | {"KEVY_RING_CONFIG": "/no/such/file", "KEVY_RING_OPS": "many"}
    with Ring.create(4096, f"completed-{os.getpid()}") as ring:
        options, rings = completed(broken, "kevy-ring ingest --stall", f"kevy-ring inspect {ring.name[:-1]}")
    assert options == ["--stall-after"]
    assert ring.name in rings


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_the_shell_can_read(
    shell: str, environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which(shell) is None:
        absent(f"{shell} is not installed")
    assert run(["completion", shell]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    done = subprocess.run([shell, "-n", str(script)], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{VARIABLE}={shell}_complete" in script.read_text()


def test_without_the_shells_variable_no_arguments_mean_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("Usage: kevy-ring")
