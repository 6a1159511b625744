"""The link to an upstream: the only socket of the package, never blocked past a deadline or a stop."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

from kevy_ring.errors import LinkError, Refusal, RefusalKind, UpstreamRefused
from kevy_ring.replica.refusal import refusal_of_reply, refusal_of_scheme
from kevy_ring.replica.stop import StopSignal
from kevy_ring.replica.upstream_url import UpstreamUrl

# A peer whose host vanished sends nothing, not even a reset. The kernel asks after 30 s of silence and gives up
# 15 s later; what we wrote and nobody acknowledged gives up as soon.
KEEPALIVE_IDLE_S = 30
KEEPALIVE_INTERVAL_S = 5
KEEPALIVE_PROBES = 3
UNACKNOWLEDGED_LIMIT_MS = 45_000

# The connecting thread tells by an Event, which has no descriptor to poll together with the stop signal.
_CONNECT_TICK_S = 0.05

# OpenSSL's names of errors, and what is to be done about them.
_TLS_REMEDIES = {
    "CERTIFICATE_VERIFY_FAILED": "name the authority of the server's certificate (?ssl_ca_certs=FILE), "
    "or do without the check (?ssl_cert_reqs=none)",
    "CERTIFICATE_REQUIRED": "the server wants a certificate of yours: ?ssl_certfile=FILE&ssl_keyfile=FILE",
    "WRONG_VERSION_NUMBER": "the port does not speak TLS: use redis://",
    "RECORD_LAYER_FAILURE": "the port does not speak TLS: use redis://",
    "UNKNOWN_PROTOCOL": "the port does not speak TLS: use redis://",
    "PROTOCOL_VERSION": "the two sides have no version of TLS in common",
    "HANDSHAKE_FAILURE": "the two sides have no way of TLS in common, or the server wants a certificate "
    "(?ssl_certfile=FILE&ssl_keyfile=FILE)",
    "UNKNOWN_CA": "the server does not accept the certificate in ssl_certfile",
}

_PEER_ENDED = (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class Link:
    """A connected byte stream. One thread uses it; ``stop`` may be set from anywhere.

    No call waits past its timeout, and none waits on once ``stop`` is set. That the peer ended the stream, by a
    close or by a reset, is a value (0 from ``recv_into``), not an error.
    """

    def __init__(self, connected: socket.socket, upstream: UpstreamUrl, stop: StopSignal) -> None:
        self.upstream = upstream
        self._socket = connected
        self._stop = stop
        self._outgoing = bytearray()
        connected.setblocking(False)
        self._poll = select.poll()
        self._poll.register(connected, select.POLLIN)
        if stop.fileno() >= 0:
            self._poll.register(stop.fileno(), select.POLLIN)

    @property
    def unsent_bytes(self) -> int:
        """Bytes given to ``send`` that the kernel has not taken yet."""
        return len(self._outgoing)

    def recv_into(self, view: memoryview, timeout: float) -> int | None:
        """Receive 1 to ``len(view)`` bytes. 0: the peer ended the stream. None: nothing in time, or stop.

        Sends what is still unsent meanwhile. Raises LinkError("broken") when the network gave up.
        """
        deadline = time.monotonic() + timeout
        while True:
            self._send_unsent()
            try:
                return self._socket.recv_into(view)
            except (BlockingIOError, ssl.SSLWantReadError):
                wanted = select.POLLIN
            except ssl.SSLWantWriteError:
                wanted = select.POLLIN | select.POLLOUT
            except _PEER_ENDED:
                return 0
            except OSError as error:
                raise self._broken(error) from None
            if self._outgoing:
                wanted |= select.POLLOUT
            if not self._wait(wanted, deadline):
                return None

    def send(self, wire: bytes) -> None:
        """Hand over bytes to write, in order. Never waits: what does not fit goes out during later calls."""
        if wire:
            self._outgoing += wire
            self._send_unsent()

    def sendall(self, wire: bytes, timeout: float) -> bool:
        """Write everything, waiting at most ``timeout`` seconds. False: not all of it is out (time is up, or stop)."""
        deadline = time.monotonic() + timeout
        self.send(wire)
        while self._outgoing:
            if not self._wait(select.POLLOUT, deadline):
                return False
            self._send_unsent()
        return True

    def close(self) -> None:
        """End the stream; a second call does nothing. The peer sees a close, unless it had sent more than was read."""
        if self._socket.fileno() >= 0:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Link({self.upstream.redacted!r})"

    def _send_unsent(self) -> None:
        while self._outgoing:
            try:
                sent = self._socket.send(self._outgoing)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except _PEER_ENDED:
                # What the peer said before it went (an error line, the last frames) may still lie in the kernel:
                # it is read first, and the end of the stream is seen there.
                self._outgoing.clear()
                return
            except OSError as error:
                raise self._broken(error) from None
            del self._outgoing[:sent]

    def _wait(self, wanted: int, deadline: float) -> bool:
        """True when the socket may be ready; False when the deadline passed or stop is set."""
        left = deadline - time.monotonic()
        if left <= 0 or self._stop.is_set():
            return False
        self._poll.modify(self._socket, wanted)
        return bool(self._poll.poll(left * 1000)) and not self._stop.is_set()

    def _broken(self, error: OSError) -> LinkError:
        detail = error.strerror or type(error).__name__
        refusal = _refusal_of_tls(error)
        return LinkError(
            self.upstream.redacted, reason="broken", detail=detail, errno=error.errno or 0, refusal=refusal
        )


def open_link(
    upstream: UpstreamUrl, *, timeout: float, stop: StopSignal, given_up: Callable[[], bool] = lambda: False
) -> Link | None:
    """Connect (with TLS and AUTH where the URL says so) in at most ``timeout`` seconds.

    None: stopped meanwhile, or ``given_up()`` (asked now and then) said that nobody wants the link any more.

    Raises LinkError("connect" or "timeout"), or UpstreamRefused with the server's words when it refused the login.
    """
    attempt = _ConnectAttempt(upstream, timeout)
    deadline = time.monotonic() + timeout
    try:
        while not attempt.done.wait(_CONNECT_TICK_S):
            if stop.is_set() or given_up():
                return None
            if time.monotonic() >= deadline:
                raise LinkError(upstream.redacted, reason="timeout", detail=f"no connection in {timeout:g} s")
        if attempt.error is not None:
            raise attempt.error
        connected = attempt.take()
        return Link(connected, upstream, stop) if connected is not None else None
    finally:
        attempt.abandon()


class _ConnectAttempt:
    """A connect in a thread of its own: name lookup, TLS and redis-py's login cannot be polled, only left behind."""

    def __init__(self, upstream: UpstreamUrl, timeout_s: float) -> None:
        self.done = threading.Event()
        self.error: LinkError | UpstreamRefused | None = None
        self._upstream = upstream
        self._timeout_s = timeout_s
        self._connected: socket.socket | None = None
        self._abandoned = False
        self._lock = threading.Lock()
        threading.Thread(target=self._run, name="kevy-ring-connect", daemon=True).start()

    def take(self) -> socket.socket | None:
        with self._lock:
            connected, self._connected = self._connected, None
            return connected

    def abandon(self) -> None:
        """Whatever was not taken, now or when the thread gets there, is closed."""
        with self._lock:
            self._abandoned = True
            if self._connected is not None:
                self._connected.close()

    def _run(self) -> None:
        try:
            connected = _connect(self._upstream, self._timeout_s)
            _tune(connected)
            with self._lock:
                if self._abandoned:
                    connected.close()
                else:
                    self._connected = connected
        except (LinkError, UpstreamRefused) as error:
            self.error = error
        except TimeoutError:
            self.error = LinkError(self._upstream.redacted, reason="timeout", detail="the host does not answer")
        except Exception as error:
            detail = self._upstream.scrub(str(error)) or type(error).__name__
            number = error.errno if isinstance(error, OSError) else None
            self.error = LinkError(
                self._upstream.redacted,
                reason="connect",
                detail=detail,
                errno=number or 0,
                refusal=_refusal_of_tls(error),
            )
        finally:
            self.done.set()


