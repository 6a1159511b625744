"""Records the live table and ``top`` in terminals of several sizes, which change in the middle. It needs tmux.

    python tests/support/terminal_recording.py FOLDER

writes each screen into FOLDER as text.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Size = tuple[int, int]
SIZES: tuple[Size, ...] = ((80, 24), (120, 40), (200, 50))
#: The size that each terminal gets in the middle, then a terminal smaller than the table, then a tiny one.
RESIZED = {(80, 24): (120, 40), (120, 40): (200, 50), (200, 50): (80, 24)}
SMALL: tuple[Size, ...] = ((60, 10), (20, 5))
_SUPPORT = Path(__file__).resolve().parent
_DEADLINE_S = 120.0


class Terminals:
    """Terminals of a tmux server of its own. Ends the server, and with it every command, at the end of the block."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="kr-tmux-")
        self._socket = f"{self._folder.name}/socket"

    def open(self, size: Size, command: list[str]) -> Terminal:
        """Run ``command`` in a new terminal, which stays after its end."""
        path = os.pathsep.join([str(_SUPPORT), *filter(None, sys.path)])
        shown = shlex.join(["env", f"PYTHONPATH={path}", *command])
        # After its end nothing more may be drawn, and the screen must stay.
        found = self.tmux(
            "-f", os.devnull, "new-session", "-d", "-P", "-F", "#{pane_id}", "-x", str(size[0]), "-y", str(size[1]),
            f"{shown}; exec sleep 600",
        )  # fmt: skip
        return Terminal(self, found.strip())

    def tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", self._socket, *arguments], capture_output=True, text=True, timeout=60, check=True,
            env=os.environ | {"LC_ALL": "C.UTF-8", "TERM": "xterm-256color"},
        )  # fmt: skip
        return done.stdout

    def __enter__(self) -> Terminals:
        return self

    def __exit__(self, *exc_info: object) -> None:
        subprocess.run(["tmux", "-S", self._socket, "kill-server"], capture_output=True, timeout=60, check=False)
        self._folder.cleanup()


class Terminal:
    """One terminal, with its command."""

    def __init__(self, terminals: Terminals, pane: str) -> None:
        self._terminals = terminals
        self._pane = pane

    def screen(self) -> list[str]:
        """The lines on the screen without empty ones at the end. Rows that the terminal wrapped are one line."""
        text = self._terminals.tmux("capture-pane", "-p", "-J", "-t", self._pane)
        return [line.rstrip() for line in text.rstrip().splitlines()]

    def resize(self, size: Size) -> None:
        self._terminals.tmux("resize-window", "-t", self._pane, "-x", str(size[0]), "-y", str(size[1]))

    def press(self, key: str) -> None:
        self._terminals.tmux("send-keys", "-t", self._pane, key)

    def screen_when(self, holds: Callable[[list[str]], bool]) -> list[str]:
        """The screen, as soon as ``holds`` is true of it."""
        deadline = time.monotonic() + _DEADLINE_S
        while not holds(found := self.screen()):
            assert time.monotonic() < deadline, "\n".join(found)
            time.sleep(0.05)
        return found


def ingest_command() -> list[str]:
    """``ingest`` of the embedded upstream into a sink that waits for the gate."""
    command = [sys.executable, "-m", "kevy_ring", "ingest", "--keys", "400", "--ops", "4000"]
    return [*command, "--sink", "python:cli_sinks:gated"]


def top_command(prefix: str) -> list[str]:
    # It must draw a changed size at once, although it looks at the rings once a minute.
    return [sys.executable, "-m", "kevy_ring", "top", prefix, "--interval", "60"]


@contextmanager
def gate() -> Iterator[Path]:
    """The file that lets the sinks of ``ingest_command`` go on. Opens the gate at the end."""
    with tempfile.TemporaryDirectory(prefix="kr-gate-") as folder:
        path = Path(folder, "open")
        os.environ["KEVY_RING_TEST_GATE"] = str(path)
        try:
            yield path
        finally:
            del os.environ["KEVY_RING_TEST_GATE"]


def is_live(screen: list[str]) -> bool:
    """Whether the live table of both shards is on the screen, after their snapshots."""
    return sum(" streaming " in line and "0 keys" in line for line in screen) == 2


def is_ended(screen: list[str]) -> bool:
    return any(line.startswith("done in ") for line in screen)


def _record(folder: Path) -> None:
    def write(name: str, screen: list[str]) -> None:
        Path(folder, f"{name}.txt").write_text("\n".join(screen) + "\n", encoding="utf-8")

    for size in SIZES:
        name = f"{size[0]}x{size[1]}"
        with gate() as opened, Terminals() as terminals:
            ingest = terminals.open(size, ingest_command())
            write(f"ingest-{name}", ingest.screen_when(is_live))
            top = terminals.open(size, top_command(""))
            write(f"top-{name}", top.screen_when(lambda screen: any("q quit" in line for line in screen)))
            for other in (RESIZED[size], *SMALL, size):
                ingest.resize(other)
                top.resize(other)
                time.sleep(1)
                write(f"ingest-{name}-to-{other[0]}x{other[1]}", ingest.screen())
                write(f"top-{name}-to-{other[0]}x{other[1]}", top.screen())
            opened.touch()
            write(f"ingest-{name}-end", ingest.screen_when(is_ended))


if __name__ == "__main__":
    _record(Path(sys.argv[1]))
