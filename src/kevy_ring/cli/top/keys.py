"""Reads the keys of a terminal, one at a time and without an echo, and restores the terminal."""

from __future__ import annotations

import os
import select
import termios
import time
import tty

_NAMES = {
    b"\x1b[A": "up", b"\x1b[B": "down", b"\x1b[C": "right", b"\x1b[D": "left", b"\x1bOA": "up", b"\x1bOB": "down",
    b"\x1bOC": "right", b"\x1bOD": "left", b"\x1b[5~": "page up", b"\x1b[6~": "page down", b"\x1b[H": "home",
    b"\x1b[F": "end", b"\x1b[1~": "home", b"\x1b[4~": "end", b"\x1bOH": "home", b"\x1bOF": "end", b"\x1b": "esc",
    b"\r": "enter", b"\n": "enter", b"\x7f": "backspace", b"\x08": "backspace",
}  # fmt: skip
#: On a slow line a sequence comes in pieces. An escape that nothing follows for this long was the escape key.
_REST_S = 0.03


class TopKeys:
    """Reads keys from the terminal ``fd``. If ``fd`` is no terminal, there are no keys and :meth:`next` only waits."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._is_terminal = os.isatty(fd)
        self._before: list[object] | None = None
        self._pending = b""
        self.ended = False

    def take(self) -> None:
        """Receive every key at once, without enter. Ctrl-C and Ctrl-Z keep their meaning."""
        if self._is_terminal and self._before is None:
            self._before = list(termios.tcgetattr(self._fd))
            tty.setcbreak(self._fd, termios.TCSADRAIN)

    def give_back(self) -> None:
        """Restore the terminal. Does nothing if the terminal is gone."""
        before, self._before = self._before, None
        if before is not None:
            try:
                termios.tcsetattr(self._fd, termios.TCSADRAIN, before)  # type: ignore[arg-type]
            except (termios.error, OSError):
                self.ended = True

    def next(self, timeout: float) -> str | None:
        """The next key, as its name or character; None: no key within ``timeout`` seconds.

        ``ended`` is true once the terminal is gone.
        """
        if not self._pending:
            if not self._is_terminal:
                time.sleep(max(0.0, timeout))
                return None
            self._read(timeout)
        if self._pending == b"\x1b":
            self._read(_REST_S)
        return self._take_one() if self._pending else None

    def _read(self, timeout: float) -> None:
        if self.ended or not select.select([self._fd], [], [], max(0.0, timeout))[0]:
            return
        try:
            came = os.read(self._fd, 64)
        except OSError:
            came = b""
        self.ended = not came
        self._pending += came

    def _take_one(self) -> str:
        for size in (4, 3, 1):
            name = _NAMES.get(self._pending[:size])
            if name is not None and not (size == 1 and name == "esc" and self._pending[1:2] in (b"[", b"O")):
                self._pending = self._pending[size:]
                return name
        if self._pending[:1] == b"\x1b":
            # A sequence without a name here. It ends with the first letter or tilde.
            end = 2
            while end < len(self._pending) and not (0x40 <= self._pending[end] <= 0x7E):
                end += 1
            self._pending = self._pending[end + 1 :]
            return ""
        key, self._pending = self._pending[:1], self._pending[1:]
        return key.decode("latin-1")
