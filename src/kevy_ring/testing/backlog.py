"""The newest frames of a stream as wire bytes, with a limit in bytes. A replica can continue from any of them."""

from __future__ import annotations

#: Cut the list of frames only in steps, because each cut moves all remaining ones.
_TRIM_STEP = 4096


class Backlog:
    """Frames in wire form with consecutive offsets. The oldest are dropped first.

    The newest frame is always held, even if it exceeds the limit, so that a link that is up to date receives it.
    """

    def __init__(self, next_offset: int, limit_bytes: int) -> None:
        if limit_bytes <= 0:
            raise ValueError("a backlog needs room for at least one byte")
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        #: The oldest offset that is held, or ``next_offset`` when none is.
        self.first_offset = next_offset
        self.next_offset = next_offset
        self._frames: list[bytes] = []
        self._start = 0

    def append(self, wire: bytes) -> None:
        """Add the frame with offset ``next_offset``, and drop the oldest ones beyond the limit."""
        self._frames.append(wire)
        self.next_offset += 1
        self.held_bytes += len(wire)
        while self.held_bytes > self.limit_bytes and self.next_offset - self.first_offset > 1:
            self.held_bytes -= len(self._frames[self._start])
            self._frames[self._start] = b""
            self._start += 1
            self.first_offset += 1
        if self._start >= _TRIM_STEP and self._start * 2 >= len(self._frames):
            del self._frames[: self._start]
            self._start = 0

    def first_offset_after(self, length: int) -> int:
        """The value of ``first_offset`` if a frame of ``length`` bytes were appended now."""
        over, first = self.held_bytes + length - self.limit_bytes, self.first_offset
        while over > 0 and first < self.next_offset:
            over -= len(self._frames[self._start + first - self.first_offset])
            first += 1
        return first

    def reaches(self, offset: int) -> bool:
        """True when a replica that needs ``offset`` next can continue without a snapshot."""
        return self.first_offset <= offset <= self.next_offset

    def read(self, offset: int, max_bytes: int) -> tuple[bytes, int]:
        """Whole frames from ``offset`` on, at least one if there is one, and the offset after them."""
        start = self._start + offset - self.first_offset
        stop, total = start, 0
        frames = self._frames
        while stop < len(frames) and (stop == start or total + len(frames[stop]) <= max_bytes):
            total += len(frames[stop])
            stop += 1
        return b"".join(frames[start:stop]), offset + stop - start
