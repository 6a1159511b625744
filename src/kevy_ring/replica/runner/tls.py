"""The meaning of TLS errors, and whether a port speaks TLS although its URL does not, or the other way round."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable

from kevy_ring.errors import LinkError, Refusal, RefusalKind
from kevy_ring.replica.refusal import SAME_MAX, refusal_of_scheme
from kevy_ring.replica.stop import StopSignal
from kevy_ring.replica.upstream_url import UpstreamUrl

# A working port shows within this time whether it speaks TLS.
_LOOK_TIMEOUT_S = 3.0
_LOOK_TICK_S = 0.05

# OpenSSL's names of errors, and what to do about them.
_TLS_REMEDIES = {
    "CERTIFICATE_VERIFY_FAILED": "give the CA of the server's certificate (?ssl_ca_certs=FILE), "
    "or turn the check off (?ssl_cert_reqs=none)",
    "CERTIFICATE_REQUIRED": "the server requires a client certificate: give it by ?ssl_certfile=FILE&ssl_keyfile=FILE",
    "WRONG_VERSION_NUMBER": "the port does not speak TLS: use redis://",
    "RECORD_LAYER_FAILURE": "the port does not speak TLS: use redis://",
    "UNKNOWN_PROTOCOL": "the port does not speak TLS: use redis://",
    "PROTOCOL_VERSION": "the two sides share no version of TLS: enable a common one on the server",
    "HANDSHAKE_FAILURE": "the two sides share no cipher of TLS, or the server requires a client certificate "
    "(give it by ?ssl_certfile=FILE&ssl_keyfile=FILE)",
    "UNKNOWN_CA": "the server does not trust the certificate in ssl_certfile: use one that is signed by its CA",
}


def refusal_of_tls(error: BaseException | None) -> Refusal | None:
    """The refusal for a TLS error in ``error`` or its causes; None if there is none."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        reason = (error.reason or "") if isinstance(error, ssl.SSLError) else ""
        remedy = next((text for name, text in _TLS_REMEDIES.items() if name in reason), None)
        if remedy is not None:
            return Refusal(RefusalKind.TLS, remedy, is_permanent=True)
        error = error.__cause__ or error.__context__
    return None


class OtherScheme:
    """Finds out whether the port speaks TLS and the URL does not, or the other way round. Both look like silence.

    It checks the port once in a row of silent attempts. With ``rediss://`` that is at the first one, because a TLS
    handshake that gets no answer takes long. Else it is at the third, because a restarting server also closes links.
    """

    def __init__(self, upstream: UpstreamUrl, stop: StopSignal, given_up: Callable[[], bool]) -> None:
        self._upstream = upstream
        self._stop = stop
        self._given_up = given_up
        self._silences = 0  # attempts in a row that ended in silence
        self._found: Refusal | None = None

    def spoke(self) -> None:
        """The upstream sent something: the row of silent attempts has ended."""
        self._silences = 0

    def look(self, error: LinkError | None) -> Refusal | None:
        """An attempt ended with ``error``, or without a byte. Returns the refusal if the scheme is wrong, else None.

        Takes at most 3 seconds, and ends at once with the stop signal or ``given_up``.
        """
        if error is not None and not _is_silence(error, self._upstream):
            self._silences = 0
            return None
        self._silences += 1
        if self._silences == 1:
            self._found = None
        if self._silences == (1 if self._upstream.scheme == "rediss" else SAME_MAX):
            self._found = self._look_at_port()
        return self._found

    def _look_at_port(self) -> Refusal | None:
        if self._upstream.scheme == "unix":
            return None
        found: list[Refusal | None] = []
        done = threading.Event()
        look = _look_at_tls if self._upstream.scheme == "rediss" else _find_tls

        def look_once() -> None:
            with contextlib.suppress(Exception):
                found.append(look(self._upstream, _LOOK_TIMEOUT_S))
            done.set()

        threading.Thread(target=look_once, name="kevy-ring-look", daemon=True).start()
        deadline = time.monotonic() + _LOOK_TIMEOUT_S
        while not done.wait(_LOOK_TICK_S):
            if self._stop.is_set() or self._given_up() or time.monotonic() >= deadline:
                return None
        return found[0] if found else None


def _is_silence(error: LinkError, upstream: UpstreamUrl) -> bool:
    """Whether ``error`` can come from the wrong scheme."""
    if error.reason == "timeout":
        return upstream.scheme == "rediss"
    text = error.detail.lower()
    return error.reason == "connect" and any(each in text for each in ("reset by peer", "closed", "eof occurred"))


def _find_tls(upstream: UpstreamUrl, timeout_s: float) -> Refusal | None:
    with socket.create_connection((upstream.host, upstream.port), timeout_s) as plain:
        try:
            _trusting_tls().wrap_socket(plain, server_hostname=upstream.host).close()
        except ssl.SSLError as error:
            if "ALERT" not in (error.reason or ""):  # only a side that speaks TLS sends an alert
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
            # A TLS 1.3 server asks for a certificate only after the client has finished the handshake.
            with _trusting_tls().wrap_socket(plain, server_hostname=upstream.host) as secret:
                secret.recv(1)
        except ssl.SSLError as error:
            return refusal_of_tls(error)
    return None


def _trusting_tls() -> ssl.SSLContext:
    """A context without checks. Only a handshake uses it, and nothing secret is sent."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
