# The methods of csrc/python as type checkers and the reference see them. The docstrings are those of the C files.
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from kevy_ring.events import BytesLike, OwnedApply, ReplicaApply
from kevy_ring.inbox.batch import Batch
from kevy_ring.ring.batch import RecordBatch
from kevy_ring.ring.consumer import Consumer

def know_events(frame: type, chunk: type, begin: type, end: type, batch_frame: type, batch_chunk: type, /) -> None: ...
def is_main_interpreter() -> bool: ...

class ProducerCalls:
    def _bind(self, handle: Any, address: int, lender: Lender | None, /) -> None: ...
    def try_write(self, record: BytesLike, /) -> bool:
        """Write and publish one record of any bytes-like object. False: the ring is full now.

        Raises ValueError for a record larger than the ring, TypeError for what is not bytes-like or not contiguous,
        SendError when the consumer is gone, and ClosedError.
        """

    def write_many(self, records: Sequence[BytesLike], /) -> int:
        """Write a sequence of records in order until one does not fit; one publish. Returns how many fitted.

        Raises as try_write.
        """

    def try_reserve(self, length: int) -> Grant | None:
        """Space for one record of at most ``length`` bytes, to be written in place. None: the ring is full now.

        One grant at a time. Raises ValueError for a length that is larger than the ring.
        """

    def publish(self) -> None:
        """Reveal all committed records to the consumer with one store."""

class SenderCalls:
    def _bind(self, handle: Any, address: int, lender: Lender | None, /) -> None: ...
    def send(self, event: ReplicaApply, /) -> None:
        """Hand one event over: into the ring when it fits, else into the overflow. Never waits for the shard.

        Raises SendError (with the event) when the receiver closed, exited or was killed; TypeError or ValueError for a
        bad event, of which nothing is queued; ClosedError on a closed or forked handle; OutOfMemory, a MemoryError,
        when the overflow cannot grow.
        """

    def send_many(self, events: Sequence[ReplicaApply], /) -> None:
        """Hand a sequence of events over with one publish and at most one wake-up.

        Raises as send; a bad event anywhere in it means that nothing of it is queued. SendError.unsent and
        OutOfMemory.unsent hold all events that were not taken, in order.
        """

    def reserve_chunk(self, length: int) -> ChunkGrant:
        """Space for a SnapshotChunk of at most ``length`` bytes, written in place: ``recv_into(grant.view)``.

        A context manager; without ``grant.commit(n)`` nothing is sent. While a grant is open, what other threads send
        waits behind the ring. When the ring has no room the grant is ordinary memory, and commit copies it.
        """

class ConsumerCalls:
    _careful: bool
    _nothing: RecordBatch
    _snapshots_released: int
    @property
    def _lender(self) -> Lender | None: ...
    @property
    def _open_batch(self) -> RecordBatch | None: ...
    @property
    def _position(self) -> int: ...
    @property
    def _flags(self) -> int: ...
    def _bind(self, handle: Any, address: int, lender: Lender | None, spin_ns: int, /) -> None: ...
    def _cut_off_strays(self, fresh: Lender, /) -> None: ...
    def drain(self, max_records: int = 1024, max_bytes: int | None = None) -> RecordBatch:
        """Take up to ``max_records`` records of together at most ``max_bytes`` (but at least one). Never waits.

        The batch is a context manager; leaving it gives the space back. Raises BatchOpen while the previous batch is
        open, and CorruptRing when the ring holds what no producer writes.
        """

    def read_many(self, max_records: int = 1024) -> list[bytes]:
        """Up to ``max_records`` records as bytes of their own; an empty list when there are none. Never waits."""

    def try_read(self) -> bytes | None:
        """The next record as bytes of its own; None when there is none now. Raises RecvError at the end."""

    def read(self, timeout: float | None = None) -> bytes | None:
        """Wait up to ``timeout`` seconds for the next record, as bytes of its own; None when the time is up.

        Raises RecvError when the producer is gone and everything that it published was read.
        """

