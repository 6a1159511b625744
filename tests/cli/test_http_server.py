"""The HTTP server of a run: what it answers, and what a slow or hostile client can do."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from kevy_ring.cli.ingest import http_server
from kevy_ring.cli.ingest.http_server import CONNECTIONS_MAX, LINE_MAX_BYTES, THREADS_MAX, Answer, HttpServer, Request
from kevy_ring_command import wait_until

TEXT = [("Content-Type", "text/plain")]


def failing(request: Request) -> Answer:
    raise RuntimeError("secret")


@pytest.fixture
def server() -> Iterator[HttpServer]:
    pages: dict[str, Callable[[Request], Answer]] = {
        "/healthz": lambda request: Answer(200, f"query={request.query}".encode(), TEXT),
        "/large": lambda request: Answer(200, bytes(64 << 20), TEXT),
        "/failing": failing,
    }
    server = HttpServer("127.0.0.1", 0, pages)
    yield server
    server.close()


def connect(server: HttpServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), 60)


def ask(server: HttpServer, request: bytes) -> tuple[int, str, str]:
    """The status, the head and the body of the answer to raw bytes."""
    with connect(server) as client:
        client.sendall(request)
        with client.makefile("rb") as file:
            head, _, body = file.read().decode().partition("\r\n\r\n")
    return int(head.split()[1]), head, body


def test_only_its_paths_are_there_and_only_get_and_head_are_allowed(server: HttpServer) -> None:
    assert ask(server, b"GET /healthz?a=1&b HTTP/1.1\r\nHost: x\r\n\r\n")[::2] == (200, "query=a=1&b")
    for path in ("/", "/healthz/", "/Healthz", "/metrics", "/../healthz", "*", "http://x/healthz"):
        assert ask(server, f"GET {path} HTTP/1.1\r\n\r\n".encode())[0] == 404, path
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "FOO"):
        status, head, _ = ask(server, f"{method} /healthz HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody".encode())
        assert (status, "\r\nAllow: GET, HEAD\r\n" in head) == (405, True)
    status, head, body = ask(server, b"HEAD /healthz HTTP/1.0\r\n\r\n")
    assert (status, "Content-Length: 6" in head, body) == (200, True, "")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /" + b"x" * LINE_MAX_BYTES + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /healthz HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(200)) + b"\r\n", 431),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /healthz HTTP/9.9\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00\x01\x00 tls\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_is_refused_in_one_plain_line(server: HttpServer, request_: bytes, status: int) -> None:
    with connect(server) as client:
        client.sendall(request_)
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as file:
            answer = file.read().decode()
    assert answer.count("<") == 0
    assert str(status) in answer.splitlines()[0] + answer.splitlines()[-1]


def test_a_page_that_fails_says_so_without_a_stack(server: HttpServer, capfd: pytest.CaptureFixture[str]) -> None:
    status, _, body = ask(server, b"GET /failing HTTP/1.1\r\n\r\n")
    assert (status, body) == (500, "Internal Server Error: RuntimeError\n")
    assert capfd.readouterr() == ("", "")


def test_clients_that_say_nothing_do_not_keep_others_out(server: HttpServer) -> None:
    idle = [connect(server) for _ in range(CONNECTIONS_MAX * 3)]
    for client in idle[::2]:
        client.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
    assert ask(server, b"GET /healthz HTTP/1.1\r\n\r\n")[0] == 200
    assert len(server._open) <= CONNECTIONS_MAX
    assert idle[0].recv(1) == b""  # the oldest was cut off
    for client in idle:
        client.close()


def test_a_client_that_does_not_read_its_answer_holds_up_no_one(server: HttpServer) -> None:
    with connect(server) as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.sendall(b"GET /large HTTP/1.1\r\n\r\n")
        assert lazy.recv(4) == b"HTTP"
        assert ask(server, b"GET /healthz HTTP/1.1\r\n\r\n")[0] == 200
        for client in [connect(server) for _ in range(CONNECTIONS_MAX * 2)]:
            client.close()
        assert any(state.is_asked for state in server._open.values())  # clients that said nothing went first


def test_a_flood_of_connections_never_has_more_threads_than_the_bound(server: HttpServer) -> None:
    most = answered = 0

    def flood() -> None:
        for _ in range(40):
            with connect(server) as client:
                client.sendall(b"GET /heal")

    clients = [threading.Thread(target=flood) for _ in range(4)]
    for client in clients:
        client.start()
    while any(client.is_alive() for client in clients):
        most = max(most, sum("process_request_thread" in each.name for each in threading.enumerate()))
        with contextlib.suppress(IndexError, ConnectionError):  # it may be cut off, if it is the oldest of many
            answered += ask(server, b"GET /healthz HTTP/1.1\r\n\r\n")[0] == 200
    assert answered
    assert 0 < most <= THREADS_MAX


def test_a_connection_has_a_deadline_as_a_whole(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "CONNECTION_S", 0.3)
    with connect(server) as slow:
        slow.settimeout(0.05)
        began = time.monotonic()
        end = b"?"
        while end:
            slow.sendall(b"G") if time.monotonic() - began < 0.2 else None
            try:
                end = slow.recv(1)
            except TimeoutError:
                continue
            except ConnectionResetError:
                break
    wait_until(lambda: not server._open)


def test_a_closed_server_ends_its_connections_and_frees_its_port() -> None:
    server = HttpServer("127.0.0.1", 0, {})
    with connect(server) as client:
        client.sendall(b"GET ")
        wait_until(lambda: bool(server._open))
        server.close()
        assert client.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            connect(server)
