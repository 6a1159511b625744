"""Lines get the same escape sequences as rich gives them."""

from __future__ import annotations

import io
from typing import Literal

import pytest
from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style

from kevy_ring.cli.ring_columns import CYAN, DIM, PLAIN, RED
from kevy_ring.cli.top.paint import Paint

LINE = [
    Segment("  1 ", DIM),
    Segment("a ring ▁█", RED),
    Segment(" ", PLAIN),
    Segment("marked", CYAN + Style.parse("reverse")),
    Segment("bare"),
]


@pytest.mark.parametrize("no_color", [False, True])
@pytest.mark.parametrize("system", ["standard", "256", "truecolor", None])
def test_it_is_what_rich_writes(system: Literal["standard", "256", "truecolor"] | None, no_color: bool) -> None:
    file = io.StringIO()
    console = Console(
        file=file, color_system=system, no_color=no_color, force_terminal=True, width=100, legacy_windows=False
    )
    console.print(Segments(LINE), end="", soft_wrap=True)
    painted = Paint(console)(LINE)
    assert painted == file.getvalue()
    assert ("\x1b[31m" in painted) == (system is not None and not no_color)
    assert Paint(console)(LINE) == painted
