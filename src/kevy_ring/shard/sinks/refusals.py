"""What a sink could not take: counts it, keeps the first, and does with it what the policy says."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kevy_ring.errors import EventRefused
from kevy_ring.events import BytesLike
from kevy_ring.shard.refused.letter import RAISED, REFUSED, UNREADABLE, DeadLetter, Origin
from kevy_ring.shard.refused.letter_file import LetterFile
from kevy_ring.shard.refused.policy import ErrorPolicy
from kevy_ring.shard.sinks.skipped_keys import OnSkippedKey
from kevy_ring.shard.snapshot import NAMED_MAX, LeftOut, shown_name

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RefusedCommand:
    """One command that a store answered with an error. ``offset``: of its frame; None: it came from a snapshot."""

    offset: int | None
    command: bytes
    reply: str


class RefusedInTransaction(str):
    """The first error of a transaction. ``commands``: (number, database, arguments, error) of each that failed."""

    __slots__ = ("commands",)
    commands: list[tuple[int, int, list[bytes], str]]


class Refusals:
    """Counts refused commands, and the events at which a callable raised.

    Without a ``policy`` a refused command does not stop the stream. But each may be a difference between replica and
    upstream, so the run fails at its end. With one, :class:`ErrorPolicy` says what happens.

    Dead letters wait here until ``write_out``. The shard calls it before the position moves past their events.
    """

    def __init__(self, sink: str, policy: ErrorPolicy | None = None, *, origin: Origin | None = None,
                 file_mode: int = 0o600) -> None:  # fmt: skip
        self.count = 0
        #: Of ``count``, those that needed a key that a snapshot skipped.
        self.on_skipped = 0
        self.first: RefusedCommand | None = None
        self.policy = policy
        #: The history of the events that are applied now. The shard sets it.
        self.history = ""
        self._sink = sink
        self._origin = origin or Origin(sink)
        self._letters: list[bytes] = []
        self._file = LetterFile(policy.path, file_mode=file_mode) if policy is not None and policy.path else None

    def add(self, offset: int | None, command: bytes, reply: str) -> None:
        """Count one, and name it if it is one of the first."""
        self.count += 1
        self.on_skipped += isinstance(reply, OnSkippedKey)
        is_first = self.first is None or (
            isinstance(self.first.reply, OnSkippedKey) and not isinstance(reply, OnSkippedKey)
        )
        if is_first:
            self.first = RefusedCommand(offset, command, reply)
        if is_first or (self.policy is not None and self.count <= NAMED_MAX):
            _log.warning("sink %s refused %r at offset %s: %s", self._sink, command, offset, reply)

    def refuse(self, offset: int | None, db: int, argv: Sequence[BytesLike], reply: str) -> None:
        """A command was answered with an error. Raises EventRefused if the policy is to stop."""
        commands = reply.commands if isinstance(reply, RefusedInTransaction) else [(None, db, argv, reply)]
        for number, in_db, command, error in commands:
            self.add(offset, bytes(command[0]) if command else b"", error)
            self._treat(REFUSED, offset, db=in_db, argv=command, error=error, number=number)

    def raised(self, offset: int, db: int, argv: Sequence[BytesLike], error: Exception) -> None:
        """The application of an event raised ``error``. Raises EventRefused if the policy is to stop."""
        reply = f"{type(error).__name__}: {error}"
        self.add(offset, bytes(argv[0]) if argv else b"", reply)
        self._treat(RAISED, offset, db=db, argv=argv, error=reply)

    def unreadable(self, left_out: LeftOut, offset: int | None) -> None:
        """A snapshot has what its decoder cannot read. ``offset``: of its last frame.

        Raises EventRefused if the policy is to stop. Call it before the snapshot replaces anything.
        """
        if self.policy is None or not (words := left_out.words()):
            return
        if self.policy.stops:
            raise EventRefused(
                self._sink, offset=offset, detail=f"the snapshot cannot be read whole: {', '.join(words)}"
            )
        if self._file is None:
            return
        for db, key, kind, argv in _things(left_out):
            letter = DeadLetter(
                *(UNREADABLE, offset, db, argv, "the decoder cannot read it", _now_ms(), self._origin, self.history),
                key=key,
                type=kind,
            )
            self._letters.append(letter.line())

    @property
    def keeps_letters(self) -> bool:
        """Whether there is a file of dead letters."""
        return self._file is not None

    def write_out(self) -> None:
        """Return when all dead letters so far are on the disk. Raises SinkError if they cannot be."""
        if self._letters and self._file is not None:
            self._file.append(b"".join(self._letters))
            self._letters.clear()

    def forget(self) -> None:
        """Forget the letters that are not written: the shard gets their events again."""
        self._letters.clear()

    def close(self) -> None:
        """Write the letters that are left, and close the file. A second call does nothing."""
        file = self._file
        if file is not None:
            try:
                self.write_out()
            finally:
                self._file = None
                file.close()

    def _treat(
        self,
        kind: str,
        offset: int | None,
        *,
        db: int,
        argv: Sequence[BytesLike],
        error: str,
        number: int | None = None,
    ) -> None:
        if self.policy is None:
            return
        if self.policy.stops:
            command = bytes(argv[0]) if argv else b""
            key = f" of key {shown_name(bytes(argv[1]))}" if len(argv) > 1 else ""
            detail = f"{command!r}{key} in database {db}: {error}"
            raise EventRefused(self._sink, offset=offset, detail=detail, db=db, command=command)
        if self._file is not None:
            owned = tuple(bytes(item) for item in argv)
            letter = DeadLetter(kind, offset, db, owned, error, _now_ms(), self._origin, self.history, number)
            self._letters.append(letter.line())


def _things(left_out: LeftOut) -> Iterator[tuple[int, bytes, str, tuple[bytes, ...]]]:
    for key in left_out.keys:
        yield key.db, key.key, key.type, left_out.restores.get((key.db, key.key), ())
    for name in left_out.functions:
        yield 0, name, "function library", ()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
