"""The ring that an earlier life of a service kept by its name, or what stands in its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kevy_ring.errors import RoleTaken, SegmentError

if TYPE_CHECKING:
    from kevy_ring.ring import Ring


def kept_ring(
    name: str, capacity: int, *, label: str | None = None, tell: Callable[[str], None] = lambda text: None
) -> Ring | None:
    """The ring that an earlier life kept by this name; None: there is none.

    ``label``: its new one. A segment of this name that is no whole ring of this version (another layout version, half
    made, without a doorbell) is removed if no process uses it; ``tell`` is given the words for it.

    Raises SegmentError when it is not a ring of that capacity, or none that may be removed, and RoleTaken while a
    process lives in it.
    """
    from kevy_ring.ring import Ring, RoleState

    try:
        ring = Ring.attach(name)
    except SegmentError as error:
        if error.reason != "missing":
            _remove_odd(name, error, tell)
        return None
    stats = ring.stats()
    for role, held in (("producer", stats.producer), ("consumer", stats.consumer)):
        if held.state is RoleState.ALIVE:
            ring.close()
            raise RoleTaken(name, role=role, pid=held.pid)
    if ring.capacity != capacity:
        ring.close()
        detail = f"it was made with a capacity of {ring.capacity} bytes, not {capacity}; kevy-ring gc {name} removes it"
        raise SegmentError(name, reason="exists", detail=detail)
    ring.adopt(label)
    return ring


def _remove_odd(name: str, error: SegmentError, tell: Callable[[str], None]) -> None:
    from kevy_ring.ring.outside.leftovers import settled_odd_segment

    odd = settled_odd_segment(name)
    if odd is None:
        raise error
    if odd.users:
        detail = f"it {odd.oddity.value}, and is in use by process {', '.join(map(str, odd.users))}"
        raise SegmentError(name, reason=error.reason, detail=detail)
    odd.remove()
    version = f" ({odd.version})" if error.reason == "version" else ""
    tell(f"segment {name!r} {odd.oddity.value}{version}; a new ring takes its place, and a full sync follows")
