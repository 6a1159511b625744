"""Opens a link: name lookup, TLS and login, in a thread that the caller can abandon."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from kevy_ring.errors import LinkError, Refusal, UpstreamRefused
from kevy_ring.replica.refusal import refusal_of_reply
from kevy_ring.replica.runner.link import Link
from kevy_ring.replica.runner.tls import refusal_of_tls
from kevy_ring.replica.stop import StopSignal
from kevy_ring.replica.upstream_url import UpstreamUrl

# A peer whose host vanished sends nothing, not even a reset. The kernel probes after 30 s of silence and gives up 15 s
# later. It gives up written bytes that the peer does not acknowledge after the same 45 s.
KEEPALIVE_IDLE_S = 30
KEEPALIVE_INTERVAL_S = 5
KEEPALIVE_PROBES = 3
UNACKNOWLEDGED_LIMIT_MS = 45_000

# The connecting thread reports by an Event, which has no descriptor to poll together with the stop signal.
_CONNECT_TICK_S = 0.05


def open_link(
    upstream: UpstreamUrl, *, timeout: float, stop: StopSignal, given_up: Callable[[], bool] = lambda: False
) -> Link | None:
    """Connect (with TLS and AUTH if the URL says so) in at most ``timeout`` seconds.

    Returns None after ``stop``, or once ``given_up()``, which is called regularly, returns true.

    Raises LinkError("connect" or "timeout"), or UpstreamRefused with the server's reply if it refused the login.
    """
    attempt = _ConnectAttempt(upstream, timeout)
    deadline = time.monotonic() + timeout
    try:
        while not attempt.done.wait(_CONNECT_TICK_S):
            if stop.is_set() or given_up():
                return None
            if time.monotonic() >= deadline:
                raise LinkError(upstream.redacted, reason="timeout", detail=f"no connection within {timeout:g} s")
        if attempt.error is not None:
            raise attempt.error
        connected = attempt.take()
        return Link(connected, upstream, stop) if connected is not None else None
    finally:
        attempt.abandon()


class _ConnectAttempt:
    """A connect in its own thread, because name lookup, TLS and redis-py's login cannot be polled or interrupted."""

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
        """Close the connection unless it was taken, now or as soon as the thread has it."""
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
            self.error = LinkError(self._upstream.redacted, reason="timeout", detail="the host did not answer")
        except Exception as error:
            detail = self._upstream.scrub(str(error)) or type(error).__name__
            number = error.errno if isinstance(error, OSError) else None
            self.error = LinkError(
                self._upstream.redacted,
                reason="connect",
                detail=detail,
                errno=number or 0,
                refusal=refusal_of_tls(error),
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
    # Only the logged-in socket is needed. Without it the connection object has nothing to close.
    emptied: Any = connection
    connected: socket.socket = emptied._sock
    emptied._sock = None
    return connected


def _refusal_of_login(error: Exception, reply: str, upstream: UpstreamUrl) -> Refusal:
    """redis-py removes the code at the start of some replies and expresses it by the exception's type."""
    from redis import exceptions

    codes = (
        (exceptions.BusyLoadingError, "LOADING"),
        (exceptions.NoPermissionError, "NOPERM"),
        (exceptions.AuthenticationError, "WRONGPASS"),
    )
    code = next((code for kind, code in codes if isinstance(error, kind)), "")
    text = reply if reply.startswith(code) else f"{code} {reply}"
    return refusal_of_reply(text, user=upstream.options.get("username") or "")


def _tune(connected: socket.socket) -> None:
    if connected.family == socket.AF_UNIX:
        return
    for level, option, value in (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),  # an acknowledgement is small and must go out at once
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_LIMIT_MS),
    ):
        connected.setsockopt(level, option, value)
