"""The view for programs: one JSON object per line, each with a ``type``; the last one is the summary."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from kevy_ring.cli.ingest.outcome import Outcome
from kevy_ring.cli.ingest.progress import ShardProgress
from kevy_ring.cli.log.note import Note
from kevy_ring.cli.log.run_log import RunLog
from kevy_ring.cli.views.objects import outcome_object, shard_object

INTERVAL_S = 1.0


class JsonView:
    """Writes ``start``, ``progress`` (every second), ``note``, ``outcome`` and ``summary`` objects, one per line."""

    def __init__(self, log: RunLog, out: TextIO | None = None) -> None:
        self._log = log
        self._out = out or sys.stdout
        self._due = 0.0
        log.report = self._noted

    def title(self, text: str, detail: str = "", **facts: Any) -> None:
        self._due = 0.0
        self._write("start", title=text, **facts)

    def progress(self, stage: str, elapsed: float, shards: Sequence[ShardProgress]) -> None:
        if elapsed >= self._due:
            self._due = elapsed + INTERVAL_S
            self._write("progress", stage=stage, elapsed_s=round(elapsed, 3), shards=list(map(shard_object, shards)))

    def note(self, text: str, *, is_bad: bool = False) -> None:
        self.tell(Note(text, logging.WARNING if is_bad else logging.INFO, report=text))

    def tell(self, note: Note) -> None:
        self._log.tell(note)

    def _noted(self, text: str, is_bad: bool) -> None:
        self._write("note", text=text, bad=is_bad)

    def outcome(self, outcome: Outcome) -> None:
        self._write("outcome", **outcome_object(outcome))

    def close(self, outcomes: Sequence[Outcome], remarks: Sequence[str], problem: str | None) -> None:
        self._write(
            "summary",
            ok=problem is None,
            exit_code=0 if problem is None else 1,
            problem=problem,
            verified=bool(outcomes) and all(outcome.is_verified for outcome in outcomes),
            snapshot_keys=sum(outcome.entries for outcome in outcomes),
            frames=sum(outcome.frames for outcome in outcomes),
            elapsed_s=round(sum(outcome.seconds for outcome in outcomes), 3),
            runs=[outcome_object(outcome) for outcome in outcomes],
        )
        if problem is not None and self._out is not sys.stderr and not self._log.is_on:
            print(f"kevy-ring: {problem}", file=sys.stderr)

    def _write(self, kind: str, **content: Any) -> None:
        print(json.dumps({"type": kind, **content}), file=self._out, flush=True)