class ReceiverCalls(ConsumerCalls):
    def drain(self, max_events: int = 1024, max_bytes: int | None = None) -> Batch:
        """Take up to ``max_events`` events of together at most ``max_bytes`` (but at least one). Never waits.

        The batch is a context manager; leaving it gives the space back. An event larger than the ring is put together
        over as many drains as it takes and comes in a batch of its own. Raises BatchOpen while the previous batch is
        open, CorruptRing, ClosedError, and EventTruncated when the first part of an event larger than the ring went to
        a predecessor of this receiver: once, also if it was the predecessor that found out.
        """

    def try_recv(self) -> OwnedApply | None:
        """The next event, with memory of its own; None when there is none now. Raises RecvError at the end."""

    def recv(self, timeout: float | None = None) -> OwnedApply | None:
        """Wait up to ``timeout`` seconds for the next event, with memory of its own; None when the time is up.

        Raises RecvError when the sender is gone and everything that it published was received.
        """

    def recv_many(self, max_events: int = 1024) -> list[OwnedApply]:
        """Up to ``max_events`` events with memory of their own; an empty list when there are none now. Never waits.

        Their space is given back before they are returned: whoever dies with the list in hand has lost it, which a
        drained batch is not. Raises RecvError at the end.
        """

class Lender:
    @property
    def area(self) -> Any: ...
    @property
    def may_be_written(self) -> bool: ...
    def __new__(cls, area: Any, address: int, length: int, /) -> Self: ...
    def escaped(self) -> bool:
        """Whether a view of the last loan is alive."""

    def end(self) -> int:
        """The area is given up: views that are alive get a private copy of their bytes, for good.

        Returns 0, or the core's code when there is no memory for it.
        """

class Grant:
    """Writable space in the ring for one record. ``view`` is a writable memoryview of the bytes asked for."""

    @property
    def view(self) -> memoryview: ...
    def commit(self, length: int) -> None:
        """Make a record of the first ``length`` bytes. The consumer sees it at the next publish.

        Raises ValueError for a length beyond the grant, ViewsEscaped while views of it are kept, and ClosedError when
        the grant was committed or aborted before, or its handle was closed.
        """

    def abort(self) -> None:
        """Give the space back unwritten. Raises ViewsEscaped while views of the grant are kept."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None: ...

class ChunkGrant(Grant):
    """Writable space for one chunk of a snapshot.

    ``view``: a writable memoryview of the ``length`` bytes asked for. ``in_ring``: whether they lie in the ring.
    """

    @property
    def length(self) -> int: ...
    @property
    def in_ring(self) -> bool: ...
    def commit(self, length: int) -> None:
        """Send the first ``length`` bytes as a chunk; of 0 bytes none is sent.

        Raises ValueError for a length beyond the grant, ViewsEscaped while views of it are kept, and ClosedError when
        the grant was committed or aborted before, or its handle was closed; also what send raises.
        """

    def abort(self) -> None:
        """Give the space back; nothing is sent."""

class Columns:
    @property
    def room(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

class BatchCalls:
    _ahead: Iterator[int] | None
    _left_at: tuple[int, int, bool] | None
    @property
    def _consumer(self) -> Consumer: ...
    @property
    def _columns(self) -> Columns | None: ...
    @property
    def _held(self) -> bool: ...
    @property
    def _released(self) -> int: ...
    @property
    def count(self) -> int: ...
    @property
    def more(self) -> bool: ...
    @property
    def buffer(self) -> memoryview:
        """All records of the batch with their headers and padding, as one read-only memoryview."""

    def copies(self) -> list[bytes]:
        """The payloads as bytes of their own."""

    def release(self, upto: int | None = None) -> None:
        """Give the space of the first ``upto`` records (None: all) back to the producer.

        Raises ViewsEscaped while any view into the batch is kept: then nothing is released. Releasing what is released
        already does nothing.
        """

    def _at(self, i: int, /) -> Any: ...
    def _end_at(self, upto: int, /) -> None: ...
    def _abandon(self) -> None: ...
    def __len__(self) -> int: ...
    def __getitem__(self, i: int, /) -> Any: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None: ...

class EventBatchCalls(BatchCalls):
    def argv(self, i: int, /) -> list[memoryview]:
        """The arguments of frame ``i`` as read-only memoryviews; an empty list for other events.

        Raises CorruptRing when the end positions do not rise, and ClosedError after the release.
        """

    def owned(self, i: int, /) -> OwnedApply:
        """Event ``i`` with memory of its own: it may be kept. Raises as argv."""

    def payload(self, i: int, /) -> memoryview:
        """The payload of event ``i`` as a read-only memoryview.

        Of a chunk its bytes, of a frame its end positions and arguments.
        """

    def resp(self) -> list[memoryview]:
        """The frames as RESP commands, ready for ``socket.sendmsg``: one block of memory that may be kept.

        Other events are passed over. One call of the core, no Python object for each frame. Raises as argv.
        """

    def _ended_before(self, last: int, /) -> int: ...
    def _part(self) -> tuple[int, int, memoryview]: ...
    def _become(self, record: bytes, length: int, argc: int, /) -> None: ...
    def _pass(self) -> None: ...
