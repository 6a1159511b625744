"""The commands of one RESP pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kevy_ring.replica.protocols.resp import encode_command

if TYPE_CHECKING:
    from kevy_ring.inbox import Batch

#: A pipeline that is filled command by command is sent at this size. Smaller ones would need more round trips.
PIPELINE_BYTES = 128 * 1024
#: A reader moves all that it holds after each KiB that it has parsed. Small pieces keep that cheap.
_PIECE_BYTES = 64 * 1024


class CommandPipeline:
    """The bytes of some commands, and for each command the offset of its frame (None: a command of the sink itself).

    ``wire``: the bytes. ``argument_count``: the number of arguments of all commands, without their names. The pipeline
    cannot make more keys than that. ``len()``: the number of commands. Each one gets one reply.
    """

    def __init__(self) -> None:
        self.wire = bytearray()
        self.argument_count = 0
        self._offsets: list[int | None] = []
        self._commands: list[tuple[int | None, list[bytes]]] = []

    def __len__(self) -> int:
        return len(self._offsets)

    def append(self, offset: int | None, argv: list[bytes]) -> None:
        """Add one command."""
        self.wire += encode_command(*argv)
        self.argument_count += len(argv) - 1
        self._offsets.append(offset)

    def append_batch(self, batch: Batch) -> None:
        """Add all frames of a batch, which holds only frames. The core encodes them."""
        for block in batch.resp():
            self.wire += block
        self.argument_count += int(batch.argcs.sum()) - len(batch)
        self._offsets += batch.offsets.tolist()

    def extend(self, other: CommandPipeline) -> None:
        """Add the commands of another pipeline."""
        self.wire += other.wire
        self.argument_count += other.argument_count
        self._offsets += other._offsets

    def command(self, number: int) -> tuple[int | None, list[bytes]]:
        """The offset and the arguments of command ``number``.

        The first call parses all bytes. It is needed only for error replies. Add no command after that.
        """
        if not self._commands:
            self._commands = list(self)
        return self._commands[number]

    def __iter__(self) -> Iterator[tuple[int | None, list[bytes]]]:
        """The offset and the arguments of each command, parsed from the bytes."""
        return zip(self._offsets, self._parsed(), strict=True)

    def _parsed(self) -> Iterator[list[bytes]]:
        from hiredis import Reader  # here, so that this module can be imported without the extra `ingest`

        not_yet = object()
        reader = Reader(notEnoughData=not_yet)
        for start in range(0, len(self.wire), _PIECE_BYTES):
            reader.feed(bytes(self.wire[start : start + _PIECE_BYTES]))
            yield from iter(reader.gets, not_yet)
