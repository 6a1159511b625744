"""The receiving end of a ring of objects."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any

from kevy_ring.errors import ObjectError, RecvError
from kevy_ring.objects.batch import LARGE_BYTES, ObjectBatch
from kevy_ring.objects.codec import Codec
from kevy_ring.objects.pickled import PickleCodec
from kevy_ring.ring.batch_stream import BatchStream
from kevy_ring.ring.consumer import DEFAULT_SPIN_US, Consumer
from kevy_ring.ring.deadline import deadline_after, seconds_left
from kevy_ring.ring.segment import Segment

#: An async iteration yields this many objects before it lets other tasks run again.
_TURN_OBJECTS = 64
_NOTHING: Any = object()


class ObjectReceiver(Consumer):
    """Receives objects. Made by :func:`object_pair` or :meth:`attach`. One thread receives at a time.

    ``recv``, ``recv_many`` and iteration give objects that own their memory. :meth:`drain` gives a batch of objects
    whose arrays are read-only views into the ring.

    It takes the consumer role on first use, for the process that uses it first, and can be pickled to another process.
    :meth:`close`, or the end of a ``with``, gives the role up. ``for obj in receiver`` and ``async for obj in
    receiver`` end when the sender is gone and everything it sent was received. ``spin_us``: see :class:`Consumer`.

        for obj in receiver:
            print(obj)
    """

    def __init__(self, segment: Segment, *, codec: Codec | None = None, spin_us: float = DEFAULT_SPIN_US) -> None:
        super().__init__(segment, spin_us=spin_us)
        self._codec = PickleCodec() if codec is None else codec
        self._decode = self._codec.decode
        self._nothing = ObjectBatch()  # every empty drain returns it, and its class is that of all batches
        # Whether the last record was large, so that the next one may be. A large record is read in place, and its parts
        # are copied; a small one is copied first, which costs less than a batch. A wrong guess costs only time.
        self._is_large = False

    @classmethod
    def attach(
        cls,
        name: str,
        timeout: float | None = 0.0,
        *,
        codec: Codec | None = None,
        spin_us: float = DEFAULT_SPIN_US,
    ) -> ObjectReceiver:
        """The receiver of the ring ``name``. Waits up to ``timeout`` seconds (None: without limit) for it to be made.

        Takes the role at once. ``codec``: that of the sender. ``spin_us``: see :class:`Consumer`. Raises
        :class:`SegmentError` (``reason`` says why) and :class:`RoleTaken`.
        """
        receiver = cls(Segment.attach(name, timeout), codec=codec, spin_us=spin_us)
        receiver._claim()
        return receiver

    def recv(self, timeout: float | None = None, default: Any = None) -> Any:
        """Wait up to ``timeout`` seconds (None: no limit) for the next object. ``default`` when the time is up.

        If None may be sent, give another ``default`` to tell it from "nothing". Raises :class:`RecvError` when the
        sender is gone and everything was received, :class:`ObjectError` for a record that is no object (it is taken,
        and the error has a copy of it), :class:`BatchOpen` while a batch is open, CorruptRing and ClosedError.
        """
        if self._is_large:
            if not self.wait(timeout):
                return default
            with self.drain(1) as batch:
                if batch.count:
                    return self._given(batch)
            self._is_large = False  # the sender is gone, and the next call raises for it
        record = self.read(timeout)
        if record is None:
            return default
        if len(record) >= LARGE_BYTES:
            self._is_large = True
        try:
            return self._decode(record, True)
        except Exception as why:
            raise self._no_object(record, why) from why

    def try_recv(self, default: Any = None) -> Any:
        """The next object; ``default`` if nothing waits. Never waits. Raises as :meth:`recv`."""
        return self.recv(0, default)

    def _given(self, batch: ObjectBatch) -> Any:
        """The one object of a batch, whose record is released also if it is no object."""
        try:
            found = batch.owned(0)
        except ObjectError as error:
            error.index = None
            batch._end_at(1)
            raise
        batch._end_at(1)
        return found

    def recv_many(self, max_objects: int = 1024) -> list[Any]:
        """Take up to ``max_objects`` objects; an empty list if nothing waits. Never waits.

        Raises as :meth:`recv`. If a record is no object, the other objects of this call are in the error's
        ``received``.
        """
        if self._is_large:
            with self.drain(max_objects) as batch:
                if batch.count:
                    return self._all_given(batch)
        records = self.read_many(max_objects)
        if records:
            return self._objects_of(records)
        found = self.try_recv(_NOTHING)  # it raises at the end
        return [] if found is _NOTHING else [found]

    def _all_given(self, batch: ObjectBatch) -> list[Any]:
        """All objects of a batch, whose records are released also if some are no objects."""
        try:
            found = self._objects_of([batch._at(i) for i in range(batch.count)])
        except ObjectError:
            batch._end_at(batch.count)
            raise
        batch._end_at(batch.count)
        return found

    def _objects_of(self, records: Sequence[bytes | memoryview]) -> list[Any]:
        """Objects that own their memory."""
        self._is_large = len(records[-1]) >= LARGE_BYTES
        found: list[Any] = []
        failed: list[ObjectError] = []
        objects = self._decoded(records)
        while len(found) + len(failed) < len(records):
            try:
                found.extend(objects)  # what came before an error stays in the list
            except Exception as why:
                failed.append(self._no_object(records[len(found) + len(failed)], why))
        if failed:
            first = failed[0]
            copies = [copy for error in failed for copy in error.records]
            raise ObjectError(self.name, detail=first.detail, records=copies, received=found) from first.__cause__
        return found

    def _decoded(self, records: Sequence[bytes | memoryview]) -> Iterator[Any]:
        """The objects of records, made one by one. After an error it continues with the next record."""
        if type(self._codec) is PickleCodec:
            loads = self._codec.only_pickles(records)
            if loads is not None:
                return map(loads, records)
        return map(self._decode, records, repeat(True))

    def _no_object(self, record: bytes | memoryview, why: Exception, index: int | None = None) -> ObjectError:
        # The frames of the traceback hold views of the record, and the batch could not be released.
        traceback.clear_frames(why.__traceback__)
        error = ObjectError(self.name, detail=f"{type(why).__name__}: {why}", records=[bytes(record)], index=index)
        error.__cause__ = why
        return error

    def __iter__(self) -> Iterator[Any]:
        while True:
            try:
                yield self.recv()
            except RecvError:
                return

    def __aiter__(self) -> AsyncIterator[Any]:  # type: ignore[override] # objects, not batches
        return self._each_async()

    async def _each_async(self) -> AsyncIterator[Any]:
        while True:
            await self.wait_async()
            for _ in range(_TURN_OBJECTS):
                try:
                    found = self.try_recv(_NOTHING)
                except RecvError:
                    return
                if found is _NOTHING:
                    break
                yield found

    async def recv_async(self, timeout: float | None = None, default: Any = None) -> Any:
        """As :meth:`recv`, for a task of asyncio (uvloop too) or trio. A cancelled call took nothing.

        Each call lets other tasks run. ``async for obj in receiver`` does so once in 64 objects.
        """
        deadline = deadline_after(timeout)
        while await self.wait_async(seconds_left(deadline)):
            found = self.try_recv(_NOTHING)
            if found is not _NOTHING:
                return found
        return default

    def batches(self, max_records: int = 1024, max_bytes: int | None = None) -> BatchStream[ObjectBatch]:
        """For ``async for``: the batches of :meth:`drain`, until the sender is gone.

        ``max_records`` and ``max_bytes`` bound each batch. It is open while the loop's body runs. Then it ends as by a
        ``with``: see :class:`BatchStream`.
        """
        return BatchStream(self, partial(self.drain, max_records, max_bytes))

    def __reduce__(self) -> tuple[Any, ...]:
        self._segment.handed_over = True
        return _attached_receiver, (type(self), self.name, self._codec, self._spin_ns / 1000)

    if TYPE_CHECKING:

        def drain(self, max_records: int = 1024, max_bytes: int | None = None) -> ObjectBatch:
            """Take the waiting records as a batch: at most ``max_records``, of together at most ``max_bytes``.

            Never waits. One record is taken even if it is larger than ``max_bytes``. If nothing waits, the batch is
            empty. The batch is a context manager; leaving it gives the space back to the sender:

                with receiver.drain() as batch:
                    for obj in batch: ...

            Raises :class:`BatchOpen` while the previous batch is open, :class:`CorruptRing`, ``ValueError`` for a
            maximum below 1, and :class:`ClosedError`.
            """


def _attached_receiver(kind: type[ObjectReceiver], name: str, codec: Codec, spin_us: float) -> ObjectReceiver:
    return kind(Segment.attach(name), codec=codec, spin_us=spin_us)
