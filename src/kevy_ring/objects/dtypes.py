"""The dtype of an array as text, and back. No text makes a dtype that holds objects or addresses."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

import numpy as np

#: Numbers, times, text and bytes, with their byte order and their unit of time: ``<f8``, ``|S5``, ``<M8[25ns]``.
_PLAIN = re.compile(r"[<>|][biufcmMSUV?]\d{1,10}(\[\w{1,20}\])?")
_TEXT_MAX_BYTES = 1 << 16  # thousands of fields
_KEPT = 256  # dtypes of which text or dtype is remembered. A peer may send any number of them.


@lru_cache(_KEPT)
def _plain_text(dtype: np.dtype[Any]) -> bytes | None:
    text = dtype.str
    if not _PLAIN.fullmatch(text) or not dtype.itemsize or np.dtype(text) != dtype:
        return None
    return text.encode()


def plain_text(dtype: np.dtype[Any]) -> bytes | None:
    """The text of a dtype without fields; None for any other, and for one that has metadata or no size."""
    return _plain_text(dtype) if dtype.names is None and dtype.metadata is None else None


def _described(dtype: np.dtype[Any]) -> Any:
    if dtype.subdtype is not None:
        of, shape = dtype.subdtype
        return [_described(of), list(shape)]
    if dtype.names is None or dtype.fields is None:
        text = plain_text(dtype)
        if text is None:
            raise TypeError(
                f"arrays of {dtype!r} are no plain bytes: convert the array with astype(), or send it with PickleCodec"
            )
        return text.decode()
    fields = [dtype.fields[name] for name in dtype.names]
    return {
        "names": list(dtype.names),
        "formats": [_described(field[0]) for field in fields],
        "offsets": [field[1] for field in fields],
        "itemsize": dtype.itemsize,
    }


@lru_cache(_KEPT)
def any_text(dtype: np.dtype[Any]) -> bytes:
    """The text of a dtype, also of one with fields (without titles and metadata).

    Raises ``TypeError`` for a dtype that holds objects, or whose bytes mean nothing in another process.
    """
    text = plain_text(dtype) or json.dumps(_described(dtype)).encode()
    if len(text) > _TEXT_MAX_BYTES:
        raise TypeError(f"a dtype whose description has {len(text)} bytes, and at most {_TEXT_MAX_BYTES} are sent")
    return text


@lru_cache(_KEPT)
def dtype_of(text: bytes) -> np.dtype[Any]:
    """The dtype of a text of :func:`any_text`. Raises ``ValueError`` or ``TypeError`` for any other text."""
    if len(text) > _TEXT_MAX_BYTES:
        raise ValueError(f"a dtype whose description has {len(text)} bytes")
    decoded = text.decode("ascii")
    return _dtype(json.loads(decoded) if decoded[:1] in ("{", "[") else decoded)


def _dtype(described: Any) -> np.dtype[Any]:
    make: Any = np.dtype  # its stubs ask for literals
    if isinstance(described, str):
        if not _PLAIN.fullmatch(described):
            raise ValueError(f"no dtype of plain bytes: {described[:40]!r}")
        dtype: np.dtype[Any] = make(described)
        if not dtype.itemsize:
            raise ValueError(f"a dtype without a size: {described!r}")
        return dtype
    if isinstance(described, list):
        of, shape = described
        return make((_dtype(of), tuple(shape)))  # type: ignore[no-any-return]
    formats = [_dtype(each) for each in described["formats"]]
    return make({**described, "formats": formats})  # type: ignore[no-any-return]
