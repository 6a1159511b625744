"""The log of one run: standard library logging, with one handler on standard error while the run lasts."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TextIO

import click

from kevy_ring.cli.failure import Failure
from kevy_ring.cli.log.formats import JSON, JsonFormat, TextFormat, note_of
from kevy_ring.cli.log.note import Note
from kevy_ring.cli.redaction import without_secrets
from kevy_ring.errors import KevyRingError

_log = logging.getLogger(__name__)

LOG_INTERVAL_S = 60.0
#: What these report is narrated from the events of the fleet, with the stalls among them.
_NARRATED = ("kevy_ring.replica.fleet.fleet", "kevy_ring.replica.stall_watch")


@dataclass(frozen=True, slots=True)
class LogOptions:
    """``log_level``: the least level that is logged. ``log_interval_s``: between two lines about the progress; None: no
    such lines. ``log_format``: ``"text"`` or ``"json"``; None: text, or no log if the run writes JSON objects."""

    log_level: int = logging.INFO
    log_interval_s: float | None = LOG_INTERVAL_S
    log_format: str | None = None


class RunLog:
    """Writes what the modules log, what other processes log, and the notes of the run. Use it as a context.

    ``is_on``: False if there is no log. ``show``: shows a record in place of standard error (a live table sets it).
    ``report``: receives the texts that ``--json`` writes as notes.
    """

    def __init__(self, options: LogOptions, *, as_json: bool = False) -> None:
        self.options = options
        self.is_on = options.log_format is not None or not as_json
        self.is_json = options.log_format == JSON
        self.show: Callable[[logging.LogRecord], None] | None = None
        self.report: Callable[[str, bool], None] | None = None
        self._format = JsonFormat() if self.is_json else TextFormat()
        # Notes of a run with --json are independent of the log's level.
        self._level = min(options.log_level, logging.INFO) if as_json else options.log_level
        # Now: a live table replaces sys.stderr. It is None if the process has no standard error.
        self._out: TextIO | None = sys.stderr
        self._taken = _Taken(self._take)
        self._before = (logging.NOTSET, True)

    def tell(self, note: Note) -> None:
        """Log a note."""
        _log.log(note.level, "%s", note.text, extra={"note": note})

    def is_with(self, out: TextIO) -> bool:
        """Whether the log goes to the same file or terminal as ``out``."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            return self.is_on and os.path.samestat(os.fstat(out.fileno()), os.fstat(sys.stderr.fileno()))
        return self.is_on and out is sys.stderr

    @contextlib.contextmanager
    def failure_in_json(self) -> Iterator[None]:
        """Log the failure that ends the command, if the log is JSON: a line of text would break it."""
        try:
            yield
        except click.UsageError:
            raise  # also the other commands say that as text
        except (Failure, KevyRingError, click.ClickException, KeyboardInterrupt) as error:
            if not self.is_json:
                raise
            text = error.format_message() if isinstance(error, click.ClickException) else str(error) or "interrupted"
            text = " ".join(text.split())
            facts = {"exit_code": 1, "problem": text}
            self.tell(Note(f"failed, exit code 1: {text}", logging.ERROR, event="end", facts=facts))
            raise click.exceptions.Exit(1) from error

    def _take(self, record: logging.LogRecord) -> None:
        if record.name in _NARRATED:
            return
        if self.is_on and record.levelno >= self.options.log_level:
            # A log that cannot be written (a full disk, a reader that has gone) must not end the run.
            with contextlib.suppress(OSError, ValueError):
                if self.show is not None:
                    self.show(record)
                elif self._out is not None:
                    print(self._format.format(record), file=self._out, flush=True)
        if self.report is not None:
            note = note_of(record)
            # A note says itself whether it is part of the report. Of other records, warnings are.
            text = note.report or (record.getMessage() if note.event == "log" and note.level >= logging.WARNING else "")
            if text:
                self.report(without_secrets(text), note.level >= logging.WARNING)

    def __enter__(self) -> RunLog:
        logger = logging.getLogger("kevy_ring")
        self._before = (logger.level, logger.propagate)
        logger.setLevel(self._level)
        logger.propagate = False
        logger.addHandler(self._taken)
        # Records of other packages, of a sink's own code, and Python's warnings: a bare line would break the log.
        logging.getLogger().addHandler(self._taken)
        logging.captureWarnings(True)
        return self

    def __exit__(self, *exc_info: object) -> None:
        logging.captureWarnings(False)
        logging.getLogger().removeHandler(self._taken)
        logger = logging.getLogger("kevy_ring")
        logger.removeHandler(self._taken)
        logger.level, logger.propagate = self._before
        logger.setLevel(logger.level)  # forgets which levels are enabled


class _Taken(logging.Handler):
    """Gives each record to a function."""

    def __init__(self, take: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        self._take(record)
