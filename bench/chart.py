"""Charts of a run: one per case, light and dark, SVG and PNG."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.figure import in_unit
from bench.result import CaseResult, ContenderResult, RunResult

_BAR_INCHES = 0.27
_WIDTH_INCHES = 8.6
_LOG_ABOVE = 50.0  # a case whose slowest is so many times slower than its fastest gets a logarithmic axis


@dataclass(frozen=True)
class _Theme:
    name: str
    paper: str
    ink: str
    faint: str
    ours: str
    rival: str
    bound: str


_THEMES = (
    _Theme("light", "#ffffff", "#1f2328", "#d0d7de", "#0969da", "#9aa4b0", "#d4a72c"),
    _Theme("dark", "#0d1117", "#e6edf3", "#30363d", "#4493f8", "#6e7681", "#bb8009"),
)


def write_charts(run: RunResult, folder: Path) -> dict[str, str]:
    """Draw every case that has figures into ``folder``; returns the base name of each case's files."""
    written = {}
    for case in run.cases:
        variants = [variant for variant in case.variants() if _rows(case, variant)]
        if variants:
            for theme in _THEMES:
                _draw(case, variants, theme, folder)
            written[case.name] = case.name
    return written


def _rows(case: CaseResult, variant: str) -> list[ContenderResult]:
    return [c for c in case.ordered(variant) if c.spread(case.metrics[0].name) is not None]


def _draw(case: CaseResult, variants: list[str], theme: _Theme, folder: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    counts = [len(_rows(case, variant)) for variant in variants]
    height = _BAR_INCHES * sum(counts) + 0.75 * len(variants) + 0.4
    colours = {
        "text.color": theme.ink,
        "axes.labelcolor": theme.ink,
        "xtick.color": theme.ink,
        "ytick.color": theme.ink,
    }
    # Text stays text, and the same run gives the same bytes.
    fixed = {"svg.fonttype": "none", "svg.hashsalt": case.name, "font.size": 9.0}
    with plt.rc_context({**colours, **fixed}):
        figure, axes = plt.subplots(
            len(variants), 1, figsize=(_WIDTH_INCHES, height), squeeze=False, gridspec_kw={"height_ratios": counts}
        )
        figure.patch.set_facecolor(theme.paper)
        for variant, axis in zip(variants, axes[:, 0], strict=True):
            _bars(case, variant, axis, theme)
        better = "longer" if case.metrics[0].better == "higher" else "shorter"
        figure.suptitle(
            f"{case.name} ({better} is better)",
            x=0.01,
            y=1 - 0.12 / height,
            va="top",
            ha="left",
            fontsize=11,
            fontweight="bold",
        )
        figure.tight_layout(rect=(0, 0, 1, 1 - 0.3 / height))
        for kind, metadata in (("svg", {"Date": None}), ("png", {})):
            path = folder / f"{case.name}-{theme.name}.{kind}"
            figure.savefig(path, dpi=144, facecolor=theme.paper, metadata=metadata)
        plt.close(figure)


def _bars(case: CaseResult, variant: str, axis: Any, theme: _Theme) -> None:
    main = case.metrics[0]
    rows = _rows(case, variant)[::-1]
    spreads = [spread for row in rows if (spread := row.spread(main.name)) is not None]
    medians = [spread.median for spread in spreads]
    colours = [theme.ours if row.is_ours else theme.bound if row.is_bound else theme.rival for row in rows]
    whiskers = [[s.median - s.p10 for s in spreads], [s.p90 - s.median for s in spreads]]
    places = range(len(rows))
    axis.barh(
        places, medians, color=colours, height=0.72, xerr=whiskers, ecolor=theme.ink, error_kw={"elinewidth": 0.8}
    )
    if min(medians) > 0 and max(medians) / min(medians) > _LOG_ABOVE:
        axis.set_xscale("log")
        axis.set_xlim(min(medians) / 2, max(s.p90 for s in spreads) * 4)
    else:
        axis.set_xlim(0, max(s.p90 for s in spreads) * 1.22)
    for place, spread in zip(places, spreads, strict=True):
        label = f"  {in_unit(spread.median, main.unit)}"
        axis.text(max(spread.p90, spread.median), place, label, va="center", ha="left", fontsize=8, color=theme.ink)
    axis.set_yticks(list(places), [row.name for row in rows])
    axis.set_title(variant, loc="left", fontsize=9)
    axis.set_facecolor(theme.paper)
    axis.tick_params(axis="y", length=0)
    axis.xaxis.set_major_formatter(lambda value, _: in_unit(value, main.unit))
    axis.grid(axis="x", color=theme.faint, linewidth=0.6)
    axis.set_axisbelow(True)
    for spine in axis.spines.values():
        spine.set_visible(False)
