"""The part of a terminal that is drawn again and again, below the lines that stay."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live

from kevy_ring.cli.tables import terminal_size

#: Makes the part for a terminal of this width and height.
Drawing = Callable[[int, int], tuple[RenderableType, ...]]


class LivePart:
    """Draws below the printed lines, and survives changes of the terminal's size.

    rich goes up by the rows that it drew, to draw over them. When the size changes, some terminals wrap these rows
    again, others cut them, and a program cannot know which. So everything on the screen is drawn again then.
    ``print_again(width, rows)`` prints the last lines that fit ``rows`` rows. ``has_stderr``: standard error is this
    terminal, so what others print there goes above the part. All calls come from one thread.
    """

    def __init__(self, console: Console, print_again: Callable[[int, int], None], *, has_stderr: bool) -> None:
        self._console = console
        self._has_stderr = has_stderr
        self._print_again = print_again
        self._live: Live | None = None
        self._size = (0, 0)
        self._before: Any = None
        self.was_resized = False

    def draw(self, drawing: Drawing) -> None:
        """Draw what ``drawing`` returns for the present size."""
        was_resized, self.was_resized = self.was_resized, False  # first: it may be resized from here on
        size = terminal_size(self._console)
        part = Group(*drawing(*size))
        if self._live is None:
            self._watch()
            self._start(size)
        elif was_resized or size != self._size:
            self._stop()
            self._clear(size[1])
            rows = len(self._console.render_lines(part))
            self._print_again(size[0], size[1] - min(rows, size[1]))
            self._start(size)
        if self._live is not None:
            self._live.update(part, refresh=True)

    def end(self) -> None:
        """Remove the part from the screen."""
        if self._live is None:
            return
        size = terminal_size(self._console)
        is_torn = self.was_resized or size != self._size
        self._stop()
        if is_torn:
            self.was_resized = False
            self._clear(size[1])
            self._print_again(size[0], size[1] - 1)
        if self._before is not None:
            signal.signal(signal.SIGWINCH, self._before)
            self._before = None

    def _start(self, size: tuple[int, int]) -> None:
        self._size = size
        self._live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stderr=self._has_stderr)
        self._live.start()

    def _stop(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _clear(self, height: int) -> None:
        """Empty the screen row by row: a terminal may save a screen that is cleared at once in its history."""
        rows = "".join(f"\x1b[{row};1H\x1b[2K" for row in range(1, height + 1))
        self._console.file.write(f"{rows}\x1b[H")
        self._console.file.flush()

    def _watch(self) -> None:
        def changed(number: int, frame: FrameType | None) -> None:
            self.was_resized = True

        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGWINCH, changed)
