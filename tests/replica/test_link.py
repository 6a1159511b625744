"""The link: every kind of address, a stop while it blocks, the kinds of ends, and no password in any text."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from certificates import make_certificates
from kevy_ring.errors import LinkError, UpstreamRefused
from kevy_ring.replica.runner.connect import open_link
from kevy_ring.replica.runner.link import Link
from kevy_ring.replica.stop import StopSignal
from kevy_ring.replica.upstream_url import parse_upstream
from scripted_peer import PeerConnection, ScriptedPeer

LONG_S = 60.0
SECRET = "open-sesame"


@pytest.fixture
def stop() -> Iterator[StopSignal]:
    with StopSignal() as signal:
        yield signal


def connect(url: str, stop: StopSignal, timeout: float = LONG_S) -> Link:
    link = open_link(parse_upstream(url), timeout=timeout, stop=stop)
    assert link is not None
    return link


def receive(link: Link, count: int) -> bytes:
    got, view = b"", memoryview(bytearray(65536))
    while len(got) < count:
        n = link.recv_into(view, LONG_S)
        assert n, f"the stream ended after {got!r}"
        got += bytes(view[:n])
    return got


def echo(connection: PeerConnection) -> None:
    while piece := connection.read_some():
        connection.send(piece)


def wait_until_stopped(waiting: threading.Thread) -> None:
    """The rule is one second. The test only requires much less than the deadline of the blocked call."""
    waiting.join(LONG_S / 2)
    assert not waiting.is_alive()


def test_bytes_go_both_ways_over_tcp(stop: StopSignal) -> None:
    with ScriptedPeer(echo) as peer, connect(f"kevy://127.0.0.1:{peer.port}", stop) as link:
        assert link.sendall(b"hello", LONG_S)
        assert receive(link, 5) == b"hello"


def test_a_redis_url_without_a_login_sends_nothing_by_itself(stop: StopSignal) -> None:
    with ScriptedPeer(echo) as peer, connect(f"redis://127.0.0.1:{peer.port}/3", stop) as link:
        link.send(b"first")
        assert receive(link, 5) == b"first"


def test_bytes_go_both_ways_over_a_unix_socket(stop: StopSignal, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with ScriptedPeer(echo, unix_path=path), connect(f"unix://{path}", stop) as link:
        link.send(b"hello")
        assert receive(link, 5) == b"hello"


def test_bytes_go_both_ways_over_tls_and_large_pieces_arrive_whole(stop: StopSignal, tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(made.certificate, made.key)
    large = bytes(range(256)) * 4096
    with (
        ScriptedPeer(echo, tls=tls) as peer,
        connect(f"rediss://127.0.0.1:{peer.port}?ssl_ca_certs={made.authority}", stop) as link,
    ):
        link.send(large)
        assert receive(link, len(large)) == large
        assert link.unsent_bytes == 0


def test_a_certificate_that_nobody_vouches_for_is_refused(stop: StopSignal, tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(made.certificate, made.key)
    with ScriptedPeer(echo, tls=tls) as peer, pytest.raises(LinkError) as caught:
        connect(f"rediss://127.0.0.1:{peer.port}", stop)
    assert caught.value.reason == "connect"
    assert "CERTIFICATE_VERIFY_FAILED" in caught.value.detail


def test_the_login_goes_first_with_user_and_password(stop: StopSignal) -> None:
    def accept(connection: PeerConnection) -> None:
        connection.read_until(SECRET.encode() + b"\r\n")
        connection.send(b"+OK\r\n")
        echo(connection)

    with ScriptedPeer(accept) as peer, connect(f"redis://repl:{SECRET}@127.0.0.1:{peer.port}", stop) as link:
        link.send(b"PING")
        assert receive(link, 4) == b"PING"
        assert peer.connections[0].received.startswith(b"*3\r\n$4\r\nAUTH\r\n$4\r\nrepl\r\n$11\r\nopen-sesame\r\n")


@pytest.mark.parametrize("reply", [f"-WRONGPASS not {SECRET}", f"-ERR AUTH {SECRET}?", "-LOADING wait", "-NOPERM no"])
def test_a_refused_login_gives_the_servers_words_without_the_password(stop: StopSignal, reply: str) -> None:
    def refuse(connection: PeerConnection) -> None:
        connection.read_until(SECRET.encode() + b"\r\n")
        connection.send(reply.encode() + b"\r\n")
        connection.stay()

    with ScriptedPeer(refuse) as peer, pytest.raises(UpstreamRefused) as caught:
        connect(f"redis://:{SECRET}@127.0.0.1:{peer.port}", stop)
    assert SECRET not in str(caught.value)
    assert caught.value.reply
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_link_never_shows_the_password(stop: StopSignal) -> None:
    def accept(connection: PeerConnection) -> None:
        connection.read_until(SECRET.encode() + b"\r\n")
        connection.send(b"+OK\r\n")
        connection.stay()

    with ScriptedPeer(accept) as peer, connect(f"redis://:{SECRET}@127.0.0.1:{peer.port}", stop) as link:
        assert repr(link) == f"Link('redis://:***@127.0.0.1:{peer.port}')"


@pytest.mark.parametrize("scheme", ["kevy", "redis"])
def test_a_port_where_nobody_listens_is_a_link_error(stop: StopSignal, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(LinkError) as caught:
        connect(f"{scheme}://127.0.0.1:{port}", stop)
    assert caught.value.reason == "connect"
    assert caught.value.upstream == f"{scheme}://127.0.0.1:{port}"


def test_a_missing_unix_socket_is_a_link_error(stop: StopSignal, tmp_path: Path) -> None:
    with pytest.raises(LinkError):
        connect(f"unix://{tmp_path}/none", stop)


@pytest.mark.parametrize("url", ["redis://:x@127.0.0.1:{}", "rediss://127.0.0.1:{}"])
def test_a_server_that_accepts_and_stays_silent_runs_into_the_deadline(stop: StopSignal, url: str) -> None:
    with ScriptedPeer(PeerConnection.stay) as peer, pytest.raises(LinkError) as caught:
        connect(url.format(peer.port), stop, timeout=0.2)
    assert caught.value.reason == "timeout"


@pytest.mark.parametrize("url", ["redis://:x@127.0.0.1:{}", "rediss://127.0.0.1:{}"])
def test_a_stop_ends_a_login_that_hangs(stop: StopSignal, url: str) -> None:
    with ScriptedPeer(PeerConnection.stay) as peer:
        threading.Timer(0.1, stop.set).start()
        assert open_link(parse_upstream(url.format(peer.port)), timeout=LONG_S, stop=stop) is None


def test_a_server_that_closes_during_the_login_is_a_link_error(stop: StopSignal) -> None:
    with ScriptedPeer(PeerConnection.close) as peer, pytest.raises(LinkError):
        connect(f"redis://:x@127.0.0.1:{peer.port}", stop)


def test_a_read_that_gets_nothing_gives_none_at_its_deadline(stop: StopSignal) -> None:
    with ScriptedPeer(PeerConnection.stay) as peer, connect(f"kevy://127.0.0.1:{peer.port}", stop) as link:
        before = time.monotonic()
        assert link.recv_into(memoryview(bytearray(10)), 0.05) is None
        assert time.monotonic() - before >= 0.05


def test_a_stop_wakes_a_blocked_read(stop: StopSignal) -> None:
    with ScriptedPeer(PeerConnection.stay) as peer, connect(f"kevy://127.0.0.1:{peer.port}", stop) as link:
        got: list[int | None] = []
        reading = threading.Thread(target=lambda: got.append(link.recv_into(memoryview(bytearray(10)), LONG_S)))
        reading.start()
        time.sleep(0.1)
        stop.set()
        wait_until_stopped(reading)
        assert got == [None]


def test_what_arrived_can_still_be_read_after_a_stop(stop: StopSignal) -> None:
    with ScriptedPeer(echo) as peer, connect(f"kevy://127.0.0.1:{peer.port}", stop) as link:
        link.send(b"x")
        receive(link, 1)
        stop.set()
        assert link.recv_into(memoryview(bytearray(10)), LONG_S) is None


def test_a_stop_wakes_a_blocked_write_and_the_write_tells_that_it_is_not_done(stop: StopSignal) -> None:
    with ScriptedPeer(PeerConnection.stay) as peer, connect(f"kevy://127.0.0.1:{peer.port}", stop) as link:
        got: list[bool] = []
        writing = threading.Thread(target=lambda: got.append(link.sendall(bytes(64 << 20), LONG_S)))
        writing.start()
        time.sleep(0.2)
        stop.set()
        wait_until_stopped(writing)
        assert got == [False]
        assert link.unsent_bytes > 0


def test_a_write_that_nobody_reads_gives_up_at_its_deadline(stop: StopSignal) -> None:
    with ScriptedPeer(PeerConnection.stay) as peer, connect(f"kevy://127.0.0.1:{peer.port}", stop) as link:
        assert not link.sendall(bytes(64 << 20), 0.2)


def test_a_peer_that_writes_before_it_reads_does_not_deadlock_with_a_large_write(stop: StopSignal) -> None:
    size = 16 << 20

    def write_then_read(connection: PeerConnection) -> None:
        connection.send(bytes(size))
        left = size
        while left:
            left -= len(connection.socket.recv(1 << 20))
        connection.send(b"done")

    with ScriptedPeer(write_then_read) as peer, connect(f"kevy://127.0.0.1:{peer.port}", stop) as link:
        link.send(bytes(size))
        assert receive(link, size + 4).endswith(b"done")


def test_the_end_of_the_stream_is_a_zero_after_all_that_was_sent(stop: StopSignal) -> None:
    def speak_and_close(connection: PeerConnection) -> None:
        connection.send(b"-ERR go away\r\n")

    with ScriptedPeer(speak_and_close) as peer, connect(f"kevy://127.0.0.1:{peer.port}", stop) as link:
        assert receive(link, 14) == b"-ERR go away\r\n"
        assert link.recv_into(memoryview(bytearray(10)), LONG_S) == 0


def reset_once_spoken_to(connection: PeerConnection) -> None:
    """The reset comes after the link is made. During the connect it would refuse the link."""
    assert connection.read_some()
    connection.reset()


def test_a_reset_is_an_end_as_well(stop: StopSignal) -> None:
    with ScriptedPeer(reset_once_spoken_to) as peer, connect(f"kevy://127.0.0.1:{peer.port}", stop) as link:
        link.send(b"w")
        assert link.recv_into(memoryview(bytearray(10)), LONG_S) == 0


def test_writing_to_a_peer_that_has_left_is_no_error_and_the_read_tells(stop: StopSignal) -> None:
    with ScriptedPeer(reset_once_spoken_to) as peer, connect(f"kevy://127.0.0.1:{peer.port}", stop) as link:
        link.send(b"w")
        time.sleep(0.1)
        link.send(b"x")
        link.send(b"y")
        assert link.sendall(b"z", LONG_S)
        assert link.recv_into(memoryview(bytearray(10)), LONG_S) == 0


def test_closing_twice_is_harmless(stop: StopSignal) -> None:
    with ScriptedPeer(PeerConnection.read_to_end) as peer:
        link = connect(f"kevy://127.0.0.1:{peer.port}", stop)
        link.close()
        link.close()
