"""Fan-in of inboxes: one process for the events of many senders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kevy_ring.events import OwnedApply
from kevy_ring.group.fan_in import FanIn, is_empty
from kevy_ring.inbox import Batch, ReplicaInboxReceiver
from kevy_ring.ring.batch_stream import BatchStream


class InboxGroup(FanIn):
    """Reads the events of many inboxes in one process: many senders, one receiving process.

        pairs = replica_inbox_pairs(4)                            # pass each sender to a process of its own
        group = InboxGroup(receiver for _, receiver in pairs)
        for event in group: ...                                   # until all senders are gone

    It behaves as :class:`RingGroup`: turns, ends, waits and errors. ``consumers`` are its receivers, and ``on_end`` and
    ``awaits_successors`` are as there. Batches are those of the receivers, and what is taken one by one are events.
    """

    _kind = ReplicaInboxReceiver

    if TYPE_CHECKING:

        def drain(self, max_records: int = 1024, max_bytes: int | None = None) -> Batch: ...
        def __iter__(self) -> Iterator[OwnedApply]: ...
        def batches(self, max_records: int = 1024, max_bytes: int | None = None) -> BatchStream[Batch]: ...

    def _take_one(self, consumer: Any) -> Any:
        return consumer.try_recv()

    def try_recv(self) -> OwnedApply | None:
        """Take one event of the inbox whose turn it is, copied out of the ring; None if none has one. Never waits.

        Raises :class:`GroupEnded` if no inbox is left; else as the class says.
        """
        return self._try_one()  # type: ignore[no-any-return]

    def recv(self, timeout: float | None = None) -> OwnedApply | None:
        """As :meth:`try_recv`, but wait up to ``timeout`` seconds (None: no limit) for an event; None: time is up."""
        return self._one(timeout)  # type: ignore[no-any-return]

    async def recv_async(self, timeout: float | None = None) -> OwnedApply | None:
        """As :meth:`recv`, for a task of asyncio (uvloop too) or trio. A cancelled call took nothing."""
        return await self._one_async(timeout)  # type: ignore[no-any-return]

    def recv_many(self, max_events: int = 1024) -> list[OwnedApply]:
        """Take up to ``max_events`` events of the next inbox that has some; an empty list if none has. Never waits.

        Their space is given back before the call returns.
        """
        return self._from_next(lambda receiver: receiver.recv_many(max_events), is_empty) or []