def _connect(upstream: UpstreamUrl, timeout_s: float) -> socket.socket:
    if upstream.kind == "kevy":
        return socket.create_connection((upstream.host, upstream.port), timeout_s)
    return _connect_redis(upstream, timeout_s)


def _connect_redis(upstream: UpstreamUrl, timeout_s: float) -> socket.socket:
    from redis import exceptions

    connection = upstream.redis_connection(timeout_s)
    connect: Callable[[], None] = connection.connect  # untyped in redis-py
    try:
        connect()
    except (
        exceptions.AuthenticationError,
        exceptions.AuthorizationError,
        exceptions.BusyLoadingError,
        exceptions.ResponseError,
    ) as error:
        reply = upstream.scrub(str(error))
        raise UpstreamRefused(reply, _refusal_of_login(error, reply, upstream)) from None
    except exceptions.TimeoutError as error:
        raise LinkError(upstream.redacted, reason="timeout", detail=upstream.scrub(str(error))) from None
    # The connection object is only the way to a socket that is logged in: without one it has nothing to close.
    emptied: Any = connection
    connected: socket.socket = emptied._sock
    emptied._sock = None
    return connected


def _refusal_of_tls(error: BaseException | None) -> Refusal | None:
    """What an error of TLS means, also where it is only the cause of ``error``; None: it is not about TLS."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        reason = (error.reason or "") if isinstance(error, ssl.SSLError) else ""
        remedy = next((text for name, text in _TLS_REMEDIES.items() if name in reason), None)
        if remedy is not None:
            return Refusal(RefusalKind.TLS, remedy, is_permanent=True)
        error = error.__cause__ or error.__context__
    return None


def _refusal_of_login(error: Exception, reply: str, upstream: UpstreamUrl) -> Refusal:
    """redis-py takes the code off some replies, and says by a type what it was."""
    from redis import exceptions

    codes = (
        (exceptions.BusyLoadingError, "LOADING"),
        (exceptions.NoPermissionError, "NOPERM"),
        (exceptions.AuthenticationError, "WRONGPASS"),
    )
    code = next((code for kind, code in codes if isinstance(error, kind)), "")
    text = reply if not code or reply.startswith(code) else f"{code} {reply}"
    return refusal_of_reply(text, user=upstream.options.get("username") or "")


def look_at_port(
    upstream: UpstreamUrl, *, timeout: float, stop: StopSignal, given_up: Callable[[], bool] = lambda: False
) -> Refusal | None:
    """Whether the port speaks TLS where the URL does not, or the other way round: what to do about it, else None.

    For a port that ends every handshake without a word, or never ends one of TLS: it says nothing about the reason.
    Takes at most ``timeout`` seconds, and ends at once with ``stop`` or ``given_up``.
    """
    if upstream.scheme == "unix":
        return None
    found: list[Refusal | None] = []
    done = threading.Event()

    def look() -> None:
        with contextlib.suppress(Exception):
            found.append(
                _look_at_tls(upstream, timeout) if upstream.scheme == "rediss" else _find_tls(upstream, timeout)
            )
        done.set()

    threading.Thread(target=look, name="kevy-ring-look", daemon=True).start()
    deadline = time.monotonic() + timeout
    while not done.wait(_CONNECT_TICK_S):
        if stop.is_set() or given_up() or time.monotonic() >= deadline:
            return None
    return found[0] if found else None


def _find_tls(upstream: UpstreamUrl, timeout_s: float) -> Refusal | None:
    with socket.create_connection((upstream.host, upstream.port), timeout_s) as plain:
        try:
            _trusting_tls().wrap_socket(plain, server_hostname=upstream.host).close()
        except ssl.SSLError as error:
            if "ALERT" not in (error.reason or ""):  # only a side that speaks TLS sends one
                return None
    return refusal_of_scheme(upstream.scheme)


def _look_at_tls(upstream: UpstreamUrl, timeout_s: float) -> Refusal | None:
    with socket.create_connection((upstream.host, upstream.port), timeout_s) as plain:
        plain.sendall(b"PING\r\n")
        with contextlib.suppress(OSError):
            if plain.recv(1) in (b"+", b"-"):
                return refusal_of_scheme(upstream.scheme)
    if "ssl_certfile" in upstream.options:
        return None
    with socket.create_connection((upstream.host, upstream.port), timeout_s) as plain:
        try:
            # In TLS 1.3 the server asks for a certificate only when the client takes the handshake for done.
            with _trusting_tls().wrap_socket(plain, server_hostname=upstream.host) as secret:
                secret.recv(1)
        except ssl.SSLError as error:
            return _refusal_of_tls(error)
    return None


def _trusting_tls() -> ssl.SSLContext:
    """Nothing is said over these links but the handshake, so it does not matter to whom."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _tune(connected: socket.socket) -> None:
    if connected.family == socket.AF_UNIX:
        return
    for level, option, value in (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),  # an acknowledgement is small and wanted now
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_LIMIT_MS),
    ):
        connected.setsockopt(level, option, value)
