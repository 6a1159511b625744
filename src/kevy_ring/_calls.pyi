# The methods of csrc/python, for type checkers and the reference. The docstrings are the same as in the C files.
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from kevy_ring.events import BytesLike, OwnedApply, ReplicaApply
from kevy_ring.inbox.batch import Batch
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.ring.batch import RecordBatch
from kevy_ring.ring.consumer import Consumer

def know_entries(entry: type, stream: type, group: type, /) -> None: ...
def know_events(frame: type, chunk: type, begin: type, end: type, batch_frame: type, batch_chunk: type, /) -> None: ...
def is_main_interpreter() -> bool: ...

class ProducerCalls:
    def _bind(self, handle: Any, address: int, lender: Lender | None, /) -> None: ...
    def try_write(self, record: BytesLike, /) -> bool:
        """Write one record, any bytes-like object, and publish it. False: the ring is full now. Never waits.

        Raises ValueError for a record larger than the ring, TypeError for an object that is not bytes-like or not
        contiguous, SendError when the consumer is gone, and ClosedError.
        """

    def write_many(self, records: Sequence[BytesLike], /) -> int:
        """Write a sequence of records in order until one does not fit; one publish. Returns how many fitted.

        Never waits. Raises as try_write, but ValueError only if the first record is larger than the ring: a later one
        ends the call.
        """

    def try_reserve(self, length: int) -> Grant | None:
        """Reserve space for one record of at most ``length`` bytes, to write it in place. None: the ring is full now.

        One grant at a time: KevyRingError while another one is open. Raises ValueError for a length larger than the
        ring, OverflowError for one outside 64 bits, SendError when the consumer is gone, and ClosedError.
        """

    def publish(self) -> None:
        """Reveal all committed records to the consumer with one store. Raises ClosedError."""

class SenderCalls:
    def _bind(self, handle: Any, address: int, lender: Lender | None, /) -> None: ...
    def send(self, event: ReplicaApply, /) -> None:
        """Send one event: into the ring if it fits, else into the overflow. Never waits for the shard.

        Raises SendError (with the event) when the receiver closed, exited or was killed; TypeError or ValueError for a
        bad event, of which nothing is sent; ClosedError on a closed or forked handle; OutOfMemory, a MemoryError, if
        the overflow cannot grow.
        """

    def send_many(self, events: Sequence[ReplicaApply], /) -> None:
        """Send a sequence of events in order, with one publish and at most one wake-up of the shard.

        Raises as send. If any event is bad, none is sent. SendError.unsent and OutOfMemory.unsent hold the events that
        were not taken, in order.
        """

    def reserve_chunk(self, length: int) -> ChunkGrant:
        """Reserve space for a SnapshotChunk of at most ``length`` bytes, to write it in place.

            with sender.reserve_chunk(65536) as grant:
                grant.commit(sock.recv_into(grant.view))

        Without a commit nothing is sent. While a grant is open, events of other threads wait in the overflow. If the
        ring has no room, the grant is ordinary memory and commit copies it. Raises ValueError for a length outside 1 ..
        2**30, SendError when the receiver is gone, and ClosedError.
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
        """Take the waiting records as a batch: at most ``max_records``, of together at most ``max_bytes``. Never waits.

        One record is taken even if it is larger than ``max_bytes``. If nothing waits, the batch is empty. The batch is
        a context manager; leaving it gives the space back to the producer:

            with consumer.drain() as batch:
                records = [bytes(record) for record in batch]

        Raises BatchOpen while the previous batch is open, CorruptRing if the ring holds bytes that no producer writes,
        ValueError for a maximum below 1, and ClosedError.
        """

    def read_many(self, max_records: int = 1024) -> list[bytes]:
        """Take up to ``max_records`` records as bytes; an empty list if nothing waits. Never waits.

        Their space is given back before the call returns. Raises as drain; never RecvError.
        """

    def try_read(self) -> bytes | None:
        """Take the next record as bytes; None if nothing waits. Never waits.

        Raises RecvError when the producer is gone and all its records were taken; else as drain.
        """

    def read(self, timeout: float | None = None) -> bytes | None:
        """Wait up to ``timeout`` seconds (None: without limit) for the next record, as bytes; None when the time is up.

        Raises RecvError when the producer is gone and all its records were taken; else as drain.
        """

class ReceiverCalls(ConsumerCalls):
    def drain(self, max_events: int = 1024, max_bytes: int | None = None) -> Batch:
        """Take the waiting events as a batch: at most ``max_events``, of together at most ``max_bytes``. Never waits.

        One event is taken even if it is larger than ``max_bytes``. If nothing waits, the batch is empty. The batch is a
        context manager; leaving it gives the space back to the sender:

            with receiver.drain() as batch:
                for event in batch: ...

        An event larger than the ring arrives in fragments. Drains collect them, and then return it in a batch of one.

        Raises BatchOpen while the previous batch is open, CorruptRing if the ring holds bytes that no sender writes,
        ValueError for a maximum below 1, and ClosedError. Raises EventTruncated, once, if a receiver before this one
        took the first part of an event and the rest of it is lost.
        """

    def try_recv(self) -> OwnedApply | None:
        """Take the next event, copied out of the ring; None if nothing waits. Never waits.

        Raises RecvError when the sender is gone and all its events were taken; else as drain.
        """

    def recv(self, timeout: float | None = None) -> OwnedApply | None:
        """Wait up to ``timeout`` seconds (None: no limit) for the next event, copied out of the ring; None: time is up.

        Raises RecvError when the sender is gone and all its events were taken; else as drain.
        """

    def recv_many(self, max_events: int = 1024) -> list[OwnedApply]:
        """Take up to ``max_events`` events, copied out of the ring; an empty list if nothing waits. Never waits.

        Their space is given back before the call returns. So a process that dies before it applied the list has lost
        these events; a batch that was not released would be drained again. Raises RecvError when the sender is gone and
        all its events were taken; else as drain.
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
        """Give the area up: views that are alive get a private copy of their bytes.

        Returns 0, or the core's error code if there is no memory for the copy.
        """

