"""Applies dead letters to the sink that could not take them, each at most once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kevy_ring.errors import SinkError
from kevy_ring.shard.filters.key_positions import named_keys
from kevy_ring.shard.refused.letter import DeadLetter
from kevy_ring.shard.refused.marks import ReplayMark, ReplayMarks
from kevy_ring.shard.snapshot import shown_name

#: Parts of a transaction or of the connection. Alone they have no meaning.
_NOT_ALONE = frozenset((b"MULTI", b"EXEC", b"DISCARD", b"SELECT"))


class ReplayTarget(Protocol):
    """A sink that takes commands beside the stream: its position in the stream does not move."""

    def existing(self, db: int, keys: Sequence[bytes]) -> list[bytes] | None:
        """Which of these keys the sink holds; None: it cannot tell."""

    def apply(self, letter: DeadLetter) -> str | None:
        """Apply one command, and return when the sink has it for good. Returns the error text of a refusal.

        Raises SinkError if the sink cannot be reached or cannot store.
        """

    def close(self) -> None:
        """Release everything."""


@dataclass(slots=True)
class Replayed:
    """What became of the letters. Each list has the letter and the reason, in words."""

    applied: int = 0
    already: int = 0
    failed: list[str] = field(default_factory=list)
    held_back: list[str] = field(default_factory=list)
    uncertain: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether every letter is applied."""
        return not (self.failed or self.held_back or self.uncertain or self.unreadable)


def replay(
    letters: Sequence[DeadLetter],
    marks: ReplayMarks,
    target_of: Callable[[DeadLetter], ReplayTarget],
    *,
    over_existing: bool = False,
    again: bool = False,
) -> Replayed:
    """Apply the letters in order. ``target_of``: the sink of a letter's shard.

    A later change of the same key may be in the sink already. So a command is held back if the sink holds one of its
    keys, or if the command names no key; ``over_existing`` applies it. A letter that an earlier replay began and did
    not end may be in the sink; ``again`` applies it. Raises SinkError as the target does.
    """
    done = Replayed()
    for letter in letters:
        mark = marks.of(letter)
        if mark is ReplayMark.DONE:
            done.already += 1
        elif not letter.argv:
            done.unreadable.append(f"{letter.words}: its value is not in the letter. A full sync brings it, if it can")
        elif mark is ReplayMark.BEGUN and not again:
            words = "an earlier replay ended while the sink took it (--again applies it, perhaps twice)"
            done.uncertain.append(f"{letter.words}: {words}")
        elif why := _held_back(letter, target_of(letter), over_existing=over_existing):
            done.held_back.append(f"{letter.words}: {why}")
        else:
            _apply(letter, marks, target_of(letter), done)
    return done


def _apply(letter: DeadLetter, marks: ReplayMarks, target: ReplayTarget, done: Replayed) -> None:
    marks.put(letter, ReplayMark.BEGUN)
    try:
        refused = target.apply(letter)
    except SinkError as error:
        if error.reason == "refused":
            # The sink answered, so it is known that it has not taken the command.
            marks.put(letter, ReplayMark.FAILED, str(error))
        raise
    marks.put(letter, ReplayMark.DONE if refused is None else ReplayMark.FAILED, refused or "")
    if refused is None:
        done.applied += 1
    else:
        done.failed.append(f"{letter.words}: {refused}")


def _held_back(letter: DeadLetter, target: ReplayTarget, *, over_existing: bool) -> str | None:
    if letter.argv[0].upper() in _NOT_ALONE:
        return "it has no meaning outside its transaction"
    if over_existing:
        return None
    keys = named_keys(letter.argv)
    existing = target.existing(letter.db, keys)
    if existing is None:
        return None
    if not keys:
        return "it names no key, so it may undo later changes (--over-existing applies it)"
    if existing:
        key = shown_name(existing[0])
        return f"the sink holds the key {key}, which may have later changes (--over-existing applies it)"
    return None
