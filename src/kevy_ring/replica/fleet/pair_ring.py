"""The ring of a pair: made or found by its name, checked, and replaced if its processes cannot continue with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kevy_ring.errors import RoleTaken, SegmentError
from kevy_ring.replica.options import FollowOptions
from kevy_ring.replica.protocol import FullSyncReason, ResumePoint

if TYPE_CHECKING:
    from kevy_ring.ring import Ring


class PairRing:
    """The ring of shard ``index``, and the facts that a process started on it needs.

    ``ring``: None before it is made and after its end. ``words_before``: the words of its producer when it was made or
    found. ``resume``: where the stream continues if nothing was published on the ring yet. ``full_reason``: the reason
    for a full sync if ``resume`` is None. ``lost``: the names of its files that are gone. ``tell`` is called with a
    text for people when something happened to the ring.
    """

    def __init__(self, options: FollowOptions, index: int, label: str, tell: Callable[[str], None]) -> None:
        self.ring: Ring | None = None
        self.words_before: tuple[int, ...] = ()
        self.resume: ResumePoint | None = None
        self.full_reason = FullSyncReason.FIRST
        self.lost: list[str] = []
        self._options = options
        self._name = f"{options.name_prefix}-{index}" if options.name_prefix else None
        self._label = label
        self._tell = tell
        self._is_new = False

    @property
    def is_drained(self) -> bool:
        """True when the shard has taken every published event."""
        return self.ring is None or self.ring.stats().used_bytes == 0

    @property
    def can_continue(self) -> bool:
        """Whether a new shard process can continue on this ring where a dead one ended."""
        return self._options.resumable and self.ring is not None and not _is_loading(self.ring)

    @property
    def is_attached(self) -> bool:
        """Whether a live process holds each side of the ring."""
        from kevy_ring.ring import RoleState

        assert self.ring is not None
        stats = self.ring.stats()
        return all(role.state is RoleState.ALIVE for role in (stats.producer, stats.consumer))

    def make(self, *, was_used: bool) -> None:
        """Make the ring, or find the kept one. Removes an earlier one of this pair, see ``drop``."""
        self.drop(was_used=was_used)
        self.ring = self._found() or self._made()
        self.words_before = self.ring.stats().producer_words
        self.lost = []

    def drop(self, *, was_used: bool) -> None:
        """Remove the ring, except one that an earlier fleet kept and on which no process was started (``was_used``)."""
        if self.ring is None:
            return
        self.ring.close()
        if self._options.keep_rings and (self._is_new or was_used):
            self.ring.remove()
        self.ring = None

    def close(self) -> None:
        """Close the ring. Its names are removed unless it is kept."""
        if self.ring is not None:
            self.ring.close()
            self.ring = None

    def look_at_names(self) -> bool:
        """Whether the ring has lost a name in shared memory. Reports it the first time."""
        if self.ring is None or self.lost:
            return bool(self.lost)
        self.lost = self.ring.lost_names()
        if self.lost:
            self.full_reason = FullSyncReason.RING
            lost = f"ring {self.ring.name!r} lost its names: another program removed or replaced {_listed(self.lost)}"
            when = "" if self.can_continue else " when one of its processes ends"
            self._tell(f"{lost} in /dev/shm; a new ring takes its place{when}")
        return bool(self.lost)

    def prepare_resume(self) -> None:
        """Note where the next ring continues. Call it after both processes have ended, when nothing more is applied."""
        self.resume = self._behind_applied() if self.can_continue else None
        if self.lost:
            after = f"the stream continues after the applied offset {self.resume.offset}" if self.resume else ""
            self._tell(f"a new ring is made: {after or 'a full sync follows'}")

    def give_up(self, *, is_truncated: bool) -> str:
        """Note that no new shard process can continue with this ring. Returns why."""
        self.full_reason = FullSyncReason.INTERRUPTED if self._options.resumable else FullSyncReason.STORE
        if not self._options.resumable:
            return "the sink keeps no position, and the shard that applied the data has ended"
        return f"the shard ended within {'an event larger than the ring' if is_truncated else 'a snapshot'}"

    def _found(self) -> Ring | None:
        options = self._options
        if not options.keep_rings or self._name is None:
            return None
        found = kept_ring(self._name, options.capacity, label=self._fitting_label(), tell=self._tell_of_replaced)
        if found is None:
            return None
        if options.resumable and not _is_loading(found):
            self._is_new = False
            return found
        found.close()
        found.remove()
        self.full_reason = FullSyncReason.INTERRUPTED if options.resumable else FullSyncReason.STORE
        return None

    def _made(self) -> Ring:
        from kevy_ring.ring import Ring

        self._is_new = True
        options = self._options
        if self._name is not None and not options.keep_rings:
            _free_name(self._name, self._tell_of_replaced)
        return Ring.create(options.capacity, self._name, keep=options.keep_rings, label=self._fitting_label())

    def _fitting_label(self) -> str:
        from kevy_ring.ring.segment import fitting_label

        return fitting_label(self._label)

    def _tell_of_replaced(self, text: str) -> None:
        self.full_reason = FullSyncReason.RING
        self._tell(text)

    def _behind_applied(self) -> ResumePoint | None:
        """The resume point after the last applied event: the upstream sends the ring's unapplied content again."""
        from kevy_ring.inbox import published_in

        assert self.ring is not None
        published, applied = published_in(self.ring), self.ring.stats().applied_offset
        if not published.is_known:
            return self.resume  # nothing was published on this ring, so the earlier point is still right
        if applied is None or not published.upstream_id:
            return None
        return ResumePoint(published.upstream_id, applied, published.db)


