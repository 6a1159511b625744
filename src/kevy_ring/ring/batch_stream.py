"""The batches of a consumer as they come: what `async for` runs over."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from kevy_ring.ring.batch import RecordBatch
from kevy_ring.ring.loop_exit import is_left_by_itself

AnyBatch_co = TypeVar("AnyBatch_co", bound=RecordBatch, covariant=True)


class _Waiting(Protocol):
    """What a stream of batches asks of its consumer."""

    async def wait_async(self) -> bool: ...

    @property
    def sender_gone(self) -> bool: ...


class BatchStream(Generic[AnyBatch_co]):
    """Yields batches until the producer is gone and all that it published was drained; then the loop ends.

    A batch is open while the loop's body runs and is released behind it: as a whole when the body ends, or leaves the
    loop by `break` or `return`; by an exception (a cancellation too) as a `with` of the batch releases it. For batches
    that are taken with ``anext`` the next call, or ``batch.release()``, is the end.

    Raises what ``drain`` and ``release`` raise. Views that are kept over a `break` cannot be told of there: the batch
    is released, and they get a private copy of their bytes.
    """

    def __init__(self, consumer: _Waiting, drain: Callable[[], AnyBatch_co]) -> None:
        self._consumer = consumer
        self._drain = drain
        self._batch: AnyBatch_co | None = None
        self._frame: int | None = None  # of the loop, by its identity

    def __aiter__(self) -> BatchStream[AnyBatch_co]:
        return self

    async def __anext__(self) -> AnyBatch_co:
        self._frame = id(sys._getframe(1))
        batch, self._batch = self._batch, None
        if batch is not None:
            batch.release()
        while True:
            await self._consumer.wait_async()
            # From here on nothing awaits: no cancellation comes between the drain and the loop's body.
            found = self._drain()
            if found.count:
                self._batch = found
                return found
            if self._consumer.sender_gone:
                raise StopAsyncIteration

    def __del__(self) -> None:
        batch = getattr(self, "_batch", None)
        if batch is None:
            return
        try:
            frame = sys._getframe().f_back
            by_itself = frame is not None and id(frame) == self._frame and is_left_by_itself(frame)
            batch._leave_loop(by_itself=by_itself)
        finally:
            batch._abandon()  # of one that has not ended, as whatever failed may be kept with its traceback
