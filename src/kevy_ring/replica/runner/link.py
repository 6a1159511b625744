"""The link to an upstream: a connected byte stream whose calls end at a deadline or a stop."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time

from kevy_ring.errors import LinkError
from kevy_ring.replica.runner.tls import refusal_of_tls
from kevy_ring.replica.stop import StopSignal
from kevy_ring.replica.upstream_url import UpstreamUrl

_PEER_ENDED = (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class Link:
    """A connected byte stream. One thread uses it; any thread may set ``stop``.

    Each call ends at its timeout or when ``stop`` is set. If the peer ended the stream, by a close or a reset,
    ``recv_into`` returns 0 and raises no error.
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
        """Receive 1 to ``len(view)`` bytes. 0: the peer ended the stream. None: nothing came in time, or stop.

        Sends the unsent bytes meanwhile. Raises LinkError("broken") when the network gave up.
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
        """Write bytes in order. Never waits: later calls send what the kernel does not take now."""
        if wire:
            self._outgoing += wire
            self._send_unsent()

    def sendall(self, wire: bytes, timeout: float) -> bool:
        """Write everything, waiting at most ``timeout`` seconds. False: some bytes are unsent (time is up, or stop)."""
        deadline = time.monotonic() + timeout
        self.send(wire)
        while self._outgoing:
            if not self._wait(select.POLLOUT, deadline):
                return False
            self._send_unsent()
        return True

    def close(self) -> None:
        """End the stream; a second call does nothing. The peer sees a close, or a reset if it sent unread bytes."""
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
                # The kernel may still hold the peer's last bytes (an error line, frames). ``recv_into`` reads them
                # first, and then finds the end of the stream.
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
        refusal = refusal_of_tls(error)
        return LinkError(
            self.upstream.redacted, reason="broken", detail=detail, errno=error.errno or 0, refusal=refusal
        )
