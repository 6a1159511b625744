"""A handle of the core on its way to a role: the owner stores the handle before it takes the role.

The handler of a signal may raise between any two steps of Python. So a role is taken in two of them: a handle without a
role is stored with its owner, then one call of the core takes the role for that handle. The next use continues a claim
that was interrupted, and the role is given up with the handle. No lock is held: an interrupted one would stay locked.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kevy_ring.ring.segment import Segment

if TYPE_CHECKING:
    from kevy_ring._core import CData


class Claimant:
    """A handle that may take a role of ``segment``, and its mapping."""

    __slots__ = ("handle", "lender", "pid")

    def __init__(self, segment: Segment, make: Callable[[Segment, CData], CData]) -> None:
        self.pid = os.getpid()
        self.lender = segment.new_lender()
        self.handle = make(segment, self.lender.area)


def claimant_of(owner: Any, segment: Segment, make: Callable[[Segment, CData], CData]) -> Claimant:
    """The claimant of ``owner``, made at the first call: of threads that come at once all get the same.

    One that came through a fork without a role is left to the parent.
    """
    found: Claimant | None = owner._claimant
    if found is not None and found.pid != os.getpid() and owner._handle is None:
        vars(owner).pop("_claimant", None)
        found = None
    return found or vars(owner).setdefault("_claimant", Claimant(segment, make))
