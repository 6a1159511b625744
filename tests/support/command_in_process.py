"""The kevy-ring command in the process of the test: a quick way for commands that start no process."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner

from kevy_ring.cli.command import command


def invoke(*arguments: str) -> str:
    """Run a command that must succeed. Returns its output."""
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    assert result.exception is None, result.exception
    return result.output


def listed(name: str) -> dict[str, Any]:
    """The object of one ring in ``ls --json``."""
    (found,) = (each for each in map(json.loads, invoke("ls", "--json").splitlines()) if each["name"] == name)
    return dict(found)
