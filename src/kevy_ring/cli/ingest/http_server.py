"""A small HTTP server for answers to GET. A slow or hostile client can hold neither the others nor the run."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from email.message import Message
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, NamedTuple

#: Each connection has a thread. If more come, the oldest that has not sent its request is ended, else the oldest.
CONNECTIONS_MAX = 32
#: Threads of connections that were ended need a moment to end too. No more connections are accepted until then.
THREADS_MAX = 2 * CONNECTIONS_MAX
#: How long a connection may last, from its start to the last byte of the answer.
CONNECTION_S = 10.0
#: A request line of a scraper has some dozen bytes; with name[] parameters, some hundred.
LINE_MAX_BYTES = 8192
_LOOK_EVERY_S = 0.1


class Answer(NamedTuple):
    """An answer to a request: its status code, body and headers."""

    status: int
    body: bytes
    headers: Sequence[tuple[str, str]]


class Request(NamedTuple):
    """A GET: its query without the question mark, and its headers, whose names ignore case."""

    query: str
    headers: Message


Pages = Mapping[str, Callable[[Request], Answer]]


class HttpServer(ThreadingMixIn, TCPServer):
    """Serves ``pages``, by path, in threads until ``close``. Raises OSError if it cannot listen.

    HEAD is answered as GET without the body. Another method is 405, another path 404.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: str, port: int, pages: Pages) -> None:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family = found[0][0]
        self.pages = pages
        self._open: dict[socket.socket, _Connection] = {}  # in the order of their start
        self._lock = threading.Lock()
        self._room = threading.Semaphore(THREADS_MAX)
        super().__init__(found[0][4], _OneRequest)  # type: ignore[arg-type]
        self._thread = threading.Thread(target=self.serve_forever, args=(_LOOK_EVERY_S,), name="kevy-ring-http")
        self._thread.daemon = True
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    def close(self) -> None:
        """End it, and every connection."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._lock:
            for connection in self._open:
                _end(connection)

    def request_came(self, connection: socket.socket) -> None:
        """The whole request of this connection is read."""
        with self._lock:
            if connection in self._open:
                self._open[connection].is_asked = True

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            if len(self._open) >= CONNECTIONS_MAX:
                silent = (each for each, state in self._open.items() if not state.is_asked)
                oldest = next(silent, None) or next(iter(self._open))
                _end(oldest)
                del self._open[oldest]
            self._open[request] = _Connection()
        # This does not wait for long: at most CONNECTIONS_MAX threads have a connection that was not ended.
        if not self._room.acquire(timeout=CONNECTION_S):
            raise TimeoutError
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def shutdown_request(self, request: Any) -> None:
        # Under the lock, because another thread must not end a descriptor that is closed and has another meaning now.
        with self._lock:
            self._open.pop(request, None)
            super().shutdown_request(request)

    def service_actions(self) -> None:
        """End the connections whose time is over."""
        now = time.monotonic()
        with self._lock:
            for connection in [each for each, state in self._open.items() if now >= state.ends_at]:
                _end(connection)
                del self._open[connection]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, or was ended, is no news. A line on standard error would tear the live table."""


class _Connection:
    def __init__(self) -> None:
        self.ends_at = time.monotonic() + CONNECTION_S
        self.is_asked = False


def _end(connection: socket.socket) -> None:
    """Wake the thread that reads from it or writes to it. That thread closes it."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _OneRequest(BaseHTTPRequestHandler):
    """Reads one request, answers it, and closes the connection."""

    server: HttpServer
    timeout = CONNECTION_S
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = "text/plain; charset=utf-8"

    def handle(self) -> None:
        self.raw_requestline = self.rfile.readline(LINE_MAX_BYTES + 1)
        if len(self.raw_requestline) > LINE_MAX_BYTES:
            self.requestline = self.request_version = self.command = ""
            self.send_error(414)
        elif self.raw_requestline and self.parse_request():
            self.server.request_came(self.request)
            self._answer()

    def _answer(self) -> None:
        path, _, query = self.path.partition("?")
        page = self.server.pages.get(path)
        if page is None:
            self._send(_plain(404, "Not Found: there are " + ", ".join(self.server.pages)))
        elif self.command not in ("GET", "HEAD"):
            self._send(_plain(405, "Method Not Allowed: use GET or HEAD", ("Allow", "GET, HEAD")))
        else:
            try:
                answer = page(Request(query, self.headers))
            except Exception as error:
                answer = _plain(500, f"Internal Server Error: {type(error).__name__}")
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def version_string(self) -> str:
        return "kevy-ring"

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the terminal belongs to the view of the run."""


def _plain(status: int, text: str, *headers: tuple[str, str]) -> Answer:
    return Answer(status, f"{text}\n".encode(), [("Content-Type", "text/plain; charset=utf-8"), *headers])
