"""A record of several parts: a description, and buffers that are written in place.

::

    kind (1 byte), 3 bytes of zero
    the length of the description, the number of buffers, the start of the first buffer (uint32 each)
    the length of each buffer (uint64 each)
    the description
    the buffers, each at an address that is a multiple of 64

The start counts from the beginning of the payload. The sender chooses it by the address, because a payload begins at
any multiple of 8. Each buffer begins at the first multiple of 64 behind the one before it. Both processes map the ring
at a page, so an address is aligned in both or in none.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ctypes import addressof, c_char
from typing import Any

import numpy.typing as npt
from numpy import ndarray

_HEAD = struct.Struct("<B3xIII")
ALIGNMENT = 64  # a cache line, and what the widest vector instructions like best


class Parts:
    """A record that is written in place: ``description`` as it is, and each of ``arrays`` with one copy into the ring.

    ``kind``: 1 to 127, the first byte of the record. ``strides``: how each array lies in the record, as its strides in
    bytes there; None: all as they lie in memory. Without them each array has to be contiguous.

        parts = Parts(1, b"pixels", [np.zeros((1080, 1920), np.uint8)])  # what encode() of a codec returns
    """

    __slots__ = ("_front", "_length", "arrays", "description", "kind", "strides")

    def __init__(
        self,
        kind: int,
        description: bytes,
        arrays: Sequence[npt.NDArray[Any]],
        strides: Sequence[tuple[int, ...]] | None = None,
    ) -> None:
        self.kind = kind
        self.description = description
        self.arrays = arrays
        self.strides = strides if strides is not None else [array.strides for array in arrays]
        lengths = [array.nbytes for array in arrays]
        self._front = struct.pack(f"<{len(lengths)}Q", *lengths) + description
        self._length = _HEAD.size + len(self._front) + ALIGNMENT * len(lengths) + sum(lengths)

    def __len__(self) -> int:
        """The most bytes that the record needs, at any address."""
        return self._length

    def write_into(self, view: memoryview) -> int:
        """Write the record at the beginning of ``view``, which has ``len(self)`` bytes. Returns the bytes of it."""
        end = _HEAD.size + len(self._front)
        start = first = end + -(addressof(c_char.from_buffer(view)) + end) % ALIGNMENT
        head = _HEAD.pack(self.kind, len(self.description), len(self.arrays), first)
        view[:end] = head + self._front
        for array, strides in zip(self.arrays, self.strides, strict=True):
            ndarray(array.shape, array.dtype, view, start, strides)[...] = array
            end = start + array.nbytes
            start = end + -(end - first) % ALIGNMENT
        return end


def split_parts(record: memoryview) -> tuple[memoryview, list[memoryview]]:
    """The description of a record of :class:`Parts` and its buffers, as views of ``record``, for ``decode`` of a codec.

    Raises ``ValueError`` if one of them lies outside of the record.

        parts = Parts(1, b"pixels", [np.zeros((1080, 1920), np.uint8)])
        record = memoryview(bytearray(len(parts)))
        description, (pixels,) = split_parts(record[: parts.write_into(record)])
    """
    if len(record) < _HEAD.size:
        raise ValueError(f"a record of {len(record)} bytes is too short")
    _, described, count, first = _HEAD.unpack_from(record)
    head = _HEAD.size + 8 * count
    if head + described > len(record):
        raise ValueError("the description ends outside of the record")
    description = record[head : head + described]
    buffers, start = [], first
    end = head + described
    for length in struct.unpack_from(f"<{count}Q", record, _HEAD.size):
        if start < end or start + length > len(record):
            raise ValueError("a buffer lies outside of the record")
        end = start + length
        buffers.append(record[start:end])
        start = end + -(end - first) % ALIGNMENT
    if end != len(record):
        raise ValueError("there are bytes behind the last part")
    return description, buffers
