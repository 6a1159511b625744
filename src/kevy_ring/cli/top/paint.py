"""Lines as the text that a terminal takes; rich itself, which looks at every segment anew, costs twice as much."""

from __future__ import annotations

from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style

from kevy_ring.cli.top.screen import Line

_SYSTEMS = {
    "standard": ColorSystem.STANDARD,
    "256": ColorSystem.EIGHT_BIT,
    "truecolor": ColorSystem.TRUECOLOR,
    "windows": ColorSystem.WINDOWS,
}
_MARK = "text"


class Paint:
    """Paints for one console: what each style puts before and behind its text is asked of rich once."""

    def __init__(self, console: Console) -> None:
        self._system = _SYSTEMS.get(console.color_system or "")
        self._no_color = console.no_color
        # By identity, with the style itself: a style's own hash is computed in Python.
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
