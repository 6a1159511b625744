"""A dead letter: one command, event or key that a sink could not take, as one line of JSON."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from kevy_ring.shard.json_bytes import argv_of, bytes_of, text_or_base64

#: Why there is a letter: the sink answered with an error; the callable raised; the snapshot's decoder cannot read it.
REFUSED, RAISED, UNREADABLE = "refused", "raised", "unreadable"
_KINDS = (REFUSED, RAISED, UNREADABLE)
_ID_HEX = 24
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


@dataclass(frozen=True, slots=True)
class Origin:
    """Where letters come from: the upstream (without a login), its shard, and the sink that could not take them."""

    sink: str
    upstream: str = ""
    shard: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One letter.

    ``argv``: the whole command. For a key that cannot be read it is empty, or a RESTORE of its value. ``offset``: of
    the event; of the last frame that a snapshot contains; None: it is not known. ``number``: the place within the
    transaction that ended at ``offset``, from 0; None: outside a transaction. ``key`` and ``type``: of a key that
    cannot be read. ``history``: of the upstream's stream.
    """

    kind: str
    offset: int | None
    db: int
    argv: tuple[bytes, ...]
    error: str
    at_ms: int
    origin: Origin
    history: str = ""
    number: int | None = None
    key: bytes = b""
    type: str = ""
    id: str = field(default="", compare=False)

    @property
    def identity(self) -> str:
        """The same for each line of the same event, and different for other events."""
        what = [
            *(self.kind, self.history, self.origin.upstream, self.origin.shard, self.offset, self.number, self.db),
            *(self.key.hex(), [item.hex() for item in self.argv]),
        ]
        return hashlib.sha256(_encode(what).encode()).hexdigest()[:_ID_HEX]

    def line(self) -> bytes:
        """The letter as a line. Bytes that are not UTF-8 are objects with ``base64``, as in the jsonl sink."""
        content: dict[str, Any] = {
            "id": self.identity,
            "kind": self.kind,
            "offset": self.offset,
            "db": self.db,
            "argv": [text_or_base64(item) for item in self.argv],
            "error": self.error,
            "at_ms": self.at_ms,
            "upstream": self.origin.upstream,
            "history": self.history,
            "shard": self.origin.shard,
            "sink": self.origin.sink,
        }
        if self.number is not None:
            content["number"] = self.number
        if self.kind == UNREADABLE:
            content |= {"key": text_or_base64(self.key), "type": self.type}
        # A lone surrogate of an error's text has no UTF-8.
        return _encode(content).encode("utf-8", "backslashreplace") + b"\n"

    @property
    def words(self) -> str:
        """The letter for people: what it is and where it stood."""
        if self.kind == UNREADABLE:
            what = f"{self.type} {_shown(self.key)}"
        else:
            what = " ".join(map(_shown, self.argv[:2])) + (" ..." if len(self.argv) > 2 else "")
        inside = "" if self.number is None else f", command {self.number + 1} of a transaction"
        return f"{what} (shard {self.origin.shard}, database {self.db}, offset {self.offset}{inside})"


def letter_of(line: bytes) -> DeadLetter:
    """The letter of a line. Raises ValueError for a line that is no letter."""
    content = json.loads(line)
    if not isinstance(content, dict) or content.get("kind") not in _KINDS or not isinstance(content.get("id"), str):
        raise ValueError("it is no dead letter")
    key = content.get("key")
    argv = content.get("argv")
    texts = {name: content.get(name, "") for name in ("error", "upstream", "history", "sink", "type")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("a text of it is no text")
    return DeadLetter(
        kind=content["kind"],
        offset=_number(content.get("offset")),
        db=_number(content.get("db")) or 0,
        argv=tuple(argv_of(argv)) if argv else (),
        error=texts["error"],
        at_ms=_number(content.get("at_ms")) or 0,
        origin=Origin(texts["sink"], texts["upstream"], _number(content.get("shard")) or 0),
        history=texts["history"],
        number=_number(content.get("number")),
        key=bytes_of(key) if key is not None else b"",
        type=texts["type"],
        id=content["id"],
    )


def _number(value: Any) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise ValueError(f"{value!r} is no number of it")
    return value


def _shown(item: bytes) -> str:
    text = item[:60].decode("utf-8", "backslashreplace")
    return (repr(text) if not text.isalnum() else text) + ("..." if len(item) > 60 else "")
