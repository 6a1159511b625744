"""Figures as people read them."""

from __future__ import annotations

_BIG = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def in_unit(value: float, unit: str) -> str:
    """Three significant digits with a prefix for rates, plain for everything else.

    ``unit`` is printed as it is given; an empty one gives the figure alone, with its prefix.
    """
    if unit in ("", "bytes/s") or unit.endswith("/s"):
        for size, prefix in _BIG:
            if abs(value) >= size:
                return f"{value / size:.3g} {prefix}{_short(unit)}".rstrip()
    plain = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{plain} {_short(unit)}".rstrip()


def _short(unit: str) -> str:
    return {"records/s": "/s", "bytes/s": "B/s", "frames/s": "/s"}.get(unit, unit)
