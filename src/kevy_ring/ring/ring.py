"""A ring of byte records between two processes. It works without replication."""

from __future__ import annotations

from types import TracebackType

from kevy_ring._core import ffi, lib
from kevy_ring.ring.consumer import DEFAULT_SPIN_US, Consumer
from kevy_ring.ring.producer import Producer
from kevy_ring.ring.segment import Segment, check_label
from kevy_ring.ring.segment_names import lost_names, remove_names
from kevy_ring.ring.stats import RingStats, read_stats
from kevy_ring.ring.time_in_ring import TimeInRing, read_time_in_ring


class Ring:
    """A single-producer single-consumer ring of byte records in shared memory.

    Made by :meth:`create`, in the process that owns it and removes its name at the end, and by :meth:`attach` in other
    processes. Each of the two roles belongs to one live process at a time.

        ring = Ring.create(1 << 20, name="jobs")       # in one process
        producer = ring.producer()
        producer.try_write(b"hello")

        consumer = Ring.attach("jobs").consumer()      # in the other
        print(consumer.read(timeout=1))
    """

    def __init__(self, segment: Segment) -> None:
        self._segment = segment.enter(self)
        self._closed = False
        self.name = segment.name
        self.capacity = segment.capacity

    @classmethod
    def create(cls, capacity: int = 1 << 20, name: str | None = None, *, keep: bool = False, label: str = "") -> Ring:
        """Make a ring of ``capacity`` bytes: a power of two, at least a page. ``name``: None makes an unguessable one.

        ``keep``: the ring stays after this process ends. :meth:`remove` removes it, or ``kevy-ring gc NAME`` (or
        ``gc --kept``) when no process uses it. ``label``: at most 256 bytes of text that ``kevy-ring ls`` and
        ``inspect`` show, such as the purpose of the ring; it is not secret.

        Raises ``ValueError`` for a bad name, capacity or label, and :class:`SegmentError` if the name exists, shared
        memory is short or the process is at a limit (``reason`` says which).
        """
        return cls(Segment.create(capacity, name, keep=keep, label=label))

    @classmethod
    def attach(cls, name: str, timeout: float | None = 0.0) -> Ring:
        """Find a ring by ``name``. Waits up to ``timeout`` seconds (None: without limit) for it to be made.

        Raises :class:`SegmentError`, whose ``reason`` says why: ``"missing"``, ``"timeout"``, ``"permission"``,
        ``"not-a-ring"``, ``"version"``, ``"geometry"`` or ``"resources"``.
        """
        return cls(Segment.attach(name, timeout))

    def producer(self) -> Producer:
        """Take the producer role. Returns its handle.

        Raises :class:`RoleTaken` while a live process has it, and :class:`ClosedError`.
        """
        producer = Producer(self._segment)
        producer._claim()
        return producer

    def consumer(self, *, spin_us: float = DEFAULT_SPIN_US) -> Consumer:
        """Take the consumer role. Returns its handle. ``spin_us``: see :class:`Consumer`.

        Raises :class:`RoleTaken` while a live process has it, and :class:`ClosedError`.
        """
        consumer = Consumer(self._segment, spin_us=spin_us)
        consumer._claim()
        return consumer

    def stats(self) -> RingStats:
        """The positions, roles and counters in the header now. Raises :class:`ClosedError`."""
        return read_stats(self._segment.if_open())

    def time_in_ring(self) -> TimeInRing:
        """How long records stay in the ring; one in 1,024 is measured. Raises :class:`ClosedError`."""
        return read_time_in_ring(self._segment.if_open())

    def adopt(self, label: str | None = None) -> None:
        """Make this process the one that uses a kept ring: while it lives, ``kevy-ring gc`` does not remove the ring.

        ``label``: a new label; None keeps the present one. Raises ``ValueError`` for a bad label, and
        :class:`ClosedError`.
        """
        encoded = ffi.NULL if label is None else check_label(label)
        lib.kr_map_adopt(self._segment.if_open().map, encoded, 0 if label is None else len(encoded))

    def lost_names(self) -> list[str]:
        """The names of its files in shared memory that are gone, or that now belong to other files. Empty: all is well.

        Attached processes can still use a ring that lost a name, but no other process can attach to it. Raises nothing,
        also on a closed handle.
        """
        return lost_names(self._segment.files)

    def remove(self) -> None:
        """Remove the names of this ring, also if another process made it. Attached processes keep the memory.

        Names that are gone already are skipped. Raises :class:`SegmentError` (``"permission"``).
        """
        if self._segment.is_owner:
            self._segment.unlink()
        else:
            remove_names(self.name, self._segment.files)

    def close(self) -> None:
        """Close this handle; the owner also removes the name. Attached processes keep the memory.

        Closing twice does nothing. Raises :class:`SegmentError` if the name may not be removed.
        """
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
        made = "made here" if self._segment.is_owner else "attached"
        return f"<Ring {self.name!r}, {self.capacity} bytes: {'closed' if self._closed else f'open, {made}'}>"

    def __reduce__(self) -> tuple[object, ...]:
        self._segment.handed_over = True
        return Ring.attach, (self.name,)
