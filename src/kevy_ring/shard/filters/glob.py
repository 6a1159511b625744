"""Redis's glob patterns on bytes, as regular expressions: ``*``, ``?``, ``[a-c]``, ``[^a-c]`` and the backslash.

The rules are those of KEYS and SCAN MATCH: https://redis.io/docs/latest/commands/keys/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_STAR, _ANY, _CLASS, _ESCAPE = b"*?[\\"
_NOT, _END, _RANGE = b"^]-"


def glob_regex(pattern: bytes) -> bytes:
    """The regular expression of ``pattern``, for ``fullmatch`` with DOTALL.

    A text is tried once at each star and never again, so a pattern with many stars needs no exponential time.
    """
    fixed: list[bytes] = [b""]
    for part in _parts(pattern):
        if part is None:
            fixed.append(b"")
        else:
            fixed[-1] += part
    if len(fixed) == 1:
        return fixed[0]
    first, *middle, last = fixed
    return first + b"".join(b"(?>.*?%b)" % part for part in middle if part) + b".*" + last


def literal_prefix(pattern: bytes) -> bytes | None:
    """The text before the star, if ``pattern`` is such a text and one star at its end; else None."""
    text = pattern[:-1]
    is_plain = pattern.endswith(b"*") and not any(special in text for special in b"*?[\\")
    return text if is_plain else None


def _parts(pattern: bytes) -> Iterator[bytes | None]:
    """The regular expression of each element of the pattern; None for a star."""
    at = 0
    while at < len(pattern):
        byte = pattern[at]
        at += 1
        if byte == _STAR:
            yield None
        elif byte == _ANY:
            yield b"."
        elif byte == _CLASS:
            part, at = _class(pattern, at)
            yield part
        else:
            if byte == _ESCAPE and at < len(pattern):
                byte = pattern[at]
                at += 1
            yield re.escape(bytes((byte,)))


def _class(pattern: bytes, at: int) -> tuple[bytes, int]:
    """The class that begins at ``at``, and where the pattern continues. Without a ``]`` it ends with the pattern."""
    is_negated = pattern[at : at + 1] == b"^"
    at += is_negated
    members: set[int] = set()
    while at < len(pattern) and pattern[at] != _END:
        if pattern[at] == _ESCAPE and at + 1 < len(pattern):
            members.add(pattern[at + 1])
            at += 2
        elif at + 2 < len(pattern) and pattern[at + 1] == _RANGE:
            low, high = sorted((pattern[at], pattern[at + 2]))
            members.update(range(low, high + 1))
            at += 3
        else:
            members.add(pattern[at])
            at += 1
    if is_negated:
        members = set(range(256)) - members
    if not members:
        return b"(?!)", at + 1
    return b"[" + b"".join(b"\\x%02x" % member for member in sorted(members)) + b"]", at + 1
