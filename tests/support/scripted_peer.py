"""A peer on a loopback socket that follows scripts: one script for each connection, in order."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from pathlib import Path

DEADLINE_S = 120.0


class PeerConnection:
    """The peer's end of one connection. Every wait has a deadline. ``received`` keeps the bytes read."""

    def __init__(self, connected: socket.socket, closing: threading.Event) -> None:
        connected.settimeout(DEADLINE_S)
        self.socket = connected
        self.closing = closing
        self.received = b""

    def read_some(self) -> bytes:
        piece = self.socket.recv(65536)
        self.received += piece
        return piece

    def read_until(self, mark: bytes) -> bytes:
        """Read until ``mark`` has come. Returns everything received so far."""
        while mark not in self.received:
            if not self.read_some():
                raise EOFError(f"the other side closed before {mark!r}; got {self.received!r}")
        return self.received

    def take_until(self, mark: bytes) -> bytes:
        """Like ``read_until``, but removes the bytes up to the end of the mark. The next call finds a later one."""
        self.read_until(mark)
        end = self.received.index(mark) + len(mark)
        taken, self.received = self.received[:end], self.received[end:]
        return taken

    def read_to_end(self) -> bytes:
        """Read until the other side closes."""
        with contextlib.suppress(ConnectionError):
            while self.read_some():
                pass
        return self.received

    def send(self, wire: bytes) -> None:
        self.socket.sendall(wire)

    def send_by_bytes(self, wire: bytes) -> None:
        for i in range(len(wire)):
            self.socket.sendall(wire[i : i + 1])

    def close(self) -> None:
        """A clean end: the sent bytes arrive, then the end of the stream."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def stay(self) -> None:
        """Send nothing until the test is over."""
        self.closing.wait(DEADLINE_S)


Script = Callable[[PeerConnection], None]


class ScriptedPeer:
    """Listens on a free loopback port or a Unix socket. Connection n runs script n, and the last script repeats.

    ``failures`` keeps the errors of scripts, and the exit raises them. The end of a connection is no failure.
    """

    def __init__(self, *scripts: Script, unix_path: Path | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.scripts = scripts
        self.failures: list[BaseException] = []
        self.connections: list[PeerConnection] = []
        self.closing = threading.Event()
        self._arrived = threading.Condition()
        self._tls = tls
        if unix_path is None:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.port: int = self._listener.getsockname()[1]
        else:
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(str(unix_path))
            self._listener.listen()
            self.port = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def wait_for_connections(self, count: int) -> None:
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.connections) >= count, DEADLINE_S):
                raise TimeoutError(f"{len(self.connections)} of {count} connections came")

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self._listener.accept()
            except OSError:
                return
            connection = PeerConnection(connected, self.closing)
            with self._arrived:
                script = self.scripts[min(len(self.connections), len(self.scripts) - 1)]
                self.connections.append(connection)
                self._arrived.notify_all()
            threading.Thread(target=self._serve, args=(connection, script), daemon=True).start()

    def _serve(self, connection: PeerConnection, script: Script) -> None:
        try:
            if self._tls is not None:
                connection.socket = self._tls.wrap_socket(connection.socket, server_side=True)
            script(connection)
        except OSError:
            pass  # the replica may close the connection
        except BaseException as failure:
            self.failures.append(failure)
        finally:
            connection.close()

    def close(self) -> None:
        self.closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(DEADLINE_S)
        for connection in self.connections:
            connection.close()

    def __enter__(self) -> ScriptedPeer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
        if self.failures and exc_info[0] is None:
            raise AssertionError(f"the script failed: {self.failures!r}") from self.failures[0]
