"""A drawing: shapes and words that become an SVG in the reader's colours, light or dark."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

#: As wide as a page's text. On a phone it is shown at little more than half of that: hence the size of the words.
WIDTH = 640
#: Of one line of words.
LINE = 21

_STYLE = """
  svg { --ink: #1f2328; --soft: #59636e; --line: #818b98; --paper: #ffffff; --space: #eff1f3;
        --sent: #b6e3ff; --taken: #aceebb; --waits: #ffd8a8; --lost: #cf222e; --point: #8250df }
  @media (prefers-color-scheme: dark) {
    svg { --ink: #e6edf3; --soft: #a5afba; --line: #76808c; --paper: #1c2128; --space: #2d333b;
          --sent: #0c5299; --taken: #1a6b31; --waits: #8a4a06; --lost: #ff7b72; --point: #c297ff }
  }
  text { font: 16px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: var(--ink) }
  .head { font-weight: 600 } .soft { fill: var(--soft) } .point { fill: var(--point) } .lost { fill: var(--lost) }
  .middle { text-anchor: middle } .end { text-anchor: end }
  rect { stroke: var(--line); stroke-width: 1.5; fill: var(--paper) }
  rect.space { fill: var(--space) } rect.sent { fill: var(--sent) } rect.taken { fill: var(--taken) }
  rect.waits { fill: var(--waits) } rect.held { fill: none; stroke: var(--ink); stroke-width: 2 }
  rect.grant { fill: none; stroke: var(--ink); stroke-dasharray: 5 4 }
  path { fill: none; stroke: var(--line); stroke-width: 2 } path.dashed { stroke-dasharray: 5 4 }
  path.point { stroke: var(--point); fill: none } path.lost { stroke: var(--lost); stroke-width: 3 }
  path.tip { fill: var(--line); stroke: none } path.tip.point { fill: var(--point) }
"""


class Drawing:
    """Coordinates are in pixels from the top left; ``kind`` is a class of the style above, or several."""

    def __init__(self, height: int, title: str, description: str) -> None:
        self._height = height
        self._title = title
        self._description = description
        self._shapes: list[str] = []

    def box(self, x: float, y: float, width: float, height: float, kind: str = "", *, round_by: float = 3) -> None:
        """A rectangle."""
        size = f'width="{width:g}" height="{height:g}" rx="{round_by:g}"'
        self._shapes.append(f'<rect x="{x:g}" y="{y:g}" {size}{_classes(kind)}/>')

    def words(self, x: float, y: float, *lines: str, kind: str = "") -> None:
        """Lines of words; ``y`` is the base of the first."""
        for number, line in enumerate(lines):
            self._shapes.append(f'<text x="{x:g}" y="{y + number * LINE:g}"{_classes(kind)}>{escape(line)}</text>')

    def line(self, *points: tuple[float, float], kind: str = "") -> None:
        """A line through ``points``."""
        steps = " L".join(f"{x:g} {y:g}" for x, y in points)
        self._shapes.append(f'<path d="M{steps}"{_classes(kind)}/>')

    def arrow(self, *points: tuple[float, float], kind: str = "") -> None:
        """A line whose last stretch, level or upright, ends in a tip."""
        (from_x, from_y), (x, y) = points[-2:]
        right, down = (x > from_x) - (x < from_x), (y > from_y) - (y < from_y)
        self.line(*points[:-1], (x - 8 * right, y - 8 * down), kind=kind)
        corners = [(x, y), (x - 10 * right - 6 * down, y - 10 * down - 6 * right)]
        corners.append((x - 10 * right + 6 * down, y - 10 * down + 6 * right))
        outline = " L".join(f"{a:g} {b:g}" for a, b in corners)
        self._shapes.append(f'<path d="M{outline} Z"{_classes("tip " + kind.replace("dashed", ""))}/>')

    def mark(self, x: float, y: float, name: str, kind: str = "point") -> None:
        """A position: a tip that points up to ``(x, y)``, with its name below."""
        self.arrow((x, y + 22), (x, y), kind=kind)
        self.words(x, y + 38, name, kind=f"middle {kind}")

    def cells(self, x: float, y: float, names: Sequence[object], kind: str = "", *, width: float = 40) -> float:
        """Records side by side, a name in each; returns where the next would stand."""
        for name in names:
            self.box(x, y, width, 36, kind, round_by=0)
            self.words(x + width / 2, y + 24, str(name), kind="middle")
            x += width
        return x

    def cross(self, x: float, y: float, size: float = 14) -> None:
        """The end of a process."""
        self.line((x - size, y - size), (x + size, y + size), kind="lost")
        self.line((x - size, y + size), (x + size, y - size), kind="lost")

    def svg(self) -> str:
        """The whole file."""
        size = f'viewBox="0 0 {WIDTH} {self._height}" width="{WIDTH}" height="{self._height}"'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
                f"<title>{escape(self._title)}</title>",
                f"<desc>{escape(self._description)}</desc>",
                f"<style>{_STYLE}</style>",
                *self._shapes,
                "</svg>\n",
            ]
        )


def _classes(kind: str) -> str:
    names = " ".join(kind.split())
    return f' class="{names}"' if names else ""
