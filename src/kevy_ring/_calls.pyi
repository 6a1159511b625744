# The methods of csrc/python/calls.c as mypy sees them. Each leaves what is not plain to the method of the same name
# with an underscore, which the subclass has.
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from typing_extensions import Self

from kevy_ring.events import BytesLike, OwnedApply, ReplicaApply
from kevy_ring.inbox.batch import Batch
from kevy_ring.inbox.chunk_grant import ChunkGrant
from kevy_ring.ring.batch import Columns, RecordBatch
from kevy_ring.ring.grant import Grant
from kevy_ring.ring.lender import Lender

class ProducerCalls:
    _lender: Lender | None
    def _bind(self, handle: Any, address: int, /) -> None: ...
    def try_write(self, record: BytesLike, /) -> bool:
        """Write and publish one record of any bytes-like object. False: full now."""
    def write_many(self, records: Sequence[BytesLike], /) -> int:
        """Write records in order until one does not fit; one publish. Returns how many fitted."""
    def try_reserve(self, length: int) -> Grant | None:
        """Space for one record of at most ``length`` bytes, to be written in place. None: full now."""
    def _reserve(self, length: int, /) -> Grant | None: ...
    def publish(self) -> None:
        """Reveal all committed records to the consumer with one store."""

class SenderCalls:
    _lender: Lender | None
    def _bind(self, handle: Any, address: int, /) -> None: ...
    def send(self, event: ReplicaApply, /) -> None:
        """Hand one event over: into the ring when it fits, else into the overflow."""
    def send_many(self, events: Sequence[ReplicaApply], /) -> None:
        """Hand a sequence of events over with one publish and at most one wake-up."""
    def reserve_chunk(self, length: int) -> ChunkGrant:
        """Space for a SnapshotChunk of at most ``length`` bytes, written in place."""

class ConsumerCalls:
    _careful: int
    _strays: int
    _area: Any
    _columns: Columns | None
    _snapshots_released: int
    _lender: Lender | None
    _nothing: RecordBatch
    def _bind(self, handle: Any, address: int, spin_ns: int, /) -> None: ...
    @property
    def _open_batch(self) -> RecordBatch | None: ...
    def _place_of_out(self) -> int: ...
    def _take(self, columns: Columns, max_bytes: int, /) -> RecordBatch: ...
    def _cut_off_strays(self, fresh: Any, address: int, /) -> None: ...
    def drain(self, max_records: int = 1024, max_bytes: int | None = None) -> RecordBatch:
        """Take up to ``max_records`` records of together at most ``max_bytes``. Never waits."""
    def read_many(self, max_records: int = 1024) -> list[bytes]:
        """Up to ``max_records`` records as bytes of their own."""
    def try_read(self) -> bytes | None:
        """The next record as bytes of its own; None when there is none now."""
    def read(self, timeout: float | None = None) -> bytes | None:
        """Wait for the next record; None when the time is up."""

class ReceiverCalls(ConsumerCalls):
    def drain(self, max_events: int = 1024, max_bytes: int | None = None) -> Batch:
        """Take up to ``max_events`` events of together at most ``max_bytes``. Never waits."""
    def try_recv(self) -> OwnedApply | None:
        """The next event, with memory of its own; None when there is none now."""
    def recv(self, timeout: float | None = None) -> OwnedApply | None:
        """Wait for the next event; None when the time is up."""
    def recv_many(self, max_events: int = 1024) -> list[OwnedApply]:
        """Up to ``max_events`` events with memory of their own."""

class LenderCalls:
    _exporter: Any
    _index: int
    _length: int
    def writable(self, index: int, length: int, /) -> memoryview:
        """The bytes ``[index, index + length)`` as a writable memoryview. Shape (length,)."""
    def escaped(self) -> bool:
        """Whether any view of the last loan is still alive."""

class GrantCalls:
    _index: int
    _length: int
    _open: bool
    _in_ring: bool
    _was_committed: bool
    view: memoryview
    def _give_up(self) -> None: ...
    def commit(self, length: int) -> None:
        """Make a record of the first ``length`` bytes."""
    def _reserve(self, handle: Any, address: int, length: int, /) -> int: ...
    def _commit_space(self, length: int, /) -> int: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None: ...

class ColumnsCalls:
    _address: int
    room: int
    asked: int
    exposed: bool

class BatchCalls:
    _held: bool
    _lent: bool
    count: int
    more: bool
    def _payload(self, i: int, /) -> memoryview: ...
    def _release_first(self, upto: int, /) -> None: ...
    def _end_at(self, upto: int, /) -> None: ...
    def _abandon(self) -> None: ...
    def _pass(self) -> None: ...
    def release(self, upto: int | None = None) -> None:
        """Give the space of the first ``upto`` records (None: all) back to the producer."""
    def __len__(self) -> int: ...
    def __getitem__(self, i: int, /) -> Any: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None: ...

def know_events(frame: type, chunk: type, /) -> None: ...
