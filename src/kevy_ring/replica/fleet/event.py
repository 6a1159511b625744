"""The events of a fleet, and the status of each shard."""

from __future__ import annotations

import logging
import signal
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from kevy_ring.errors import Refusal
from kevy_ring.inbox.header_words import LinkState
from kevy_ring.replica.protocol import FullSyncReason, Synced

if TYPE_CHECKING:
    from kevy_ring.ring import RingStats


_TROUBLE = (LinkState.WAITING, LinkState.REFUSED)


class Role(Enum):
    """The task of a process of a fleet."""

    RUNNER = "runner"
    SHARD = "shard"


class FleetEnd(Enum):
    """Why ``Fleet.run`` returned."""

    STOPPED = "stopped"
    SIGNALLED = "signalled"
    UNTIL = "until"
    FAILED = "failed"


class ShardUnheard(Exception):
    """The process of ``shard`` did not answer. ``reason`` is for people."""

    def __init__(self, shard: int, reason: str) -> None:
        super().__init__(f"shard {shard}: {reason}")
        self.shard = shard
        self.reason = reason


class FleetEventKind(Enum):
    """What happened."""

    STARTED = "started"
    EXITED = "exited"
    LINK = "link"
    SYNCED = "synced"
    RING = "ring"
    STALLED = "stalled"
    DRAINED = "drained"
    GAVE_UP = "gave up"


@dataclass(frozen=True, slots=True)
class FleetEvent:
    """An event, of this ``kind``, of shard ``shard`` or of its process in this ``role`` (``pid``).

    EXITED: ``exit_code`` or ``signal_number`` (the other is None). ``expected`` is true if the fleet requested it.
    ``restart_in_s`` is set if the process will be restarted. ``text`` is the reason, if the process gave one.
    LINK: ``link_state``, a ``text`` without secrets, and the ``refusal`` if the upstream refuses to be followed: its
    kind, what to do, and whether it is permanent.
    RING: a ring lost its names in shared memory, or a new one took its place. ``text`` has the details, ``pid`` is 0.
    SYNCED: a link started, ``synced`` is ``"full"`` or ``"partial"``. ``text`` says where it continues or why it is a
    full sync; ``full_reason`` is that reason as a value.
    STALLED: a full ring is not drained. DRAINED: it is drained again. ``text`` is the :class:`Stall`, ``pid`` its
    consumer's.
    GAVE_UP: the shard's processes are not replaced any more. ``text`` says why, ``pid`` is that of the last one.
    """

    kind: FleetEventKind
    shard: int
    role: Role
    pid: int
    exit_code: int | None = None
    signal_number: int | None = None
    expected: bool = False
    restart_in_s: float | None = None
    link_state: LinkState | None = None
    synced: Synced | None = None
    text: str = ""
    refusal: Refusal | None = None
    full_reason: FullSyncReason | None = None

    @property
    def level(self) -> int:
        """The level at which a fleet logs it."""
        if self.kind is FleetEventKind.GAVE_UP:
            return logging.ERROR
        troubled = self.kind is FleetEventKind.EXITED and not self.expected
        troubled = troubled or self.link_state in _TROUBLE or self.kind is FleetEventKind.RING
        return logging.WARNING if troubled else logging.INFO

    def __str__(self) -> str:
        who = f"shard {self.shard}: the {self.role.value} (pid {self.pid})"
        if self.kind is FleetEventKind.STARTED:
            return f"{who} started"
        of_shard = (FleetEventKind.RING, FleetEventKind.STALLED, FleetEventKind.DRAINED, FleetEventKind.GAVE_UP)
        if self.kind in of_shard:
            return f"shard {self.shard}: {self.text}"
        if self.kind is FleetEventKind.SYNCED:
            return f"{who}: {self.text}"
        if self.kind is FleetEventKind.LINK:
            state = self.link_state.name.lower().replace("_", " ") if self.link_state is not None else ""
            return f"{who}: {state}{': ' if self.text else ''}{self.text}"
        how = f"exited with code {self.exit_code}"
        if self.signal_number is not None:
            how = f"was ended by {_signal_name(self.signal_number)}"
        again = f", a new one starts in {self.restart_in_s:.2f} s" if self.restart_in_s is not None else ""
        why = f" ({self.text})" if self.text else ""
        return f"{who} {how}{why}{again}"


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """The status of shard ``index`` of a fleet. ``upstream``: its URL without secrets. ``link_state``: of its runner.
    ``runner_pid`` and ``shard_pid`` are None while no process runs; ``runner_restarts`` and ``shard_restarts`` count.

    ``ring``: its ring's header, None before the first start and after the end. ``link_text``: the last text about the
    link; ``refusal`` has its facts. ``link_age_s``: for how long the shard has followed its upstream without a break,
    or has not followed it. The restarts count the processes after the first. ``words_before``: the words of the ring's
    producer when this fleet made or found the ring. They hold the earlier counts of a kept ring.
    """

    index: int
    upstream: str
    ring: RingStats | None
    link_state: LinkState
    link_text: str
    runner_pid: int | None
    shard_pid: int | None
    runner_restarts: int
    shard_restarts: int
    refusal: Refusal | None = None
    link_age_s: float = 0.0
    words_before: tuple[int, ...] = ()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
