"""Commands on their way into one RESP pipeline."""

from __future__ import annotations

from collections.abc import Iterator

#: What is kept of a command until its reply is there: the offset of its frame (None: of no frame) and its name.
Command = tuple[int | None, bytes]

_CRLF = b"\r\n"
#: ``$<length>`` lines ready made: nearly every argument has one of these lengths.
_HEADS = [b"$%d\r\n" % length for length in range(512)]


class CommandPipeline:
    """``size_bytes``: of the arguments so far. ``commands``: one for each reply that is to come."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self.commands: list[Command] = []
        self._parts: list[bytes] = []

    @property
    def argument_count(self) -> int:
        """How many arguments there are beside the names: no more keys than that can be made."""
        return (len(self._parts) - len(self.commands)) // 3 - len(self.commands)

    def append(self, offset: int | None, argv: list[bytes]) -> None:
        """Add a command. ``offset``: of its frame; None: the sink's own."""
        parts = self._parts
        parts.append(b"*%d\r\n" % len(argv))
        for argument in argv:
            length = len(argument)
            parts.append(_HEADS[length] if length < len(_HEADS) else b"$%d\r\n" % length)
            parts.append(argument)
            parts.append(_CRLF)
            self.size_bytes += length
        self.commands.append((offset, argv[0]))

    def wire(self) -> bytes:
        """All of it as bytes."""
        return b"".join(self._parts)

    def __iter__(self) -> Iterator[tuple[int | None, list[bytes]]]:
        """Each command again, with the offset of its frame."""
        at = 0
        for offset, _ in self.commands:
            end = at + 1 + 3 * int(self._parts[at][1:-2])
            yield offset, self._parts[at + 2 : end : 3]
            at = end
