"""A size in bytes as a parameter of the command: ``8MiB``, ``64k``, ``4096``."""

from __future__ import annotations

import re
from typing import Any

import click

_UNITS = {"": 0, "k": 10, "m": 20, "g": 30}
_FORM = re.compile(r"(\d+)\s*([kmg]?)(?:i?b)?", re.IGNORECASE)


class ByteSize(click.ParamType):  # type: ignore[type-arg, unused-ignore] # generic in newer versions of click
    """Bytes, with an optional K, M or G (powers of 1024, with or without iB). ``power_of_two``: refuse other sizes."""

    name = "SIZE"

    def __init__(self, *, power_of_two: bool = False) -> None:
        self._power_of_two = power_of_two

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = _FORM.fullmatch(value.strip())
        if found is None:
            self.fail(f"{value!r} is not a size: 8MiB, 512K, 65536, ...", param, ctx)
        size = int(found[1]) << _UNITS[found[2].lower()]
        if self._power_of_two and (size < 4096 or size & (size - 1)):
            self.fail(f"{value!r} is not a power of two of at least 4 KiB: 64K, 1MiB, 8MiB, ...", param, ctx)
        return size
