"""The chart of a case: one SVG with a bar for each contender, in the colours that the reader's system prefers."""

from __future__ import annotations

import math
from html import escape

from bench.measure import in_unit
from bench.result import CaseResult, ContenderResult, Spread

_LOG_ABOVE = 50.0  # the axis is logarithmic if the fastest is more than this many times the slowest
# Narrow, with each name above its bar: the text is still readable when a phone shows all of it.
_WIDTH, _LEFT, _BARS, _ROW = 440, 12, 340, 32
_STYLE = """
  svg { --paper: #ffffff; --ink: #1f2328; --ours: #0969da; --rival: #9aa4b0; --bound: #d4a72c }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #0d1117; --ink: #e6edf3; --ours: #4493f8; --rival: #6e7681; --bound: #bb8009 }
  }
  text { font: 13px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: var(--ink) }
  .head { font-weight: 600 } path { stroke: var(--ink) }
  .paper { fill: var(--paper) } .ours { fill: var(--ours) } .rival { fill: var(--rival) } .bound { fill: var(--bound) }
"""


def chart_of(case: CaseResult, title: str) -> str:
    """The SVG; empty when the case has no figure."""
    main = case.metrics[0]
    better = "longer" if main.better == "higher" else "shorter"
    parts, y = [f'<text class="head" x="{_LEFT}" y="20">{case.name} ({better} is better)</text>'], 28
    for variant in case.variants():
        rows = [(c, spread) for c in case.ordered(variant) if (spread := c.spread(main.name))]
        if rows:
            medians = [spread.median for _, spread in rows]
            is_log = 0 < min(medians) * _LOG_ABOVE < max(medians)
            said = f"{variant} (logarithmic)" if is_log else variant
            parts.append(f'<text class="head" x="{_LEFT}" y="{y + 16}">{escape(said)}</text>')
            parts += _bars(rows, main.unit, y + 24, is_log)
            y += 32 + _ROW * len(rows)
    if len(parts) == 1:
        return ""
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" width="{_WIDTH}" height="{y}" role="img">'
    )
    paper = f'<rect class="paper" width="{_WIDTH}" height="{y}"/>'
    head = f"{opening}\n<title>{escape(case.name)}: {escape(title)}</title>\n<style>{_STYLE}</style>\n{paper}\n"
    return head + "\n".join(parts) + "\n</svg>\n"


def _bars(rows: list[tuple[ContenderResult, Spread]], unit: str, top: int, is_log: bool) -> list[str]:
    low, high = min(spread.median for _, spread in rows), max(spread.p90 for _, spread in rows)

    def x(value: float) -> float:
        share = math.log(max(value, low / 2) / (low / 2)) / math.log(2 * high / low) if is_log else value / high
        return round(_LEFT + _BARS * share, 1)

    parts = []
    for y, (contender, spread) in zip(range(top, top + _ROW * len(rows), _ROW), rows, strict=True):
        kind = "ours" if contender.is_ours else "bound" if contender.is_bound else "rival"
        edge = x(max(spread.p90, spread.median))
        parts += [
            f'<text x="{_LEFT}" y="{y + 13}">{escape(contender.name)}</text>',
            f'<rect class="{kind}" x="{_LEFT}" y="{y + 18}" width="{x(spread.median) - _LEFT:.1f}" height="10"/>'
            f'<path d="M{x(spread.p10)} {y + 23}H{x(spread.p90)}"/>',
            f'<text x="{edge + 8:.1f}" y="{y + 28}">{in_unit(spread.median, unit)}</text>',
        ]
    return parts
