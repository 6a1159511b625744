"""What a filter must know of the stream between two commands, so that a later process continues at any offset."""

from __future__ import annotations

import json
from enum import IntEnum
from typing import Any, NamedTuple


class Transaction(IntEnum):
    """The transaction of the stream: none, one whose MULTI is held, or one whose MULTI the sink has."""

    NONE = 0
    HELD = 1
    OPEN = 2


class HeldFrame(NamedTuple):
    """A SELECT or a MULTI that the sink gets before the next command that passes, and not at all if none does."""

    offset: int
    argv: tuple[bytes, ...]


class StreamState(NamedTuple):
    """``db``: the database that the stream has selected; ``sink_db``: the one that the sink has selected."""

    db: int = 0
    sink_db: int = 0
    transaction: Transaction = Transaction.NONE
    held: tuple[HeldFrame, ...] = ()

    def selected(self, offset: int, db: int) -> StreamState:
        """The state after a SELECT."""
        held = self.held
        if held and len(held[-1].argv) == 2:
            held = held[:-1]  # no command came between the two
        before = next((int(each.argv[1]) for each in reversed(held) if len(each.argv) == 2), self.sink_db)
        if db != before:
            held = (*held, HeldFrame(offset, (b"SELECT", b"%d" % db)))
        return self._replace(db=db, held=held)

    def begun(self, offset: int) -> StreamState:
        """The state after a MULTI."""
        return self._replace(transaction=Transaction.HELD, held=(*self.held, HeldFrame(offset, (b"MULTI",))))

    def emptied(self) -> StreamState:
        """The state after the end of a transaction of which nothing has passed."""
        selects = tuple(each for each in self.held if len(each.argv) == 2)
        held = selects[-1:] if self.db != self.sink_db else ()
        return self._replace(transaction=Transaction.NONE, held=held)

    def ended(self) -> StreamState:
        """The state after the end of a transaction that the sink has."""
        return self._replace(transaction=Transaction.NONE)

    def given(self) -> StreamState:
        """The state after the sink got all held frames."""
        is_held = self.transaction is Transaction.HELD
        return StreamState(self.db, self.db, Transaction.OPEN if is_held else self.transaction)

    def given_up_to(self, offset: int, sink_db: int, *, in_transaction: bool) -> StreamState:
        """The state if the sink got only the held frames up to this offset.

        ``sink_db`` and ``in_transaction``: of the sink after them. A MULTI that it did not get stays held: its
        transaction may have been dropped before the SELECT at ``offset``.
        """
        held = tuple(each for each in self.held if each.offset > offset or (len(each.argv) == 1 and not in_transaction))
        return StreamState(self.db, sink_db, Transaction.OPEN if in_transaction else self.transaction, held)

    def text(self) -> str:
        """As JSON; empty for the state at the beginning."""
        if self == StreamState():
            return ""
        held = [[each.offset, *(word.decode() for word in each.argv)] for each in self.held]
        return json.dumps([self.db, self.sink_db, int(self.transaction), held], separators=(",", ":"))


def state_of(text: str) -> StreamState:
    """The state whose :meth:`StreamState.text` this is. Raises ``ValueError`` for any other text."""
    if not text:
        return StreamState()
    try:
        told: Any = json.loads(text)
        db, sink_db, transaction, held = told
        frames = tuple(HeldFrame(int(offset), tuple(word.encode() for word in words)) for offset, *words in held)
        state = StreamState(int(db), int(sink_db), Transaction(transaction), frames)
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    if state.text() != text:
        raise ValueError("it is no state of a stream")
    return state
