"""Numpy arrays without pickle: shape, strides and dtype describe one buffer."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from kevy_ring.objects.dtypes import any_text, dtype_of
from kevy_ring.objects.parts import Parts, split_parts

ARRAY = 2  # the kind of such a record
#: For each number of dimensions: that number, the shape and the strides. Numpy has at most 64 dimensions.
_LAYOUTS = tuple(struct.Struct(f"<B{2 * dimensions}q") for dimensions in range(65))


def _dense_strides(array: npt.NDArray[Any]) -> tuple[int, ...]:
    """Strides without gaps, with the axes in the order in which they lie in memory."""
    flags = array.flags
    if array.size and (flags.c_contiguous or flags.f_contiguous):
        return array.strides
    strides, step = [0] * array.ndim, array.itemsize
    for axis in sorted(range(array.ndim), key=lambda i: (abs(array.strides[i]), -i)):
        strides[axis] = step
        step *= max(1, array.shape[axis])
    return tuple(strides)


def array_parts(array: npt.NDArray[Any], text: bytes) -> Parts:
    """The record of an array. ``text``: that of its dtype."""
    strides = _dense_strides(array)
    description = _LAYOUTS[array.ndim].pack(array.ndim, *array.shape, *strides) + text
    return Parts(ARRAY, description, (array,), (strides,))


def array_of(description: memoryview, buffer: bytearray | memoryview) -> npt.NDArray[Any]:
    """The array over ``buffer``. Raises ``ValueError``, ``TypeError`` or ``struct.error`` for a bad description."""
    dimensions = description[0]
    if dimensions >= len(_LAYOUTS):
        raise ValueError(f"an array of {dimensions} dimensions")
    layout = _LAYOUTS[dimensions]
    _, *numbers = layout.unpack_from(description)
    shape, strides = numbers[:dimensions], numbers[dimensions:]
    dtype = dtype_of(bytes(description[layout.size :]))
    if math.prod(shape) * dtype.itemsize != len(buffer):
        raise ValueError(f"an array of shape {tuple(shape)} and {dtype!r} in a buffer of {len(buffer)} bytes")
    return np.ndarray(shape, dtype, buffer, 0, strides)  # it checks that all elements lie in the buffer


class ArrayCodec:
    """Numpy arrays only, without pickle: no record makes this receiver run code.

    An array of any shape and strides, with a dtype of numbers, times, text, bytes, or of such fields. What is not
    contiguous is packed while it is written into the ring, and the order of its axes stays. ``encode`` raises
    ``TypeError`` for anything else, also for subclasses such as masked arrays, and for dtypes that hold objects.

        sender, receiver = object_pair(codec=ArrayCodec())
        sender.send(np.arange(1000.0))
    """

    def encode(self, obj: Any) -> Parts:
        """The record of ``obj``, an array. Raises ``TypeError`` for anything else."""
        if type(obj) is not np.ndarray:
            raise TypeError(
                f"ArrayCodec sends numpy arrays, not {type(obj).__name__}: use np.asarray(), or PickleCodec"
            )
        return array_parts(obj, any_text(obj.dtype))

    def decode(self, record: bytes | memoryview, copies: bool) -> npt.NDArray[Any]:
        """The array of a record. With ``copies`` an owned one that may be written, else a read-only view of ``record``.

        Raises ``ValueError`` for a record of another kind.
        """
        if not len(record) or record[0] != ARRAY:
            raise ValueError("the record is no array: both ends need the same codec")
        description, (buffer,) = split_parts(memoryview(record))
        return array_of(description, bytearray(buffer) if copies else buffer)
