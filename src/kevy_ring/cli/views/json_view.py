"""The view for programs: one JSON object per line, each with a ``type``; the last one is the summary."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from kevy_ring.cli.compare.digest import DigestComparison
from kevy_ring.cli.compare.verify import Verification
from kevy_ring.cli.ingest.outcome import Outcome, ShardOutcome
from kevy_ring.cli.ingest.progress import ShardProgress
from kevy_ring.inbox.header_words import ProducerWord

INTERVAL_S = 1.0


class JsonView:
    """Writes ``start``, ``progress`` (every second), ``note``, ``outcome`` and ``summary`` objects, one per line."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._due = 0.0

    def title(self, text: str, detail: str = "", **facts: Any) -> None:
        self._due = 0.0
        self._write("start", title=text, **facts)

    def progress(self, stage: str, elapsed: float, shards: Sequence[ShardProgress]) -> None:
        if elapsed >= self._due:
            self._due = elapsed + INTERVAL_S
            self._write("progress", stage=stage, elapsed_s=round(elapsed, 3), shards=[_shard(each) for each in shards])

    def note(self, text: str, *, is_bad: bool = False) -> None:
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
        if problem is not None and self._out is not sys.stderr:
            print(f"kevy-ring: {problem}", file=sys.stderr)

    def _write(self, kind: str, **content: Any) -> None:
        print(json.dumps({"type": kind, **content}), file=self._out, flush=True)


def outcome_object(outcome: Outcome) -> dict[str, Any]:
    """An outcome as plain values: times in seconds, sizes in bytes, null if there is no value."""
    return {
        "name": outcome.name,
        "sink": outcome.sink,
        "elapsed_s": round(outcome.seconds, 3),
        "stopped": outcome.stopped,
        "snapshot_s": _rounded(outcome.snapshot_seconds),
        "frames_s": _rounded(outcome.frame_seconds),
        "shards": [_shard_outcome(shard) for shard in outcome.shards],
        "comparison": _comparison(outcome.comparison),
        "problems": outcome.problems,
        "accepted": outcome.accepted,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def _shard(shard: ShardProgress) -> dict[str, Any]:
    ring, rates = shard.ring, shard.rates
    return {
        "shard": shard.index,
        "upstream": shard.upstream,
        "link": shard.link_state.name.lower(),
        "link_text": shard.link_text,
        "snapshot_bytes": shard.snapshot_bytes,
        "snapshot_total_bytes": shard.snapshot_total or None,
        "snapshots": shard.snapshots,
        "snapshot_keys": shard.entries,
        "frames": shard.frames,
        "refusals": shard.refusals,
        "skipped_keys": shard.skipped,
        "received_events_per_s": round(rates.in_events, 1),
        "received_bytes_per_s": round(rates.in_bytes, 1),
        "applied_events_per_s": round(rates.out_events, 1),
        "applied_bytes_per_s": round(rates.out_bytes, 1),
        "ring": ring.name if ring else None,
        "ring_used_bytes": ring.used_bytes if ring else None,
        "ring_capacity_bytes": ring.capacity if ring else None,
        "overflow_events": ring.overflow_events if ring else None,
        "overflow_bytes": ring.overflow_bytes if ring else None,
        "received_offset": shard.received_at_least,
        "applied_offset": shard.applied_offset,
        "upstream_offset": shard.upstream_offset,
    }


def _shard_outcome(shard: ShardOutcome) -> dict[str, Any]:
    facts = shard.facts
    return {
        "shard": shard.last.index,
        "upstream": shard.last.upstream,
        "full_syncs": shard.last.of_run(ProducerWord.FULL_SYNCS),
        "full_syncs_by_reason": {why.value: n for why, n in shard.last.full_syncs_by_reason_of_run.items() if n},
        "partial_syncs": shard.last.of_run(ProducerWord.PARTIAL_SYNCS),
        "reconnects": shard.last.of_run(ProducerWord.RECONNECTS),
        "restarts": shard.restarts,
        "snapshot_keys": shard.last.entries,
        "skipped_keys": shard.skipped,
        "left_out": list(facts.left_out) if facts else [],
        "frames": shard.last.frames,
        "frame_bytes": shard.last.frame_bytes,
        "refusals": facts.refusals if facts else None,
        "first_refusal": facts.first_refusal or None if facts else None,
        "changes_removed": facts.changes_removed if facts else None,
        "applied_offset": shard.last.applied_offset,
        "overflow_peak_bytes": shard.overflow_peak_bytes,
    }


def _comparison(found: Verification | DigestComparison | None) -> dict[str, Any] | None:
    if found is None:
        return None
    common = {"equal": found.is_equal, "text": str(found), "seconds": round(found.seconds, 3)}
    if isinstance(found, DigestComparison):
        return {"by": "digest", **common, "frames": found.frames, "faults": found.faults}
    return {
        "by": "keys",
        **common,
        "keys": found.compared,
        "keys_by_type": dict(sorted(found.by_type.items())),
        "different": found.different,
        "differences": [
            {"db": each.db, "key": each.key.decode("utf-8", "backslashreplace"), "text": str(each)}
            for each in found.differences
        ],
        "restless": found.restless,
        "reread": found.reread,
        "unreadable": dict(found.unreadable),
        "skipped": dict(found.skipped),
    }
