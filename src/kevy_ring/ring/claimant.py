"""How a producer, a consumer or a sender takes its role: the owner stores a handle first, then takes the role for it.

A signal handler may raise between any two steps of Python. So a role is taken in two steps: the owner stores a handle
without a role, then one call of the core takes the role for that handle. If the claim is interrupted, the next use
continues it. Closing the handle gives the role up. No lock is used: after an interruption it would stay locked.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from kevy_ring._core import ffi, lib
from kevy_ring.ring.fault import role_failure
from kevy_ring.ring.segment import Segment

if TYPE_CHECKING:
    from kevy_ring._core import CData


class RoleCalls(NamedTuple):
    """A role of a segment, and the core's functions for a handle of it."""

    name: str
    make: Any
    take: Any
    free: Any

    def new_handle(self, segment: Segment, area: CData) -> CData:
        """A handle of ``segment`` without the role. Raises :class:`ClosedError`."""
        return ffi.gc(self.make(segment.if_open().map, area), self.free)

    def claim(self, segment: Segment, handle: CData) -> None:
        """Take the role for ``handle``, unless it has the role already. Raises :class:`RoleTaken`."""
        why = ffi.new("kr_failure *")
        if self.take(handle, why):
            raise role_failure(segment.name, self.name, why)


PRODUCER = RoleCalls("producer", lib.kr_producer_new, lib.kr_producer_take, lib.kr_producer_free)
CONSUMER = RoleCalls("consumer", lib.kr_consumer_new, lib.kr_consumer_take, lib.kr_consumer_free)


class Claimant:
    """A handle that may take a role of ``segment``, and its mapping."""

    __slots__ = ("handle", "lender", "pid")

    def __init__(self, segment: Segment, role: RoleCalls) -> None:
        self.pid = os.getpid()
        self.lender = segment.new_lender()
        self.handle = role.new_handle(segment, self.lender.area)


def claimant_of(owner: Any, segment: Segment, role: RoleCalls) -> Claimant:
    """The claimant of ``owner``. The first call makes it; threads that call at the same time get the same one.

    After a fork, a claimant without a role belongs to the parent, and the child makes another one.
    """
    found: Claimant | None = owner._claimant
    if found is not None and found.pid != os.getpid() and owner._handle is None:
        vars(owner).pop("_claimant", None)
        found = None
    return found or vars(owner).setdefault("_claimant", Claimant(segment, role))
