"""The sending end of a ring of objects."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from typing import Any

from kevy_ring.errors import GrantOpen, ObjectTooLarge, SendError
from kevy_ring.events import BytesLike
from kevy_ring.objects.codec import Codec
from kevy_ring.objects.parts import Parts
from kevy_ring.objects.pickled import PickleCodec
from kevy_ring.ring.deadline import deadline_after, seconds_left
from kevy_ring.ring.producer import Producer
from kevy_ring.ring.record import PAYLOAD_MAX_BYTES, RECORD_HEADER
from kevy_ring.ring.segment import Segment

_RUN_RECORDS = 1024  # of one call of the core, so that a full ring does not make a long list be cut again and again


class ObjectSender(Producer):
    """Sends objects. Made by :func:`object_pair` or :meth:`attach`. Any thread may send.

    An object is encoded before anything is written, so a call sends it whole or not at all. It takes the producer role
    on first use, for the process that uses it first, and can be pickled to another process. :meth:`close`, or the end
    of a ``with``, gives the role up; what was sent stays in the ring.

    Calls raise :class:`SendError` when the receiver closed its end or died (``unsent`` has the objects that were not
    sent), :class:`ObjectTooLarge` for an object that does not fit into the empty ring, what the codec raises for an
    object that it cannot encode, and :class:`ClosedError`.

        sender.send({"id": 17, "image": np.zeros((512, 512))})
    """

    def __init__(self, segment: Segment, *, codec: Codec | None = None) -> None:
        self._codec = PickleCodec() if codec is None else codec
        self._encode = self._codec.encode
        self._most_bytes = min(segment.capacity - RECORD_HEADER.size, PAYLOAD_MAX_BYTES)
        # One thread at a time writes in place. A lock for each process: a fork may copy one that another thread holds.
        self._turns: dict[int, threading.Lock] = {}
        super().__init__(segment)

    @classmethod
    def attach(cls, name: str, timeout: float | None = 0.0, *, codec: Codec | None = None) -> ObjectSender:
        """The sender of the ring ``name``. Waits up to ``timeout`` seconds (None: without limit) for it to be made.

        Takes the role at once. ``codec``: that of the receiver. Raises :class:`SegmentError` (``reason`` says why) and
        :class:`RoleTaken`.
        """
        sender = cls(Segment.attach(name, timeout), codec=codec)
        sender._claim()
        return sender

    def send(self, obj: Any, timeout: float | None = None) -> bool:
        """Send ``obj``. Waits up to ``timeout`` seconds (None: without limit) for space. False: the time is up.

        Raises as the class says, and ``ValueError`` for a timeout that is not a number.
        """
        deadline = deadline_after(timeout) if timeout else timeout  # 0 and None ask no clock
        record = self._encode(obj)
        if len(record) > self._most_bytes:
            raise self._too_large(record)
        try:
            if self._write(record):
                return True
            while self.wait(len(record), seconds_left(deadline)):
                if self._write(record):
                    return True
        except SendError as gone:
            gone.unsent = [obj]
            raise
        return False

    def try_send(self, obj: Any) -> bool:
        """Send ``obj`` if the ring has space for it now. False: it has not. Never waits. Raises as :meth:`send`."""
        return self.send(obj, 0)

    def send_many(self, objects: Iterable[Any], timeout: float | None = None) -> int:
        """Send objects in order. Returns how many were sent within ``timeout`` seconds (None: no limit).

        All are encoded first: if one is bad or too large, none is sent. Raises as the class says.
        """
        deadline = deadline_after(timeout)
        objects = list(objects)
        records = self._encode_all(objects)
        if records and max(map(len, records)) > self._most_bytes:
            raise self._too_large(max(records, key=len))
        done = 0
        try:
            while done < len(records):
                wrote = self._write_some(records, done)
                done += wrote
                if not wrote and not self.wait(len(records[done]), seconds_left(deadline)):
                    break
        except SendError as gone:
            gone.unsent = objects[done:]
            raise
        return done

    async def send_async(self, obj: Any, timeout: float | None = None) -> bool:
        """Send ``obj`` as :meth:`send`, in a task of asyncio (uvloop too) or trio. A cancelled call sent nothing.

        Other tasks run only if the ring is full.
        """
        deadline = deadline_after(timeout)
        record = self._encode(obj)
        if len(record) > self._most_bytes:
            raise self._too_large(record)
        try:
            while not self._write(record):
                if not await self.wait_async(len(record), seconds_left(deadline)):
                    return False
        except SendError as gone:
            gone.unsent = [obj]
            raise
        return True

    def _too_large(self, record: BytesLike | Parts) -> ObjectTooLarge:
        return ObjectTooLarge(self.name, needed=len(record), limit=self._most_bytes)

    def _encode_all(self, objects: list[Any]) -> Sequence[BytesLike | Parts]:
        if type(self._codec) is PickleCodec:
            return self._codec.encode_all(objects)
        return [self._encode(obj) for obj in objects]

    def _write(self, record: BytesLike | Parts) -> bool:
        """Write and publish one record. False: the ring is full now."""
        if type(record) is Parts:
            return self._write_in_place(record)
        try:
            return self.try_write(record)  # type: ignore[arg-type] # it is no Parts
        except GrantOpen:  # another thread is writing in place
            with self._turn():
                return self.try_write(record)  # type: ignore[arg-type]

    def _write_in_place(self, parts: Parts) -> bool:
        with self._turn():
            grant = self.try_reserve(len(parts))
            if grant is None:
                return False
            with grant:
                grant.commit(parts.write_into(grant.view))
            self.publish()
        return True

    def _write_some(self, records: Sequence[BytesLike | Parts], first: int) -> int:
        """Write records from ``first`` on: one in place, or many with one call. Returns how many fitted."""
        if type(records[first]) is Parts:
            return int(self._write(records[first]))
        run: Any = records[first : first + _RUN_RECORDS]
        kinds = list(map(type, run))
        if Parts in kinds:
            run = run[: kinds.index(Parts)]
        try:
            return self.write_many(run)
        except GrantOpen:
            with self._turn():
                return self.write_many(run)

    def _turn(self) -> threading.Lock:
        return self._turns.get(os.getpid()) or self._turns.setdefault(os.getpid(), threading.Lock())

    def __reduce__(self) -> tuple[Any, ...]:
        self._segment.handed_over = True
        return _attached_sender, (type(self), self.name, self._codec)


def _attached_sender(kind: type[ObjectSender], name: str, codec: Codec) -> ObjectSender:
    return kind(Segment.attach(name), codec=codec)
