"""The state that the keys of top change: the order, the marked ring, and the open ring."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kevy_ring.cli.ring_columns import fill_share
from kevy_ring.cli.top.meter import TopRing

_ORDERS: dict[str, tuple[str, Callable[[TopRing], float] | None]] = {
    "n": ("name", None),
    "r": ("rate", lambda ring: ring.rates.in_events + ring.rates.out_events),
    "f": ("fill", lambda ring: fill_share(ring.stats)),
    "o": ("overflow", lambda ring: ring.stats.overflow_bytes if ring.stats else 0),
}
ORDERS = tuple(name for name, _ in _ORDERS.values())
_STEPS = {"up": -1, "k": -1, "down": 1, "j": 1}


class TopState:
    """``order`` is one of ``ORDERS``; ``marked`` and ``opened`` are names of rings, or None."""

    def __init__(self, order: str = "name") -> None:
        self.order = order
        self.marked: str | None = None
        self.opened: str | None = None
        self.page = 10  # rows that fit the screen
        self._typed = ""

    def sorted(self, rings: Sequence[TopRing]) -> list[TopRing]:
        """``rings`` (given by name) in the chosen order: by name, or the largest figure first."""
        for name, key in _ORDERS.values():
            if name == self.order and key is not None:
                return sorted(rings, key=key, reverse=True)
        return list(rings)

    def press(self, key: str, names: Sequence[str]) -> bool:
        """Take a key. ``names``: of the rings, in the order shown. False: the user wants to leave."""
        typed, self._typed = self._typed, ""
        if key == "q":
            return False
        if key in ("esc", "left", "backspace"):
            self.opened = None
        elif key in _ORDERS:
            self.order = _ORDERS[key][0]
        elif key.isdecimal() and key.isascii():
            self._number(typed + key, names)
        elif names:
            self._move(key, names)
        return True

    def _move(self, key: str, names: Sequence[str]) -> None:
        at = names.index(self.marked) if self.marked in names else None
        if key in ("enter", "right"):
            self.marked = names[at or 0]
            self.opened = self.marked
            return
        ends = {"home": 0, "g": 0, "end": len(names) - 1, "G": len(names) - 1}
        step = _STEPS.get(key, {"page up": -self.page, "page down": self.page}.get(key))
        if key in ends:
            at = ends[key]
        elif step is not None:
            at = (0 if step > 0 else len(names) - 1) if at is None else at + step
        else:
            return
        self.marked = names[max(0, min(at, len(names) - 1))]
        if self.opened is not None:
            self.opened = self.marked

    def _number(self, typed: str, names: Sequence[str]) -> None:
        """Mark the ring with this number. Open it if no further digit could lead to another ring."""
        number = int(typed)
        if not 1 <= number <= len(names):
            return
        self.marked = names[number - 1]
        if number * 10 > len(names):
            self.opened = self.marked
        else:
            self._typed = typed
