"""The chart of a case: one SVG with a bar for each contender, in the colours that the reader's system prefers."""

from __future__ import annotations

import math
from html import escape

from bench.measure import in_unit
from bench.result import CaseResult, ContenderResult, Spread

_LOG_ABOVE = 50.0  # the axis is logarithmic if the fastest is more than this many times the slowest
_WIDTH, _NAMES, _BARS, _ROW = 860, 270, 480, 20
_STYLE = """
  svg { --paper: #ffffff; --ink: #1f2328; --faint: #d0d7de; --ours: #0969da; --rival: #9aa4b0; --bound: #d4a72c }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #0d1117; --ink: #e6edf3; --faint: #30363d; --ours: #4493f8; --rival: #6e7681; --bound: #bb8009 }
  }
  text { font: 13px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: var(--ink) }
  .head { font-weight: 600 } .name { text-anchor: end } path { stroke: var(--ink) }
  .paper { fill: var(--paper) } .ours { fill: var(--ours) } .rival { fill: var(--rival) } .bound { fill: var(--bound) }
  .axis { stroke: var(--faint) }
"""


def chart_of(case: CaseResult, title: str) -> str:
    """The SVG; empty when the case has no figure."""
    main = case.metrics[0]
    better = "longer" if main.better == "higher" else "shorter"
    parts, y = [f'<text class="head" x="12" y="24">{escape(f"{case.name}: {title} ({better} is better)")}</text>'], 36
    for variant in case.variants():
        rows = [(c, spread) for c in case.ordered(variant) if (spread := c.spread(main.name))]
        if rows:
            medians = [spread.median for _, spread in rows]
            is_log = 0 < min(medians) * _LOG_ABOVE < max(medians)
            said = f"{variant} (logarithmic)" if is_log else variant
            parts.append(f'<text class="head" x="12" y="{y + 16}">{escape(said)}</text>')
            parts += _bars(rows, main.unit, y + 24, is_log)
            y += 36 + _ROW * len(rows)
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
        return round(_NAMES + _BARS * share, 1)

    bottom = top + _ROW * len(rows)
    parts = [f'<path class="axis" d="M{_NAMES} {top}V{bottom}"/>']
    for i, (contender, spread) in enumerate(rows):
        y = top + _ROW * i
        kind = "ours" if contender.is_ours else "bound" if contender.is_bound else "rival"
        edge = x(max(spread.p90, spread.median))
        parts += [
            f'<text class="name" x="{_NAMES - 8}" y="{y + 14}">{escape(contender.name)}</text>',
            f'<rect class="{kind}" x="{_NAMES}" y="{y + 3}" width="{x(spread.median) - _NAMES:.1f}" height="14"/>'
            f'<path d="M{x(spread.p10)} {y + 10}H{x(spread.p90)}"/>',
            f'<text x="{edge + 8:.1f}" y="{y + 14}">{in_unit(spread.median, unit)}</text>',
        ]
    return parts