class Grant:
    """Writable space in the ring for one record: ``view`` is a writable memoryview of the requested length.

    A context manager: a ``with`` that ends without a commit gives the space back.

        grant = producer.try_reserve(4096)
        if grant is not None:
            with grant:
                grant.commit(sock.recv_into(grant.view))
            producer.publish()
    """

    @property
    def view(self) -> memoryview: ...
    def commit(self, length: int) -> None:
        """Make the first ``length`` bytes a record. The consumer sees it after the next publish().

        Raises ValueError for a length beyond the grant, ViewsEscaped while views of it are alive, and ClosedError if
        the grant was committed or aborted before, or its handle was closed.
        """

    def abort(self) -> None:
        """Give the space back unwritten. Raises ViewsEscaped while views of the grant are alive."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None: ...

class ChunkGrant(Grant):
    """Writable space for one chunk of a snapshot: ``view`` is a writable memoryview of ``length`` bytes.

    ``in_ring``: whether the space is in the ring. Else it is ordinary memory, which commit copies.
    """

    @property
    def length(self) -> int: ...
    @property
    def in_ring(self) -> bool: ...
    def commit(self, length: int) -> None:
        """Send the first ``length`` bytes as a chunk. With 0 bytes nothing is sent.

        Raises ValueError for a length beyond the grant, ViewsEscaped while views of it are alive, and ClosedError if
        the grant was committed or aborted before, or its handle was closed; also the errors of send.
        """

    def abort(self) -> None:
        """Give the space back. Nothing is sent."""

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
    def _frozen(self) -> bool: ...
    @property
    def _position(self) -> int: ...
    @property
    def _released(self) -> int: ...
    @property
    def count(self) -> int: ...
    @property
    def more(self) -> bool: ...
    @property
    def buffer(self) -> memoryview:
        """All records with headers and padding, as one read-only memoryview. Raises ClosedError after the release."""

    def copies(self) -> list[bytes]:
        """All payloads, copied into bytes objects. Raises ClosedError after the release."""

    def release(self, upto: int | None = None) -> None:
        """Give the space of the first ``upto`` records (None: all) back to the producer.

        Records that are released already are skipped. Raises ViewsEscaped while any view into the batch is alive, and
        ValueError if ``upto`` is not in 0 .. len(batch); then nothing is released.
        """

    def freeze(self) -> Self:
        """Copy the records into private memory, and give their space back to the producer. Returns the batch.

        The batch can be read as before, without end, also when the consumer is closed. Views that are alive get a
        private copy of their bytes too, so they cannot keep the ring from moving on: use this in a notebook, whose
        variables ``_`` and ``Out`` keep views. Records that were released before are not copied, and must not be read.
        Raises ClosedError after the release, and MemoryError.

            batch = consumer.drain().freeze()
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

        Raises CorruptRing if the end positions in the ring are wrong, IndexError, and ClosedError after the release.
        """

    def owned(self, i: int, /) -> OwnedApply:
        """Event ``i``, copied out of the batch: it may be kept. Raises as argv."""

    def payload(self, i: int, /) -> memoryview:
        """The payload of event ``i`` as a read-only memoryview.

        Of a chunk these are its bytes, of a frame its end positions and arguments. Raises IndexError, and ClosedError
        after the release.
        """

    def resp(self) -> list[memoryview]:
        """All frames as RESP commands, in a list of one memoryview that may be kept, ready for ``socket.sendmsg``.

        Other events are left out; without a frame the list is empty. One call of the core makes no Python object for
        each frame. Raises as argv.
        """

    def _ended_before(self, last: int, /) -> int: ...
    def _part(self) -> tuple[int, int, memoryview]: ...
    def _become(self, record: bytes, length: int, argc: int, /) -> None: ...
    def _pass(self) -> None: ...

class RdbCalls:
    restore_bytes: int
    @property
    def _left_out(self) -> list[tuple[str, int, bytes, str, bytes, int]]: ...
    @property
    def is_whole(self) -> bool: ...
    @property
    def position(self) -> int: ...
    @property
    def version(self) -> tuple[str, int]: ...
    def feed(self, piece: BytesLike, /) -> list[Entry]:
        """Take the next bytes of the file, cut anywhere. Returns the entries that are whole, in lists of about 1 MiB.

        Raises SnapshotError for bytes that are no RDB, for an unknown type, and for a wrong checksum.
        """
