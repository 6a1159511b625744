"""Puts a sink behind a filter, which a resumable sink stores with its position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kevy_ring.errors import SinkError
from kevy_ring.events import BytesLike
from kevy_ring.shard.filters.filtered_sink import FilteredSink, FilteredStage
from kevy_ring.shard.filters.key_filter import KeyFilter
from kevy_ring.shard.filters.stream_state import state_of
from kevy_ring.shard.sinks.sink import FilterStoringSink, ResumableSink, Sink

if TYPE_CHECKING:
    from kevy_ring.inbox import Batch


class FilteredResumableSink(FilteredSink):
    """A filtered sink that stores its position: also that of events of which it gets nothing."""

    sink: FilterStoringSink

    def __init__(self, sink: FilterStoringSink, chosen: KeyFilter, *, only_done: bool) -> None:
        super().__init__(sink, chosen, only_done=only_done)
        self._offset: int | None = None  # of the last event since the last commit
        self._take_up()

    #: The sink stores the filter's state at every offset.
    in_transaction = False

    @property
    def stored_offset(self) -> int | None:
        return self.sink.stored_offset

    def apply(self, offset: int, argv: Sequence[BytesLike]) -> None:
        super().apply(offset, argv)
        self._offset = offset

    def apply_batch(self, batch: Batch) -> None:
        super().apply_batch(batch)
        self._offset = int(batch.offsets[-1])

    def commit(self) -> None:
        try:
            self._move_on()
            self.sink.commit()
        except BaseException:
            self._take_up()
            raise

    def rollback(self) -> None:
        self.sink.rollback()
        self._take_up()

    def stage(self) -> FilteredStage:
        self._move_on()
        return super().stage()

    def flush(self) -> None:
        self._move_on()
        super().flush()

    def close(self) -> None:
        self._move_on()
        super().close()

    def begin_again(self) -> None:
        super().begin_again()
        self._offset = None

    def _move_on(self) -> None:
        offset, self._offset = self._offset, None
        if offset is not None:
            self.sink.move_on(offset, self._state.text())

    def _take_up(self) -> None:
        """Continue from what the sink has stored."""
        self._offset = None
        try:
            self._state = state_of(self.sink.stream_state)
        except ValueError as error:
            detail = f"the filter's state in it was not written by this sink: {error}. Name another place"
            raise SinkError(type(self.sink).__name__, reason="refused", detail=detail) from error


def filtered(sink: Sink, chosen: KeyFilter, *, only_done: bool = True) -> Sink:
    """Returns ``sink`` behind the filter ``chosen``; the sink itself if everything passes.

    ``only_done``: False for an upstream whose stream may hold commands that changed nothing (kevy). Raises ValueError
    for a :class:`ResumableSink` that cannot store the filter's state (see :class:`FilterStoringSink`), and SinkError
    (``"load"``) if the filter's function cannot be found.

        shard = Shard(receiver, filtered(MemorySink(), KeyFilter(keys=[b"user:*"])))
    """
    if not chosen:
        return sink
    if isinstance(sink, FilterStoringSink):
        return FilteredResumableSink(sink, chosen, only_done=only_done)
    if isinstance(sink, ResumableSink):
        raise ValueError(f"{type(sink).__name__} stores its position, but has no move_on() for a filter")
    return FilteredSink(sink, chosen, only_done=only_done)
