"""Lines as text with escape sequences. rich itself looks at every segment again, which costs twice as much."""

from __future__ import annotations

from rich.console import COLOR_SYSTEMS, Console
from rich.style import Style

from kevy_ring.cli.top.screen import Line

_MARK = "text"


class Paint:
    """Paints for one console. It asks rich once for the sequences before and after the text of each style."""

    def __init__(self, console: Console) -> None:
        self._system = COLOR_SYSTEMS.get(console.color_system or "")
        self._no_color = console.no_color
        # Keyed by id(), because a style computes its hash in Python. The entry keeps the style alive.
        self._ends: dict[int, tuple[str, str, Style | None]] = {}

    def __call__(self, line: Line) -> str:
        painted = ""
        for text, style, _ in line:
            before, after, _ = self._ends.get(id(style)) or self._ends_of(style)
            painted += before + text + after
        return painted

    def _ends_of(self, style: Style | None) -> tuple[str, str, Style | None]:
        before = after = ""
        if style is not None:
            plain = style.without_color if self._no_color else style
            before, _, after = plain.render(_MARK, color_system=self._system).partition(_MARK)
        ends = self._ends[id(style)] = before, after, style
        return ends
