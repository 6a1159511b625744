"""Kevy frames as they come from a primary: SET with a 16-byte key and a 64-byte value."""

from __future__ import annotations

import random
from dataclasses import dataclass

FIRST_OFFSET = 1_000_000


@dataclass(frozen=True)
class Wire:
    """A run of ``frames`` frames with offsets from :data:`FIRST_OFFSET` on. ``argvs`` holds what they decode to."""

    received: bytes
    argvs: list[list[bytes]]

    @property
    def frames(self) -> int:
        """How many frames the bytes hold."""
        return len(self.argvs)


def make_wire(frames: int, seed: int = 1) -> Wire:
    """The same bytes for the same numbers."""
    chance = random.Random(seed)
    noise = chance.randbytes(64 + frames)
    argvs = [[b"SET", b"key:%012d" % chance.randrange(1_000_000), noise[i : i + 64]] for i in range(frames)]
    form = b"*2\r\n:%d\r\n*3\r\n$3\r\n%b\r\n$16\r\n%b\r\n$64\r\n%b\r\n"
    return Wire(b"".join(form % (FIRST_OFFSET + i, *argv) for i, argv in enumerate(argvs)), argvs)
