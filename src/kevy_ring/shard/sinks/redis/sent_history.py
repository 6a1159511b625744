"""Which commands of a transaction a server refused, and in which database a refused command was meant to run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hiredis import ReplyError

from kevy_ring.shard.sinks.redis.command_pipeline import CommandPipeline
from kevy_ring.shard.sinks.redis.database_commands import selected_database
from kevy_ring.shard.sinks.refusals import RefusedInTransaction


@dataclass(slots=True)
class _Sent:
    pipeline: CommandPipeline
    db: int
    #: Numbers of commands that were refused before their transaction ran.
    refused: set[int] = field(default_factory=set)

    def database_of(self, number: int) -> int:
        db = self.db
        for at in range(number):
            _, argv = self.pipeline.command(at)
            if argv[0].upper() == b"SELECT":
                db = selected_database(argv) or 0
        return db


class SentHistory:
    """The pipeline whose replies are awaited, and those before it in which an open transaction began.

    Everything but ``begin`` is called only for error replies.
    """

    def __init__(self, *, is_one_database: bool) -> None:
        """``is_one_database``: the target is one database, which has the keys of the upstream's database 0."""
        #: For a database that a snapshot is filled into: the database that it becomes.
        self.homes: dict[int, int] = {}
        self._is_one_database = is_one_database
        self._sent: list[_Sent] = []
        self._ends_open = False

    def begin(self, pipeline: CommandPipeline, db: int, *, is_open: bool) -> None:
        """A pipeline is sent. ``db``: selected before it. ``is_open``: it ends inside a transaction."""
        if not self._ends_open:
            self._sent.clear()
        self._sent.append(_Sent(pipeline, db))
        self._ends_open = is_open

    def refused(self, number: int) -> int:
        """Command ``number`` of the last pipeline was refused. Returns its database."""
        sent = self._sent[-1]
        sent.refused.add(number)
        return self._upstream_database(sent.database_of(number))

    def lost_in(self, number: int, reply: Any, error: str) -> RefusedInTransaction | None:
        """The commands that had no effect in the transaction which EXEC, command ``number``, ended; None: unknown."""
        queued = self._queued(number)
        if queued is None:
            return None
        is_of_stream = self._sent[-1].pipeline.command(number)[0] is not None
        lost = RefusedInTransaction(error)
        lost.commands = []
        for place, (db, argv, is_own) in enumerate(queued):
            errors = [error]
            if isinstance(reply, list):
                errors = list(errors_in(reply[place])) if place < len(reply) else []
            if errors and not (is_own and is_of_stream):
                lost.commands.append((place, self._upstream_database(db), argv, errors[0]))
        return lost if lost.commands else None

    def _upstream_database(self, db: int) -> int:
        return 0 if self._is_one_database else self.homes.get(db, db)

    def _queued(self, number: int) -> list[tuple[int, list[bytes], bool]] | None:
        """(database, arguments, is the sink's own) of each command between the last MULTI and EXEC."""
        queued: list[tuple[int, list[bytes], bool]] | None = None
        for sent in self._sent:
            is_last = sent is self._sent[-1]
            db = sent.db
            for at in range(number if is_last else len(sent.pipeline)):
                offset, argv = sent.pipeline.command(at)
                name = argv[0].upper()
                if name == b"MULTI":
                    queued = []
                elif name in (b"EXEC", b"DISCARD"):
                    queued = None
                elif queued is not None and at not in sent.refused:
                    queued.append((db, argv, offset is None))
                if name == b"SELECT":
                    db = selected_database(argv) or 0
        return queued


def errors_in(reply: Any) -> Iterator[str]:
    """The errors in a reply. The reply to an EXEC contains those of its transaction."""
    if isinstance(reply, ReplyError):
        yield str(reply)
    elif isinstance(reply, list):
        for each in reply:
            yield from errors_in(each)
