"""Checks the arguments of ``Producer.write_packed``: many records that lie back to back, and their lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kevy_ring.ring.record import PAYLOAD_MAX_BYTES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from kevy_ring.events import BytesLike


def uint32_lengths(lengths: npt.ArrayLike) -> Any:
    """``lengths`` as a contiguous buffer of uint32. If it is one already, it is returned as it is.

    Raises ``TypeError`` if they are not one-dimensional integers, and ``ValueError`` if one is no size of a record.
    """
    import numpy as np

    if (
        isinstance(lengths, np.ndarray)
        and lengths.dtype == np.uint32
        and lengths.ndim == 1
        and lengths.flags.c_contiguous
    ):
        return lengths
    given = np.asarray(lengths)
    if given.ndim != 1 or (given.dtype.kind not in "iu" and given.size):
        raise TypeError(f"lengths are integers of shape (n,), not {given.dtype} of shape {given.shape}")
    odd = (given < 0) | (given > PAYLOAD_MAX_BYTES)
    if odd.any():
        raise ValueError(f"a record has 0 to {PAYLOAD_MAX_BYTES} bytes, not {given[odd.argmax()]}")
    return np.ascontiguousarray(given, np.uint32)


def element_lengths(packed: object) -> npt.NDArray[np.uint32]:
    """The length of each element along the first axis of an array. Raises ``TypeError`` if it is no array."""
    import numpy as np

    if not isinstance(packed, np.ndarray) or not packed.ndim:
        name = type(packed).__name__
        raise TypeError(
            f"lengths are missing: only a numpy array of at least one dimension, and not {name}, has its own"
        )
    count = len(packed)
    size = packed.nbytes // count if count else 0
    if size > PAYLOAD_MAX_BYTES:
        raise ValueError(f"a record has 0 to {PAYLOAD_MAX_BYTES} bytes, not {size}")
    return np.full(count, size, np.uint32)


def contiguous_bytes(packed: BytesLike | npt.NDArray[Any]) -> Any:
    """The bytes of ``packed`` as a buffer. Raises ``TypeError`` if they are not contiguous, or are Python objects."""
    import numpy as np

    if not isinstance(packed, np.ndarray):
        return packed
    if packed.dtype.hasobject:
        raise TypeError(f"an array of {packed.dtype} has Python objects, which mean nothing in another process")
    if not packed.flags.c_contiguous:
        raise TypeError(f"the array is not contiguous: copy it with numpy.ascontiguousarray ({packed.strides=})")
    return packed.reshape(-1).view(np.uint8)
