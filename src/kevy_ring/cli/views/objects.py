"""Progress and outcome of a run as plain values, for JSON."""

from __future__ import annotations

from typing import Any

from kevy_ring.cli.compare.digest import DigestComparison
from kevy_ring.cli.compare.verify import Verification
from kevy_ring.cli.ingest.outcome import Outcome, ShardOutcome
from kevy_ring.cli.ingest.progress import ShardProgress
from kevy_ring.inbox.header_words import ProducerWord


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


def shard_object(shard: ShardProgress) -> dict[str, Any]:
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
        "frames_filtered": facts.filtered if facts else None,
        "changes_removed": facts.changes_removed if facts else None,
        "refusals": facts.refusals if facts else None,
        "first_refusal": facts.first_refusal or None if facts else None,
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
