"""A service manager's notification socket, in place of systemd."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path


class ServiceManager:
    """A datagram socket that collects what a service sends. ``is_abstract``: without a file."""

    def __init__(self, directory: Path, *, is_abstract: bool = False) -> None:
        self.sent: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.address = f"@kevy-ring-test-{os.getpid()}-{id(self)}" if is_abstract else str(directory / "notify")
        self._socket.bind(self.address.replace("@", "\0", 1) if is_abstract else self.address)
        self._socket.settimeout(120)

    def read_until(self, holds: Callable[[str], bool]) -> str:
        """Read datagrams until ``holds`` is true of one, and return it. All are in ``sent``, one line each."""
        while True:
            text = self._socket.recv(4096).decode()
            self.sent += text.splitlines()
            if holds(text):
                return text

    def read_waiting(self) -> list[str]:
        """The lines that have come and were not read."""
        self._socket.setblocking(False)
        before = len(self.sent)
        with contextlib.suppress(BlockingIOError):
            self.read_until(lambda text: False)
        self._socket.settimeout(120)
        return self.sent[before:]

    def __enter__(self) -> ServiceManager:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()
