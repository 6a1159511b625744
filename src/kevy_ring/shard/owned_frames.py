"""The frames of a whole batch as ``bytes``: one copy of the batch, and no views of it."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kevy_ring.inbox import Batch

#: Unpackers of the end positions, by number of arguments; more arguments than these are rare.
_ENDS = [Struct(f"<{argc}I") for argc in range(16)]


def owned_frames(batch: Batch) -> Iterator[tuple[int, list[bytes]]]:
    """Yield (offset, arguments) of each frame of a batch that holds frames only.

    For sinks that need ``bytes``. It takes a third of the time of ``[bytes(item) for item in frame.argv]``. Raises
    CorruptRing as ``frame.argv`` does.
    """
    columns = zip(batch.offsets.tolist(), batch.argcs.tolist(), batch.copies(), strict=True)
    for at, (offset, argc, payload) in enumerate(columns):
        start = base = 4 + 4 * argc
        layout = _ENDS[argc] if argc < len(_ENDS) else Struct(f"<{argc}I")
        argv = []
        for end in layout.unpack_from(payload, 4):
            stop = base + end
            if stop < start:
                break
            argv.append(payload[start:stop])
            start = stop
        if start != len(payload) or len(argv) != argc:
            argv = [bytes(item) for item in batch.argv(at)]
        yield offset, argv


class OwnedPayloads:
    """The arguments of some frames of a batch as ``bytes``. ``count``: of how many frames they will be asked."""

    def __init__(self, batch: Batch, count: int) -> None:
        self._batch = batch
        # One call copies all payloads. If few are asked for, copying each alone is cheaper.
        self._copies = batch.copies() if 2 * count > len(batch) else None

    def argv(self, at: int) -> list[bytes]:
        """The arguments of frame ``at``. Raises CorruptRing as ``frame.argv`` does."""
        payload = self._copies[at] if self._copies is not None else bytes(self._batch.payload(at))
        argc = int.from_bytes(payload[:4], "little")
        start = base = 4 + 4 * argc
        if argc >= len(_ENDS) or len(payload) < base:
            return [bytes(item) for item in self._batch.argv(at)]
        argv = []
        for end in _ENDS[argc].unpack_from(payload, 4):
            stop = base + end
            if stop < start:
                break
            argv.append(payload[start:stop])
            start = stop
        if start != len(payload) or len(argv) != argc:
            argv = [bytes(item) for item in self._batch.argv(at)]
        return argv
