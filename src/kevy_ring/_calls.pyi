# The methods of csrc/python/calls.c as mypy sees them. Each leaves what is not plain to the method of the same name
# with an underscore, which the subclass has.
from collections.abc import Sequence
from typing import Any

from kevy_ring.events import BytesLike, ReplicaApply

class ProducerCalls:
    def _bind(self, handle: Any, address: int, /) -> None: ...
    def try_write(self, record: BytesLike, /) -> bool:
        """Write and publish one record of any bytes-like object. False: full now."""
    def write_many(self, records: Sequence[BytesLike], /) -> int:
        """Write records in order until one does not fit; one publish. Returns how many fitted."""

class SenderCalls:
    def _bind(self, handle: Any, address: int, /) -> None: ...
    def send(self, event: ReplicaApply, /) -> None:
        """Hand one event over: into the ring when it fits, else into the overflow."""
    def send_many(self, events: Sequence[ReplicaApply], /) -> None:
        """Hand a sequence of events over with one publish and at most one wake-up."""

class ConsumerCalls:
    _careful: int
    def _bind(self, handle: Any, address: int, spin_ns: int, /) -> None: ...
    def read_many(self, max_records: int = 1024) -> list[bytes]:
        """Up to ``max_records`` records as bytes of their own."""
    def try_read(self) -> bytes | None:
        """The next record as bytes of its own; None when there is none now."""
    def read(self, timeout: float | None = None) -> bytes | None:
        """Wait for the next record; None when the time is up."""

class ReceiverCalls(ConsumerCalls):
    def try_recv(self) -> ReplicaApply | None:
        """The next event, with memory of its own; None when there is none now."""
    def recv(self, timeout: float | None = None) -> ReplicaApply | None:
        """Wait for the next event; None when the time is up."""
    def recv_many(self, max_events: int = 1024) -> list[ReplicaApply]:
        """Up to ``max_events`` events with memory of their own."""

def know_events(frame: type, chunk: type, /) -> None: ...
