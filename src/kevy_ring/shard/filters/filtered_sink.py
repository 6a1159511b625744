"""A sink behind a filter: the filter looks at every event first, and the sink gets what passes."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from kevy_ring.errors import FilterRefused
from kevy_ring.events import BytesLike
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.shard.filters.border import READ, TAKE, AcrossBorder, Border
from kevy_ring.shard.filters.key_filter import KeyFilter
from kevy_ring.shard.filters.stream_state import StreamState, Transaction
from kevy_ring.shard.owned_frames import OwnedPayloads
from kevy_ring.shard.sinks.sink import HoldingStage, Sink, Stage
from kevy_ring.shard.snapshot import LeftOut, Snapshot

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from kevy_ring.inbox import Batch


class Dropped(NamedTuple):
    """Frames of which nothing passed, and their bytes (payload)."""

    frames: int = 0
    frame_bytes: int = 0


class FilteredSink:
    """Gives ``sink`` what passes ``chosen``. An event that does not pass counts as applied: its offset is marked.

    SELECT and MULTI reach the sink before the first command behind them that passes, with their own offsets. A
    transaction of which nothing passes does not reach it. ``only_done``: see :class:`Border`. Other attributes are the
    sink's own. Made by :func:`filtered`.

    ``apply`` and ``apply_batch`` also raise FilterRefused for a command that cannot be cut down.
    """

    def __init__(self, sink: Sink, chosen: KeyFilter, *, only_done: bool) -> None:
        from kevy_ring.shard.filters.columns import FrameJudge  # here, because it brings numpy

        self.sink = sink
        self.durable = sink.durable
        self._filter = chosen
        self._key_test = chosen.key_test
        self._judge = FrameJudge(chosen)
        self._border = Border(chosen, only_done=only_done)
        self._state = StreamState()
        self._dropped = Dropped()
        self._apply_batch = getattr(sink, "apply_batch", None)
        self._apply_frames = getattr(sink, "apply_frames", None)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "sink"), name)

    @property
    def in_transaction(self) -> bool:
        """True between MULTI and EXEC of the stream, also if the sink did not get that MULTI."""
        return self._state.transaction is not Transaction.NONE or bool(getattr(self.sink, "in_transaction", False))

    def take_dropped(self) -> Dropped:
        """What did not pass since the last call."""
        dropped, self._dropped = self._dropped, Dropped()
        return dropped

    def apply(self, offset: int, argv: Sequence[BytesLike]) -> None:
        argv = owned = [bytes(item) for item in argv]  # keep no view here: a kept error keeps this frame
        before, frames = (self._state, self._dropped), list[tuple[int, list[bytes]]]()
        try:
            if not self._take(offset, owned, frames):
                self._drop(1, 4 + sum(4 + len(item) for item in owned))
            self._give(frames)
        except BaseException:
            self._state, self._dropped = before
            raise

    def apply_batch(self, batch: Batch) -> None:
        before = self._state, self._dropped
        try:
            verdicts = self._judge.judge(batch)
            is_whole = self._gets_all_frames and bool((verdicts == TAKE).all())
            if is_whole and self._apply_batch is not None:
                self._apply_batch(batch)
            else:
                self._give(self._passing(batch, verdicts))
        except BaseException:
            self._state, self._dropped = before
            raise

    @property
    def _gets_all_frames(self) -> bool:
        """Whether frames whose key passes by name reach the sink as they are."""
        state = self._state
        return not state.held and self._key_test is None and self._filter.takes_database(state.db)

    def _passing(self, batch: Batch, verdicts: npt.NDArray[np.uint8]) -> list[tuple[int, list[bytes]]]:
        """What the sink gets of a batch."""
        looked_at = verdicts.nonzero()[0].tolist()
        payloads = OwnedPayloads(batch, len(looked_at))
        kinds, offsets = verdicts.tolist(), batch.offsets.tolist()
        frames: list[tuple[int, list[bytes]]] = []
        key_test, passed = self._key_test, list[int]()
        is_inside = self._filter.takes_database(self._state.db)
        for at in looked_at:
            if kinds[at] == READ:
                if self._take(offsets[at], payloads.argv(at), frames):
                    passed.append(at)
                is_inside = self._filter.takes_database(self._state.db)
            elif is_inside:
                argv = payloads.argv(at)
                if key_test is None or key_test(self._state.db, argv[1]):
                    self._give_held(frames)
                    frames.append((offsets[at], argv))
                    passed.append(at)
        lengths = batch.lengths
        self._drop(len(batch) - len(passed), int(lengths.sum()) - int(lengths[passed].sum()))
        return frames

    def _take(self, offset: int, argv: list[bytes], frames: list[tuple[int, list[bytes]]]) -> bool:
        """Add what passes of one frame to ``frames``. Returns whether the frame counts as applied."""
        name = argv[0].upper()
        state = self._state
        if name == b"SELECT" and len(argv) == 2 and argv[1].isdigit():
            self._state = state.selected(offset, int(argv[1]))
        elif name == b"MULTI" and state.transaction is Transaction.NONE:
            self._state = state.begun(offset)
        elif name in (b"EXEC", b"DISCARD"):
            if state.transaction is Transaction.OPEN:
                self._give_held(frames)
                frames.append((offset, argv))
                self._state = self._state.ended()
            else:
                self._state = state.emptied()
        else:
            try:
                inside = self._border.inside(state.db, argv)
            except AcrossBorder as error:
                raise FilterRefused(argv[0], offset, str(self._filter), error.why, key=error.key) from None
            if inside is None:
                return False
            self._give_held(frames)
            frames.append((offset, inside))
        return True

    def _give_held(self, frames: list[tuple[int, list[bytes]]]) -> None:
        state = self._state
        if state.held:
            frames += [(each.offset, list(each.argv)) for each in state.held]
            self._state = state.given()

    def _give(self, frames: list[tuple[int, list[bytes]]]) -> None:
        if self._apply_frames is not None:
            if frames:
                self._apply_frames(frames)
            return
        for offset, argv in frames:
            self.sink.apply(offset, argv)

    def _drop(self, frames: int, frame_bytes: int) -> None:
        self._dropped = Dropped(self._dropped.frames + frames, self._dropped.frame_bytes + frame_bytes)

    def load(self, snapshot: Snapshot) -> None:
        passes = self._filter.key_passes
        snapshot.held = deque(each for each in snapshot.held if passes(each.db, each.key))
        self.leave_out(snapshot, snapshot.count - len(snapshot.held))
        self.sink.load(snapshot)
        self.begin_again()

    def stage(self) -> FilteredStage:
        stage = getattr(self.sink, "stage", None)
        return FilteredStage(self, stage() if stage is not None else HoldingStage(self.sink), self._filter)

    def flush(self) -> None:
        self.sink.flush()

    def close(self) -> None:
        self.sink.close()

    def passing(self, left_out: LeftOut) -> LeftOut:
        """What passes of the things that a snapshot was read without."""
        keys = tuple(each for each in left_out.keys if self._filter.key_passes(each.db, each.key))
        return replace(left_out, keys=keys, functions=() if self._filter.limits_keys else left_out.functions)

    def leave_out(self, snapshot: Snapshot, dropped: int) -> None:
        """Make a snapshot's counts and names those of the keys that pass. ``dropped``: how many keys do not."""
        before, snapshot.left_out = snapshot.left_out, self.passing(snapshot.left_out)
        snapshot.count -= dropped
        if snapshot.skipped is not None:
            snapshot.skipped -= len(before.keys) - len(snapshot.left_out.keys)

    def begin_again(self) -> None:
        """Note that a snapshot has replaced everything: the stream begins in database 0."""
        self._state = StreamState()


class FilteredStage:
    """Gives a sink's stage the keys that pass."""

    def __init__(self, sink: FilteredSink, stage: Stage, chosen: KeyFilter) -> None:
        self._sink = sink
        self._stage = stage
        self._passes = chosen.key_passes
        self._dropped = 0

    def add(self, entries: list[Entry]) -> None:
        kept = [each for each in entries if self._passes(each.db, each.key)]
        self._dropped += len(entries) - len(kept)
        if kept:
            self._stage.add(kept)

    def commit(self, snapshot: Snapshot) -> None:
        self._sink.leave_out(snapshot, self._dropped)
        self._stage.commit(snapshot)
        self._sink.begin_again()

    def abort(self) -> None:
        self._stage.abort()
