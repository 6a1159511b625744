"""When a dead process of a pair is replaced, and when it is not replaced any more."""

from __future__ import annotations

import time
from collections import deque

from kevy_ring.replica.backoff import Backoff
from kevy_ring.replica.fleet.event import Role

#: Topics of what a shard's process says about its end. REFUSED: another process would end in the same way.
FAILED, REFUSED = "failed", "refused"
#: After a process that lived this long, the delays start from the shortest again, and so does a row of failures.
STABLE_S = 10.0
#: Restarts are counted over this time.
WINDOW_S = 600.0
#: A process that fails this often in a row for the same reason is not replaced.
SAME_MAX = 3


class RestartPlan:
    """Delays the restarts of a pair's processes, and ends them.

    ``most``: a process that was restarted so often within WINDOW_S is not restarted again; None: without limit.
    ``gave_up``: why no process is started any more; None while they are.
    """

    def __init__(self, backoff: Backoff, most: int | None) -> None:
        self.gave_up: str | None = None
        self._backoff = backoff
        self._most = most
        self._said: dict[Role, tuple[str, bool]] = {}
        self._rows: dict[Role, tuple[str, int]] = {}
        self._restarts: dict[Role, deque[float]] = {role: deque() for role in Role}

    def said(self, role: Role, topic: str, text: str) -> None:
        """A process said something. Only the topics FAILED and REFUSED count."""
        if topic in (FAILED, REFUSED):
            self._said[role] = (text, topic == REFUSED)

    def delay_s(self, lived_s: float) -> float:
        """The seconds until the next start, after a process that lived so long."""
        if lived_s >= STABLE_S:
            self._backoff.reset()
        return self._backoff.next_delay()

    def died(self, role: Role, lived_s: float, *, now: float | None = None) -> bool:
        """A process ended by itself. Returns whether it is replaced; if not, ``gave_up`` says why."""
        now = time.monotonic() if now is None else now
        why, is_final = self._said.pop(role, ("", False))
        # A process that was killed gave no reason, so its end starts a new row.
        before, count = self._rows.get(role, ("", 0))
        count = count + 1 if why == before and lived_s < STABLE_S else 1
        self._rows[role] = (why, count)
        restarts = self._restarts[role]
        while restarts and now - restarts[0] > WINDOW_S:
            restarts.popleft()
        if is_final:
            self.gave_up = why
        elif self._most is not None and why and count >= SAME_MAX:
            whose = "its process" if role is Role.SHARD else f"its {role.value} process"
            self.gave_up = f"{whose} failed {SAME_MAX} times in a row for the same reason: {why}"
        elif self._most is not None and len(restarts) >= self._most:
            times = "1 time" if not restarts else f"{len(restarts) + 1} times"
            within = f"its {role.value} process ended {times} within {WINDOW_S / 60:g} minutes"
            self.gave_up = f"{within} (--max-restarts {self._most})" + (f"; the last time: {why}" if why else "")
        restarts.append(now)
        return self.gave_up is None
