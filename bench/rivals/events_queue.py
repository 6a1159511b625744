"""multiprocessing.Queue with frames: each pickled by the sender's thread."""

from __future__ import annotations

from collections.abc import Sequence

from bench.rivals.frames import KEY_MASK, KEYS, SET, frame_checker
from bench.rivals.standard_queue import StandardQueue
from bench.sink import Sink


class QueueEvents(StandardQueue):
    """The very frames of the inbox, through the standard way."""

    modules = ("kevy_ring",)
    note = "put / get of the same Frame objects"

    def send_single(self, records: Sequence[bytes], repeats: int) -> None:
        """One call for each frame."""
        from kevy_ring import Frame

        put, offset = self._queue.put, 0
        for _ in range(repeats):
            for value in records:
                put(Frame(offset, [SET, KEYS[offset & KEY_MASK], value]))
                offset += 1

    def take_single(self, count: int, sink: Sink) -> bytes:
        """One call for each frame."""
        get, take, check = self._queue.get, sink.take, frame_checker(sink)
        value = b""
        for _ in range(count):
            event = get()
            value = event.argv[2]
            if check is None:
                take(event.argv)
            else:
                check(event.offset, event.argv)
        return value


TRANSPORT = QueueEvents
