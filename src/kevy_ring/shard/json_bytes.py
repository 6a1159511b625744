"""Bytes in JSON: a string if they are UTF-8, else an object ``{"base64": "..."}``."""

from __future__ import annotations

import base64
from typing import Any

from kevy_ring.events import BytesLike


def text_or_base64(item: BytesLike) -> str | dict[str, str]:
    """The JSON of some bytes."""
    try:
        return str(item, "utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(item).decode()}


def bytes_of(item: Any) -> bytes:
    """The bytes, read back. Raises ``ValueError`` for anything that is neither form."""
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, dict) and isinstance(item.get("base64"), str):
        return base64.b64decode(item["base64"], validate=True)
    raise ValueError(f"{item!r} is neither text nor base64")


def argv_of(items: Any) -> list[bytes]:
    """The arguments of a command, read back. Raises ``ValueError`` for anything else."""
    if not isinstance(items, list) or not items:
        raise ValueError("no arguments")
    return [bytes_of(item) for item in items]
