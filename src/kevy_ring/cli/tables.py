"""Tables and lines for a terminal, and a plainer form for pipes and files."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleDimensions
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

#: Wider than any table.
_MEASURING = Console(width=10_000, color_system=None)
#: The width of tables in a pipe or a file, unless the user sets COLUMNS, as ``watch`` does.
PIPE_WIDTH = 80


def tables_console(pipe_width: int = PIPE_WIDTH, out: TextIO | None = None) -> Console:
    """A console on ``out`` (standard output by default). Off a terminal: ``pipe_width`` cells, no colours."""
    out = out or sys.stdout
    if out.isatty():
        return Console(file=out, highlight=False)
    asked = os.environ.get("COLUMNS", "")
    width = int(asked) if asked.isdecimal() and int(asked) else pipe_width
    return Console(file=out, width=width, color_system=None, force_terminal=False, highlight=False)


def cut(text: str, cells: int) -> str:
    """``text`` in at most ``cells`` cells. A longer text loses its middle: its ends tell most."""
    if cell_len(text) <= cells:
        return text
    if cells < 3:
        return "…"[:cells]
    left = set_cell_size(text, cells - 1 - (cells - 1) // 2)
    right = text[-((cells - 1) // 2) :]
    while cell_len(right) > (cells - 1) // 2:
        right = right[1:]
    return f"{left}…{right}"


def terminal_size(console: Console) -> tuple[int, int]:
    """The present width and height of the console's terminal. The console takes it too.

    By itself it would prefer COLUMNS and LINES from the environment, which do not follow the terminal.
    """
    with contextlib.suppress(OSError, ValueError):
        width, height = os.get_terminal_size(console.file.fileno())
        if width > 0 and height > 0:
            console.size = ConsoleDimensions(width, height)
    return console.size


def new_table(gap: int = 1, *, show_footer: bool = False) -> Table:
    """An empty table in the style of this command, with ``gap`` blanks between columns."""
    return Table(
        box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, gap), collapse_padding=True, header_style="bold",
        show_footer=show_footer,
    )  # fmt: skip


def width_of(table: Table) -> int:
    """The cells that the table needs to show everything."""
    return Measurement.get(_MEASURING, _MEASURING.options, table).maximum


def print_table(console: Console, table: Table) -> None:
    """Print a table; without a terminal, leave out empty lines and blanks at the end of lines."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    print("\n".join(line for line in lines if line), file=console.file)


def print_line(console: Console, text: Text, *, indent: int = 0) -> None:
    """Print a line; only a terminal wraps it."""
    if console.is_terminal:
        console.print(Padding(text, (0, 0, 0, indent)))
    else:
        console.print(Text(" " * indent) + text, soft_wrap=True)
