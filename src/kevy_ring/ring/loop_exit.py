"""How a loop was left: by its own `break` or `return`, or by an exception. Only the frame that ran it can tell."""

from __future__ import annotations

from dis import opmap
from types import FrameType

# What `break` and `return` compile to for the loop's iterator; an exception takes it off the stack without them.
_POPS = {opmap[name] for name in ("POP_TOP", "POP_ITER") if name in opmap}


def is_left_by_itself(frame: FrameType) -> bool:
    """Whether ``frame``, in the moment in which it drops a loop's iterator, does so by `break` or `return`.

    An instruction that only takes something off the stack raises nothing, so where the frame stands at one, no
    exception is on its way.
    """
    return frame.f_lasti >= 0 and frame.f_code.co_code[frame.f_lasti] in _POPS
