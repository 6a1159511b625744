"""Judges the frames of a batch by its columns: a few numpy calls for a batch, and no Python object for a frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np

from kevy_ring.shard.filters.border import DROP, READ, RULED, TAKE
from kevy_ring.shard.filters.key_filter import KeyFilter
from kevy_ring.shard.filters.key_positions import POSITIONS

if TYPE_CHECKING:
    import numpy.typing as npt

    from kevy_ring.inbox import Batch

# A name is compared as one integer: its first eight bytes, mixed with the next eight. A client may type a name in any
# case, and a primary passes it on as typed. Setting bit 5 makes upper case letters lower case.
_WORD = 8
_NAME_MAX = 2 * _WORD
_BIT_5 = np.uint64(int.from_bytes(b" " * _WORD, "little"))
_MIX = np.uint64(0x9E3779B97F4A7C15)
#: By the number of bytes: which bits of a word are the name's.
_MASKS = np.array([(1 << 8 * length) - 1 for length in range(_WORD + 1)], "<u8")
_CONTROL = frozenset((b"SELECT", b"MULTI", b"EXEC", b"DISCARD"))
#: The commands whose only key is the first argument.
ONE_KEY = frozenset(
    name
    for name, positions in POSITIONS.items()
    if positions == (1, 1, 1) and name not in RULED | {b"SPUBLISH", b"CLUSTERSCAN"} and len(name) <= _NAME_MAX
)


class FrameJudge:
    """Judges frames for one filter."""

    def __init__(self, chosen: KeyFilter) -> None:
        self._filter = chosen
        table: dict[int, int] = {}
        for name in sorted(ONE_KEY - _CONTROL):
            table[code_of(name)] = TAKE if not chosen.commands or name in chosen.commands else DROP
        self._codes = np.array(sorted(table), "<u8")
        self._verdicts = np.array([table[code] for code in sorted(table)], np.uint8)
        self._prefix = None if chosen.prefix is None else np.frombuffer(chosen.prefix, np.uint8)

    def judge(self, batch: Batch) -> npt.NDArray[np.uint8]:
        """The verdict on each frame of a batch that holds only frames. A key is not yet compared by its database."""
        argcs = batch.argcs.astype(np.intp)
        payloads = batch.starts.astype(np.intp)
        parts = np.frombuffer(batch.buffer, "<u4")
        first = payloads // 4  # a payload: the number of arguments, the end of each argument, the arguments
        name_ends = parts.take(first + 1, mode="clip").astype(np.intp)
        verdicts = self._by_name(parts, first + argcs + 1, name_ends)
        texts = payloads + 4 + 4 * argcs
        starts = texts + name_ends
        ends = texts + parts.take(first + 2, mode="clip").astype(np.intp)
        # Ends that cannot be right are left to the code that reads the whole frame, and finds the ring corrupt.
        is_sound = (argcs >= 2) & (starts <= ends) & (ends <= payloads + batch.lengths)
        verdicts[(verdicts == TAKE) & ~is_sound] = READ
        taken = np.flatnonzero(verdicts == TAKE)
        if len(taken):
            verdicts[taken] = self._by_key(batch.buffer, starts[taken], ends[taken])
        return verdicts

    def _by_name(
        self, parts: npt.NDArray[np.uint32], firsts: npt.NDArray[np.intp], lengths: npt.NDArray[np.intp]
    ) -> npt.NDArray[np.uint8]:
        codes = _word(parts, firsts, np.minimum(lengths, _WORD))
        if bool((lengths > _WORD).any()):
            codes ^= _word(parts, firsts + 2, np.clip(lengths - _WORD, 0, _WORD)) * _MIX
        at = np.searchsorted(self._codes, codes)
        at[at == len(self._codes)] = 0
        is_found = (self._codes[at] == codes) & (lengths <= _NAME_MAX)
        return np.where(is_found, self._verdicts[at], np.uint8(READ))

    def _by_key(
        self, buffer: memoryview, starts: npt.NDArray[np.intp], ends: npt.NDArray[np.intp]
    ) -> npt.NDArray[np.uint8]:
        prefix = self._prefix
        if prefix is not None:
            texts = np.frombuffer(buffer, np.uint8)
            heads = texts.take(starts[:, None] + np.arange(len(prefix)), mode="clip")
            passing = (heads == prefix).all(axis=1) & (ends - starts >= len(prefix))
            return np.where(passing, np.uint8(TAKE), np.uint8(DROP))
        wanted, unwanted = self._filter.matchers
        spans = starts.tolist(), ends.tolist()
        passing = np.ones(len(starts), bool)
        if wanted is not None:
            passing &= _matched(wanted, buffer, *spans)
        if unwanted is not None:
            passing &= ~_matched(unwanted, buffer, *spans)
        return np.where(passing, np.uint8(TAKE), np.uint8(DROP))


def code_of(name: bytes) -> int:
    """The integer by which a name of at most sixteen bytes is compared."""
    padded = np.frombuffer(name.ljust(_NAME_MAX, b"\0"), "<u4")
    lengths = np.array([min(len(name), _WORD)]), np.array([max(0, len(name) - _WORD)])
    code = _word(padded, np.array([0]), lengths[0]) ^ (_word(padded, np.array([2]), lengths[1]) * _MIX)
    return int(code[0])


def _word(
    parts: npt.NDArray[np.uint32], at: npt.NDArray[np.intp], lengths: npt.NDArray[np.intp]
) -> npt.NDArray[np.uint64]:
    word = parts.take(at + 1, mode="clip").astype("<u8") << np.uint64(32)
    word |= parts.take(at, mode="clip")
    word |= _BIT_5
    word &= _MASKS.take(lengths, mode="clip")
    return word


def _matched(
    match: Callable[..., object], buffer: memoryview, starts: Iterable[int], ends: Iterable[int]
) -> npt.NDArray[np.bool_]:
    return np.array([found is not None for found in map(match, repeat(buffer), starts, ends)], bool)
