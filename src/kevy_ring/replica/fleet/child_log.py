"""Log records of a fleet's processes: a child sends them over its line, and the parent logs them as its own.

A child that wrote to standard error itself would spoil the parent's view, and its lines would not name the shard.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import NamedTuple

#: The least level that a child sends if the parent's logger has none.
DEFAULT_LEVEL = logging.WARNING


class SentRecord(NamedTuple):
    """What a child sends of a log record. ``created``: Unix seconds."""

    created: float
    level: int
    logger: str
    text: str


def wanted_level() -> int:
    """The least level that this process logs of the package."""
    return logging.getLogger("kevy_ring").getEffectiveLevel()


class LineLog(logging.Handler):
    """Sends each record by ``tell(topic, *facts)``, except those of the loggers in ``told_otherwise``."""

    def __init__(self, tell: Callable[..., None], text_max: int, told_otherwise: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._tell = tell
        self._text_max = text_max
        self._told_otherwise = told_otherwise

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):
            if record.name not in self._told_otherwise:
                text = record.getMessage()
                if record.exc_info:
                    text += "\n" + logging.Formatter().formatException(record.exc_info)
                self._tell("record", SentRecord(record.created, record.levelno, record.name, text[: self._text_max]))


def send_records(handler: LineLog, level: int) -> None:
    """In a child: send the package's records only to the parent.

    Records of other loggers (of a sink's own code) and Python's warnings go there too, if that code sets up no logging.
    """
    logger = logging.getLogger("kevy_ring")
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    logging.getLogger().addHandler(handler)
    logging.captureWarnings(True)


def log_of_child(shard: int, role: str, pid: int, sent: SentRecord) -> None:
    """In the parent: log a record of the child of ``shard`` that has the task ``role``.

    The record has the attributes ``shard``, ``role`` and ``said``, the message without the number of the shard.
    """
    logger = logging.getLogger(sent.logger)
    # The child has decided about the records of other loggers.
    if logger.isEnabledFor(sent.level) or sent.logger.partition(".")[0] != "kevy_ring":
        record = logging.LogRecord(sent.logger, sent.level, "", 0, "shard %d: %s", (shard, sent.text), None)
        record.created, record.process = sent.created, pid
        record.__dict__.update(shard=shard, role=role, said=sent.text)
        logger.handle(record)
