"""Puts into a page what is kept elsewhere: the help of a command, and the text of an example.

``<!-- help: ingest -->`` stands for what ``kevy-ring ingest --help`` says, ``<!-- help: -->`` for that of the command
itself, and ``<!-- example: two_processes.py -->`` for the file of that name.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
_HELP = re.compile(r"^<!-- help:(?P<name> [a-z-]+)? -->$", re.M)
_EXAMPLE = re.compile(r"^<!-- example: (?P<name>\w+\.py) -->$", re.M)


def help_of(name: str) -> str:
    """The help of one subcommand, or with an empty name of the command itself."""
    from kevy_ring.cli import HELP
    from kevy_ring.cli.command import command

    if not name:
        return HELP
    shown = command.commands[name]
    # Of this width wherever it is built.
    settings = {**command.context_settings, "terminal_width": 88, "max_content_width": 88}
    context = click.Context(shown, info_name=f"kevy-ring {name}", **settings)
    return shown.get_help(context)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs for each page."""
    markdown = _HELP.sub(lambda mark: f"```text\n{help_of((mark['name'] or '').strip())}\n```", markdown)
    return _EXAMPLE.sub(lambda mark: f"```python\n{(EXAMPLES / mark['name']).read_text('utf-8')}```", markdown)
