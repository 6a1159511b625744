"""Tells whether a loop was left by `break` or `return`, or by an exception. Only the frame of the loop shows it."""

from __future__ import annotations

import sys
from dis import opmap
from types import FrameType

# The Python versions whose byte code this module knows. On other versions it never reports a `break`. So no record is
# released that may not have been processed: the records of that batch are drained again.
_KNOWN = {(3, 11), (3, 12), (3, 13)}


def pops_of(version: tuple[int, ...]) -> frozenset[int]:
    """The instructions with which `break` and `return` drop the loop's iterator. An exception uses none of them."""
    return frozenset({opmap["POP_TOP"]}) if version in _KNOWN else frozenset()


_POPS = pops_of(sys.version_info[:2])


def is_left_by_itself(frame: FrameType) -> bool:
    """Whether ``frame``, which drops a loop's iterator now, does so for a `break` or `return`.

    An instruction that only pops the stack raises nothing. So if the frame is at one, there is no exception.
    """
    return bool(_POPS) and frame.f_lasti >= 0 and frame.f_code.co_code[frame.f_lasti] in _POPS
