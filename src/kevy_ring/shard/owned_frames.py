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
