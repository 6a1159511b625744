"""Includes the help of a command, the text of an example and a file of deploy/ in a page.

``<!-- help: ingest -->`` becomes the output of ``kevy-ring ingest --help``, ``<!-- help: -->`` that of ``kevy-ring
--help``, ``<!-- example: two_processes.py -->`` the text of that file, and ``<!-- deploy: compose.yaml -->`` that of a
file in deploy/.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
DEPLOY = EXAMPLES.parent.parent / "deploy"
_HELP = re.compile(r"^<!-- help:(?P<name> [a-z-]+)? -->$", re.M)
_EXAMPLE = re.compile(r"^<!-- example: (?P<name>\w+\.py) -->$", re.M)
_DEPLOY = re.compile(r"^<!-- deploy: (?P<name>[\w.]+) -->$", re.M)


def help_of(name: str) -> str:
    """The help of one subcommand, or with an empty name of the command itself."""
    from kevy_ring.cli import HELP
    from kevy_ring.cli.command import command

    if not name:
        return HELP
    shown = command.commands[name]
    # The same width on every machine.
    settings = {**command.context_settings, "terminal_width": 88, "max_content_width": 88}
    context = click.Context(shown, info_name=f"kevy-ring {name}", **settings)
    return shown.get_help(context)


def _fenced(path: Path) -> str:
    language = "yaml" if path.suffix == ".yaml" else "dockerfile"
    return f"```{language}\n{path.read_text('utf-8')}```"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs for each page."""
    markdown = _HELP.sub(lambda mark: f"```text\n{help_of((mark['name'] or '').strip())}\n```", markdown)
    markdown = _DEPLOY.sub(lambda mark: _fenced(DEPLOY / mark["name"]), markdown)
    return _EXAMPLE.sub(lambda mark: f"```python\n{(EXAMPLES / mark['name']).read_text('utf-8')}```", markdown)
