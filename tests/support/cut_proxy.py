"""A proxy from one loopback port to another, which drops connections when a test says so."""

from __future__ import annotations

import contextlib
import socket
import threading

DEADLINE_S = 120.0


class CutProxy:
    """Forwards to ``upstream_port``. Each connection passes at most ``limits.pop(0)`` bytes downstream, then is cut."""

    def __init__(self, upstream_port: int, *limits: int) -> None:
        self.limits = list(limits)
        self.refusing = False
        self.accepted = 0
        self.cuts = 0
        self._upstream_port = upstream_port
        self._links: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Drop every connection now."""
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            self._drop(link)

    def _accept(self) -> None:
        while True:
            try:
                down, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self.refusing:
                down.close()
                continue
            try:
                up = socket.create_connection(("127.0.0.1", self._upstream_port), DEADLINE_S)
            except OSError:
                down.close()
                continue
            down.settimeout(None)
            up.settimeout(None)
            with self._lock:
                self._links.append((down, up))
                limit = self.limits.pop(0) if self.limits else None
            for source, target, budget in ((up, down, limit), (down, up, None)):
                threading.Thread(target=self._forward, args=(source, target, budget), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, budget: int | None) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536 if budget is None else min(budget, 65536)):
                target.sendall(piece)
                if budget is not None:
                    budget -= len(piece)
                    if not budget:
                        self.cuts += 1
                        break
        self._drop((source, target))

    @staticmethod
    def _drop(link: tuple[socket.socket, socket.socket]) -> None:
        for end in link:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(DEADLINE_S)
        self.cut()

    def __enter__(self) -> CutProxy:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
