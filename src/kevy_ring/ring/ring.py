"""A ring of byte records between two processes, usable without any replication."""

from __future__ import annotations

from types import TracebackType

from kevy_ring._core import ffi, lib
from kevy_ring.errors import ClosedError
from kevy_ring.ring.consumer import DEFAULT_SPIN_US, Consumer
from kevy_ring.ring.producer import Producer
from kevy_ring.ring.segment import Segment, check_label
from kevy_ring.ring.segment_names import remove_names
from kevy_ring.ring.stats import RingStats, read_stats
from kevy_ring.ring.time_in_ring import TimeInRing, read_time_in_ring


class Ring:
    """A single-producer single-consumer ring in shared memory.

    Made with :meth:`create` by the process that owns it (and removes its name), found with :meth:`attach` by others.
    Each of the two roles belongs to one live process at a time.
    """

    def __init__(self, segment: Segment) -> None:
        self._segment = segment.enter(self)
        self._closed = False
        self.name = segment.name
        self.capacity = segment.capacity

    @classmethod
    def create(cls, capacity: int = 1 << 20, name: str | None = None, *, keep: bool = False, label: str = "") -> Ring:
        """Make a ring of ``capacity`` bytes: a power of two, at least a page. Raises as :meth:`Segment.create`.

        ``keep``: it outlives this process, to be found again by its name; :meth:`remove` removes it, or
        ``kevy-ring gc NAME`` (or ``gc --kept``) once no process uses it. ``label``: at most 256 bytes of text that
        ``kevy-ring ls`` and ``inspect`` show, such as what the ring is for; it is not secret.
        """
        return cls(Segment.create(capacity, name, keep=keep, label=label))

    @classmethod
    def attach(cls, name: str, timeout: float | None = 0.0) -> Ring:
        """Find a ring by name, waiting up to ``timeout`` seconds for it. Raises as :meth:`Segment.attach`."""
        return cls(Segment.attach(name, timeout))

    def producer(self) -> Producer:
        """Take the producer role. Raises :class:`RoleTaken` while a live process has it."""
        producer = Producer(self._segment)
        producer._claim()
        return producer

    def consumer(self, *, spin_us: float = DEFAULT_SPIN_US) -> Consumer:
        """Take the consumer role. Raises :class:`RoleTaken` while a live process has it."""
        consumer = Consumer(self._segment, spin_us=spin_us)
        consumer._claim()
        return consumer

    def stats(self) -> RingStats:
        """Positions, roles and counters as the header has them now."""
        return read_stats(self._segment)

    def time_in_ring(self) -> TimeInRing:
        """How long records have lain in the ring, of one in 1,024 of them."""
        if self._segment.map is None:
            raise ClosedError(self.name)
        return read_time_in_ring(self._segment)

    def adopt(self, label: str | None = None) -> None:
        """Make this process responsible for a ring that was kept: while it lives, the ring is in use.

        ``label``: the new one; None leaves it as it is.
        """
        if self._segment.map is None:
            raise ClosedError(self.name)
        encoded = ffi.NULL if label is None else check_label(label)
        lib.kr_map_adopt(self._segment.map, encoded, 0 if label is None else len(encoded))

    def lost_names(self) -> list[str]:
        """The names of its files in shared memory that are gone, or that other files have now. Empty: all is well.

        Attached processes continue with a ring that lost a name, but no other process can attach to it.
        """
        return self._segment.lost_names()

    def remove(self) -> None:
        """Remove the names of this ring, whoever made it. Who is attached keeps the memory."""
        if self._segment.is_owner:
            self._segment.unlink()
        else:
            remove_names(self.name, self._segment.files)

    def close(self) -> None:
        """Let go; the owner removes the name, whoever is still attached keeps the memory."""
        if not self._closed:
            self._closed = True
            self._segment.leave(self)
            if self._segment.is_owner:
                self._segment.unlink()

    def __enter__(self) -> Ring:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Ring(name={self.name!r}, capacity={self.capacity})"

    def __reduce__(self) -> tuple[object, ...]:
        self._segment.handed_over = True
        return Ring.attach, (self.name,)