def kept_ring(
    name: str, capacity: int, *, label: str | None = None, tell: Callable[[str], None] = lambda text: None
) -> Ring | None:
    """The ring of this name that an earlier fleet kept; None if there is none.

    ``label``: its new label. If the segment of this name is unusable (another layout version, half made, without a
    doorbell) and no process uses it, it is removed, and ``tell`` is called with a text about that.

    Raises SegmentError if the ring has another capacity or the unusable segment may not be removed, and RoleTaken while
    a live process holds a side of the ring.
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
        detail = f"its capacity is {ring.capacity} bytes, not {capacity}: use that, or run kevy-ring gc {name} first"
        raise SegmentError(name, reason="exists", detail=detail)
    ring.adopt(label)
    return ring


def _free_name(name: str, tell: Callable[[str], None]) -> None:
    """Remove an abandoned ring of this name: its fleet was killed before it could. Raises SegmentError for another."""
    from kevy_ring.ring import RoleState, inspect_ring
    from kevy_ring.ring.outside.leftovers import is_unused, remove_abandoned

    try:
        if remove_abandoned(name) is not None:
            return
        stats = inspect_ring(name)
    except SegmentError as error:
        if error.reason != "missing":
            _remove_odd(name, error, tell)
        return
    if is_unused(stats):
        why = f"an earlier run kept it for its next start. Keep the rings too, or run kevy-ring gc {name} first"
    else:
        roles = [role.pid for role in (stats.producer, stats.consumer) if role.state is RoleState.ALIVE]
        pids = dict.fromkeys([*([stats.creator_pid] if stats.creator_alive else []), *roles])
        why = f"it is in use ({', '.join(f'pid {pid}' for pid in pids)}). Stop that run, or use another name"
    raise SegmentError(name, reason="exists", detail=f"a segment of this name exists: {why}")


def _remove_odd(name: str, error: SegmentError, tell: Callable[[str], None]) -> None:
    from kevy_ring.ring.outside.leftovers import settled_odd_segment

    odd = settled_odd_segment(name)
    if odd is None:
        raise error
    if odd.users:
        pids = ", ".join(map(str, odd.users))
        detail = f"it {odd.oddity.value}, and is in use by process {pids}: end that first, or use another name"
        raise SegmentError(name, reason=error.reason, detail=detail)
    odd.remove()
    version = f" ({odd.version})" if error.reason == "version" else ""
    tell(f"segment {name!r} {odd.oddity.value}{version}; a new ring takes its place, and a full sync follows")


def of_several(error: SegmentError, number: int, count: int) -> SegmentError:
    """The error for ring ``number`` of ``count``."""
    detail = f"ring {number} of {count} cannot be made: {error.detail}"
    facts = {"errno": error.errno, "needed": error.needed, "free": error.free}
    return SegmentError(error.name, reason=error.reason, detail=detail, **facts)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _is_loading(ring: Ring) -> bool:
    """Whether a snapshot is not completely applied. A dead shard may have taken its beginning with it."""
    from kevy_ring.inbox import published_in

    return published_in(ring).has_unapplied_snapshot(ring.stats())
