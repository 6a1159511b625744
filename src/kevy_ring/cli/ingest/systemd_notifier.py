"""Tells systemd how a run is: READY, STATUS, WATCHDOG and STOPPING, as datagrams to the socket that it names.

The protocol: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, MutableMapping, Sequence

from kevy_ring.cli import figures
from kevy_ring.cli.ingest.health import Health
from kevy_ring.cli.ingest.progress import ShardProgress
from kevy_ring.replica.fleet import FleetEvent

#: The status changes with the lag. Tell a change of figures this often, and a change of readiness at once.
STATUS_EVERY_S = 5.0
#: systemd advises to notify every half of WATCHDOG_USEC. The supervisor's passes are 0.1 s apart or a little more.
_PINGS_PER_LIMIT = 3
#: A start may take as long as a snapshot. While the supervisor makes progress, it asks for this much more time.
START_EXTENDS_S = 60
_EXTEND_EVERY_S = 10.0
_EXTEND = f"EXTEND_TIMEOUT_USEC={START_EXTENDS_S * 1_000_000}"
_STATUS_MAX = 300


class SystemdNotifier:
    """A listener of ``health`` that sends to the socket ``address`` (a path, or ``@`` and an abstract name).

    ``watchdog_s``: systemd ends the service if no ping comes for this long; None: it wants no pings. Pings are sent
    only from the supervisor's own passes, so a supervisor that hangs is noticed. A datagram that cannot be sent now is
    sent at a later pass: systemd must not be able to block the run.
    """

    def __init__(
        self, health: Health, address: str, watchdog_s: float | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._health = health
        self._clock = clock
        self._ping_every_s = watchdog_s / _PINGS_PER_LIMIT if watchdog_s is not None else None
        self._pinged_at = self._extended_at = self._status_at = float("-inf")
        self._was_ready: bool | None = None
        self._has_started = self._stop_is_due = False
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)

    def began(self) -> None:
        pass

    def happened(self, event: FleetEvent) -> None:
        pass

    def passed(self) -> None:
        """Ping the watchdog, if it is time."""
        now = self._clock()
        if self._ping_every_s is not None and now - self._pinged_at >= self._ping_every_s and self._send("WATCHDOG=1"):
            self._pinged_at = now
        if self._stop_is_due and self._send("STOPPING=1\nSTATUS=Ending: the shards apply what was received"):
            self._stop_is_due = False
        if not self._has_started and now - self._extended_at >= _EXTEND_EVERY_S and self._send(_EXTEND):
            self._extended_at = now

    def looked(self, shards: Sequence[ShardProgress]) -> None:
        """Tell when the run has become ready, and its status."""
        ready = self._health.ready()
        now = self._clock()
        if ready.holds is self._was_ready and now - self._status_at < STATUS_EVERY_S:
            return
        status = self._text(len(shards)) if ready.holds else f"Not ready: {ready.reasons[0]}"
        lines = [f"STATUS={' '.join(status.split())[:_STATUS_MAX]}"]
        if ready.holds and not self._has_started:
            lines.append("READY=1")
        if self._send("\n".join(lines)):
            self._was_ready, self._status_at = ready.holds, now
            self._has_started = self._has_started or ready.holds

    def ending(self) -> None:
        """Tell that the run ends in order."""
        self._stop_is_due = True
        self.passed()

    def close(self) -> None:
        self._socket.close()

    def _text(self, shards: int) -> str:
        waits_s = max((lag.at_least_s for lag in self._health.lags), default=0.0)
        behind = f"an event waits for {figures.seconds(waits_s)}" if waits_s >= 1 else "nothing waits for a second"
        return f"Following {figures.plural(shards, 'stream')}; {behind}"

    def _send(self, text: str) -> bool:
        """False: the socket is full, gone or not there. The run does not depend on it."""
        with contextlib.suppress(OSError):
            self._socket.sendto(text.encode(), self._address)
            return True
        return False


def notifier_of(health: Health, environment: MutableMapping[str, str]) -> SystemdNotifier | None:
    """The notifier that the environment asks for; None: the command was not started by a service manager.

    Takes the variables out of ``environment``: the processes that the command starts must not notify.
    """
    address = environment.pop("NOTIFY_SOCKET", "")
    limit, pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
    if address[:1] not in ("/", "@"):
        return None
    is_mine = not pid or pid == str(os.getpid())
    watchdog_s = int(limit) / 1e6 if is_mine and limit.isdecimal() and int(limit) > 0 else None
    return SystemdNotifier(health, address, watchdog_s)
