"""The effect of each key in top."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kevy_ring.cli.rates import Rates
from kevy_ring.cli.top.meter import TopRing
from kevy_ring.cli.top.state import TopState
from kevy_ring.ring import Ring


def rings() -> list[TopRing]:
    with Ring.create(4096) as ring:
        stats = ring.stats()
    return [
        TopRing("a", replace(stats, used_bytes=8, overflow_bytes=5), rates=Rates(in_events=1)),
        TopRing("b", replace(stats, used_bytes=80), rates=Rates(out_events=9)),
        TopRing("c", replace(stats, used_bytes=16, overflow_bytes=9), rates=Rates(in_events=3)),
    ]


@pytest.mark.parametrize(("key", "order"), [("n", "abc"), ("r", "bca"), ("f", "bca"), ("o", "cab")])
def test_the_order_is_by_name_or_the_greatest_first(key: str, order: str) -> None:
    state = TopState("overflow")
    assert state.press(key, "abc")
    assert "".join(ring.name for ring in state.sorted(rings())) == order


def test_arrows_mark_a_ring_and_enter_opens_it_and_esc_goes_back() -> None:
    state, names = TopState(), list("abc")
    for key, marked in (("down", "a"), ("down", "b"), ("end", "c"), ("down", "c"), ("up", "b"), ("home", "a")):
        state.press(key, names)
        assert (state.marked, state.opened) == (marked, None)
    state.press("enter", names)
    assert state.opened == "a"
    state.press("j", names)
    assert state.opened == "b"
    state.press("esc", names)
    assert (state.marked, state.opened) == ("b", None)
    assert not state.press("q", names)


def test_enter_without_a_mark_opens_the_first_and_without_a_ring_nothing() -> None:
    state = TopState()
    state.press("enter", [])
    state.press("down", [])
    assert state.opened is None
    state.press("enter", list("abc"))
    assert state.opened == "a"


def test_a_number_opens_its_ring_as_soon_as_it_can_be_no_other() -> None:
    state, names = TopState(), [f"ring-{n}" for n in range(1, 31)]
    state.press("4", names)
    assert state.opened == "ring-4"
    state.press("esc", names)
    state.press("2", names)
    assert (state.marked, state.opened) == ("ring-2", None)
    state.press("7", names)
    assert state.opened == "ring-27"
    state.press("esc", names)
    state.press("1", names)
    state.press("enter", names)
    assert state.opened == "ring-1"
    state.press("0", names)
    assert state.opened == "ring-1"


def test_keys_that_mean_nothing_change_nothing() -> None:
    state = TopState()
    for key in ("x", "", "²", "page"):
        assert state.press(key, ["a"])
    assert (state.marked, state.opened, state.order) == (None, None, "name")
