"""How much of its log of changes a sink keeps."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass

_log = logging.getLogger(__name__)
_TELL_EVERY_S = 600.0

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_BITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_AGE = re.compile(r"(\d+)([smhdw])")
_SIZE = re.compile(r"(\d+)([KMGT]?)i?B", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Retention:
    """At most one limit is set; without one, all changes are kept.

    ``max_age_s``: older changes are removed, by the time at which they arrived. ``max_bytes``: the oldest are removed
    so that the log stays below it. 0 bytes: no change is kept that the sink's state does not need.
    ``text``: the limit as the user wrote it.

        >>> Retention.parse("7d").max_age_s
        604800
        >>> Retention.parse("10GB").max_bytes
        10737418240
    """

    max_age_s: int | None = None
    max_bytes: int | None = None
    text: str = "forever"

    @classmethod
    def parse(cls, text: str) -> Retention:
        """The retention of ``text``.

        It is ``off``, ``forever``, an age in s, m, h, d or w, or a size in B, KB, MB, GB or TB (powers of 1024). Raises
        ValueError for anything else, and for a limit of 0.
        """
        if text == "forever":
            return cls()
        if text == "off":
            return cls(max_bytes=0, text=text)
        if (age := _AGE.fullmatch(text)) and int(age[1]):
            return cls(max_age_s=int(age[1]) * _SECONDS[age[2]], text=text)
        if (size := _SIZE.fullmatch(text)) and int(size[1]):
            return cls(max_bytes=int(size[1]) << _BITS[size[2].upper()], text=text)
        raise ValueError(f"{text!r} is none of: off, forever, an age (30m, 12h, 7d), a size (500MB, 10GB)")

    @property
    def is_off(self) -> bool:
        """Whether no log is kept."""
        return self.max_bytes == 0

    @property
    def is_forever(self) -> bool:
        """Whether nothing is removed."""
        return self.max_bytes is None and self.max_age_s is None

    def __str__(self) -> str:
        return self.text


FOREVER = Retention()


class RemovalLog:
    """Counts the changes that a sink removed, and says so: the first time at once, then at most every ten minutes."""

    def __init__(self, sink: str, retention: Retention) -> None:
        self.count = 0
        self.size_bytes = 0
        self._told: tuple[float, int, int] | None = None
        self._sink = sink
        self._retention = retention

    def note(self, count: int, size_bytes: int, upto: int | None) -> None:
        """Some were removed. ``upto``: the offset of the last one, if it is known."""
        self.count += count
        self.size_bytes += size_bytes
        now = time.monotonic()
        if self._told is None:
            _log.warning(
                "%s: removes old changes, the oldest first, because of --changes %s: %s",
                *(self._sink, self._retention, _words(count, size_bytes, upto)),
            )
        elif now - self._told[0] < _TELL_EVERY_S:
            return
        else:
            _, before, bytes_before = self._told
            words = _words(self.count - before, self.size_bytes - bytes_before, upto)
            _log.warning("%s: removed since the last line: %s", self._sink, words)
        self._told = (now, self.count, self.size_bytes)


def _words(count: int, size_bytes: int, upto: int | None) -> str:
    end = "" if upto is None else f", up to offset {upto}"
    return f"{count:,} changes, {size_bytes:,} bytes{end}"
