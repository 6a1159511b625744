"""Tables and lines on a terminal, and without what only a terminal needs elsewhere."""

from __future__ import annotations

import sys
from typing import TextIO

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text


def tables_console(pipe_width: int, out: TextIO | None = None) -> Console:
    """A console on standard output, or on ``out``: what is no terminal has ``pipe_width`` cells and no colours."""
    out = out or sys.stdout
    if out.isatty():
        return Console(file=out, highlight=False)
    return Console(file=out, width=pipe_width, color_system=None, force_terminal=False, highlight=False)


def print_table(console: Console, table: Table) -> None:
    """Print a table; in a pipe without the blanks and empty lines that hold it together on a terminal."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    print("\n".join(line for line in lines if line), file=console.file)


def print_line(console: Console, text: Text, *, indent: int = 0) -> None:
    """One line, wrapped between words on a terminal; in a pipe it stays one line."""
    if console.is_terminal:
        console.print(Padding(text, (0, 0, 0, indent)))
    else:
        console.print(Text(" " * indent) + text, soft_wrap=True)
