"""The iterator behind ``async for batch in consumer``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from kevy_ring.ring.batch import RecordBatch
from kevy_ring.ring.loop_exit import is_left_by_itself

AnyBatch_co = TypeVar("AnyBatch_co", bound=RecordBatch, covariant=True)


class _Waiting(Protocol):
    """The part of a consumer that a stream of batches uses."""

    async def wait_async(self) -> bool: ...

    @property
    def sender_gone(self) -> bool: ...


class BatchStream(Generic[AnyBatch_co]):
    """Yields batches until the producer is gone and all its records were drained; then the loop ends. Made by
    :meth:`Consumer.batches`.

    A batch is open while the body of the loop runs. It is released when the body ends, also by `break` or `return`. If
    an exception (or a cancellation) ends the body, the batch ends as a `with` of the batch does. A batch that was taken
    with ``anext`` is released by the next call, or by ``batch.release()``.

    Raises the errors of ``drain`` and ``release``. There is one difference: views that are alive at a `break` raise
    nothing. The batch is released, and these views get a private copy of their bytes.
    """

    def __init__(self, consumer: _Waiting, drain: Callable[[], AnyBatch_co]) -> None:
        self._consumer = consumer
        self._drain = drain
        self._batch: AnyBatch_co | None = None
        self._frame: int | None = None  # the id of the frame that runs the loop

    def __aiter__(self) -> BatchStream[AnyBatch_co]:
        return self

    async def __anext__(self) -> AnyBatch_co:
        self._frame = id(sys._getframe(1))
        batch, self._batch = self._batch, None
        if batch is not None:
            batch.release()
        while True:
            await self._consumer.wait_async()
            # There is no await from here on, so no cancellation comes between the drain and the loop's body.
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
            batch._abandon()  # if the line above failed: a traceback may keep the batch alive, and open
