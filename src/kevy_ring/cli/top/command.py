"""``kevy-ring top``: all rings of this machine, live."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import click
from rich.console import Console

from kevy_ring.cli.completion import ring_names_with
from kevy_ring.cli.rings.facts import ring_faults
from kevy_ring.cli.rings.ring_text import ring_object
from kevy_ring.cli.tables import tables_console, terminal_size
from kevy_ring.cli.top.keys import TopKeys
from kevy_ring.cli.top.meter import TopMeter, TopRing
from kevy_ring.cli.top.one_ring import ring_lines
from kevy_ring.cli.top.paint import Paint
from kevy_ring.cli.top.screen import Line, label_lines, list_lines, table_lines
from kevy_ring.cli.top.state import ORDERS, TopState
from kevy_ring.inbox.header_words import LinkState, how_far_behind, link_state, received_offset, upstream_offset
from kevy_ring.ring.outside.watch import RingWatch

_CLEAR = "\x1b[2J"
#: How long a changed size of the terminal may wait for its screen.
_SIZE_LOOK_S = 0.25


@click.command()
@click.argument("prefix", default="", shell_complete=ring_names_with)
@click.option(
    "--interval", type=click.FloatRange(min=0.05, max=3600), metavar="S", default=0.25, show_default=True,
    help="Seconds between two looks.",
)  # fmt: skip
@click.option("--sort", type=click.Choice(ORDERS), default="name", show_default=True, help="Order at the start.")
@click.option("--once", is_flag=True, help="Look twice, one interval apart, print the rings with their rates, and end.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object, with all rings, for each look.")
def top(prefix: str, interval: float, sort: str, once: bool, as_json: bool) -> int:
    """Watch all rings of this machine, or those whose names begin with PREFIX: fill, rates, overflow, wakes, both
    roles, and the applied offset.

    \b
    Keys:  r f o n     sort by rate, fill, overflow, name
           ↑ ↓ enter   choose a ring and open it; or type its number
           esc q       back; quit

    It only reads headers: it takes no role, writes nothing into a ring, and reads no record.
    """
    meter, watch, state = TopMeter(), RingWatch(lambda name: name.startswith(prefix)), TopState(sort)

    def look() -> list[TopRing]:
        return state.sorted(meter.take(watch.look(), time.monotonic()))

    if once or as_json or not sys.stdout.isatty():
        look()
        time.sleep(interval)
        while True:
            rings = look()
            print(json.dumps(top_object(rings, interval))) if as_json else _print_table(rings)
            sys.stdout.flush()
            if once or not as_json:
                return 0
            time.sleep(interval)
    _Screen(Console(highlight=False), state, look, interval).run()
    return 0


def top_object(rings: Sequence[TopRing], interval: float) -> dict[str, object]:
    """All rings as plain values. The rates cover at least ``interval`` seconds."""
    return {
        "time_unix_s": round(time.time(), 3),
        "interval_s": interval,
        "rings": [_ring_object(ring) for ring in rings if ring.gone_at is None],
    }


def _ring_object(ring: TopRing) -> dict[str, object]:
    if ring.stats is None:
        return {"name": ring.name, "faults": [f"unreadable: {ring.fault}"]}
    state = link_state(ring.stats)
    return {
        **ring_object(ring.stats),
        "in_events_per_s": round(ring.rates.in_events, 1),
        "in_bytes_per_s": round(ring.rates.in_bytes, 1),
        "out_events_per_s": round(ring.rates.out_events, 1),
        "out_bytes_per_s": round(ring.rates.out_bytes, 1),
        "wakes_per_s": round(ring.rates.wakes, 1),
        "link": None if state is LinkState.NONE else state.name.lower(),
        "received_offset": received_offset(ring.stats),
        "upstream_offset": upstream_offset(ring.stats),
        "behind": how_far_behind(ring.stats),
        "faults": [f"corrupt: {ring.fault}"] if ring.fault else ring_faults(ring.stats),
    }


def _print_table(rings: Sequence[TopRing]) -> None:
    console = tables_console()
    if not rings:
        print("no rings")
        return
    paint = Paint(console)
    for line in table_lines(rings, console.width, time.monotonic()):
        print(paint(line).rstrip())
    for label in label_lines(rings, console.width):
        print(label)


class _Screen:
    """The live view: draws, waits for a key or the next look, and restores the terminal at the end."""

    def __init__(self, console: Console, state: TopState, look: Callable[[], list[TopRing]], interval: float) -> None:
        self._console = console
        self._state = state
        self._look = look
        self._interval = interval
        self._paint = Paint(console)
        self._keys = TopKeys(sys.stdin.fileno())
        self._size = (0, 0)
        self._was_resized = False
        self._shown: list[Line] = []

    def run(self) -> None:
        with self._signals_taken():
            try:
                self._enter()
                self._follow()
            except KeyboardInterrupt:
                pass
            finally:
                self._leave()

    def _follow(self) -> None:
        due = time.monotonic()
        while not self._keys.ended:
            rings = self._look()
            self._draw(rings)
            due = max(due + self._interval, time.monotonic())
            while (left := due - time.monotonic()) > 0 and not self._keys.ended:
                key = self._keys.next(min(left, _SIZE_LOOK_S))
                if self._was_resized:
                    self._draw(rings)
                if key is not None:
                    if not self._state.press(key, [ring.name for ring in rings]):
                        return
                    rings = self._state.sorted(sorted(rings, key=lambda ring: ring.name))
                    self._draw(rings)

    def _draw(self, rings: list[TopRing]) -> None:
        if self._was_resized:
            # The terminal has moved or cut what was drawn, even if it has its old size again.
            self._was_resized, self._size = False, (0, 0)
        width, height = size = terminal_size(self._console)
        now = time.monotonic()
        opened = next((ring for ring in rings if ring.name == self._state.opened), None)
        if opened is None:
            lines = list_lines(rings, self._state, width, height, now)
        else:
            lines = ring_lines(opened, width, height, now)
        changed = []
        if size != self._size:
            self._size, self._shown = size, []
            changed.append(_CLEAR)
        # Write only the lines that changed. Most do not.
        shown = self._shown
        for number, line in enumerate(lines):
            if number >= len(shown) or (line is not shown[number] and line != shown[number]):
                changed.append(f"\x1b[{number + 1}H{self._paint(line)}")
        self._shown = lines
        if changed:
            self._console.file.write("".join(changed))
            self._console.file.flush()

    def _enter(self) -> None:
        self._keys.take()
        self._console.set_alt_screen(True)
        self._console.show_cursor(False)
        self._size = (0, 0)

    def _leave(self) -> None:
        self._console.show_cursor(True)
        self._console.set_alt_screen(False)
        self._keys.give_back()

    @contextmanager
    def _signals_taken(self) -> Iterator[None]:
        """Restore the terminal before a signal ends or stops this process."""

        def end(number: int, frame: FrameType | None) -> None:
            raise KeyboardInterrupt

        def pause(number: int, frame: FrameType | None) -> None:
            self._leave()
            os.kill(os.getpid(), signal.SIGSTOP)
            self._enter()

        def resized(number: int, frame: FrameType | None) -> None:
            self._was_resized = True

        answers = {signal.SIGTERM: end, signal.SIGHUP: end, signal.SIGTSTP: pause, signal.SIGWINCH: resized}
        before = {number: signal.signal(number, answer) for number, answer in answers.items()}
        try:
            yield
        finally:
            for number, answer in before.items():
                signal.signal(number, answer)
