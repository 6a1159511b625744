"""How a loop was left: by its own `break` or `return`, or by an exception. Only the frame that ran it can tell."""

from __future__ import annotations

import sys
from dis import opmap
from types import FrameType

# The Pythons whose byte code this module knows. On any other one it never claims that a loop was left by `break`. Then
# no record is released that may not have been processed, and the records of that batch are drained again.
_KNOWN = {(3, 11), (3, 12), (3, 13)}


def pops_of(version: tuple[int, ...]) -> frozenset[int]:
    """What `break` and `return` compile to for the loop's iterator. An exception drops the iterator without them."""
    return frozenset({opmap["POP_TOP"]}) if version in _KNOWN else frozenset()


_POPS = pops_of(sys.version_info[:2])


def is_left_by_itself(frame: FrameType) -> bool:
    """Whether ``frame``, in the moment in which it drops a loop's iterator, does so by `break` or `return`.

    An instruction that only takes something off the stack raises nothing. So if the frame stands at one, there is no
    exception on its way.
    """
    return bool(_POPS) and frame.f_lasti >= 0 and frame.f_code.co_code[frame.f_lasti] in _POPS
