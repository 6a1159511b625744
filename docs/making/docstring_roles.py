"""Turns the roles of docstrings (``:class:`Ring```) into links within the reference."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|meth|func|attr|exc|mod):`~?(?P<target>[\w.]+)`")
#: The module under which the reference documents each name. Other names get no link.
_PLACES = {
    "kevy_ring": (
        "Batch BatchOpen ClosedError Consumer CorruptRing EventTruncated Frame KevyRingError Kind OffsetGap "
        "OutOfMemory Producer RecvError RemoteProtocolError ReplicaInboxReceiver ReplicaInboxSender Ring RoleTaken "
        "SegmentError SendError SnapshotBegin SnapshotChunk SnapshotEnd SnapshotError UpstreamRefused ViewsEscaped "
        "replica_inbox_pair replica_inbox_pairs"
    ),
    "kevy_ring.ring": "Segment RecordBatch Grant RingStats RoleState RoleStats TimeInRing inspect_ring ring_names",
    "kevy_ring.ring.batch_stream": "BatchStream",
    "kevy_ring.inbox": "ChunkGrant Overflow Published",
    "kevy_ring.errors": "EventRefused LinkError PrimaryGone Refusal RefusalKind SinkError TargetRefused",
    "kevy_ring.shard": "BatchSink ResumableSink RunEnd RunResult Shard Sink Snapshot Stage StagingSink sink_from_url",
    "kevy_ring.shard.refused.policy": "ErrorPolicy",
    "kevy_ring.shard.sinks.retention": "Retention",
    "kevy_ring.replica.runner": "Runner RunnerExit",
    "kevy_ring.replica.patience": "Patience",
    "kevy_ring.replica.protocol": "FullSyncReason",
    "kevy_ring.replica.fleet": "Fleet FleetEnd FleetEvent FleetEventKind LinkState Role ShardStatus ShardUnheard",
    "kevy_ring.replica.fleet.child": "ParentLine",
    "kevy_ring.replica.options": "FollowOptions",
    "kevy_ring.testing": "EmbeddedPrimary PrimaryOptions",
    "kevy_ring.replica.stop": "StopSignal",
    "kevy_ring.replica.stall_watch": "Stall StallWatch",
    "kevy_ring.metrics.collector": "RingCollector collector",
}
_PLACE_OF = {name: f"{module}.{name}" for module, names in _PLACES.items() for name in names.split()}


class DocstringRoles(griffe.Extension):
    """Reads the docstrings of every object as it is collected."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for each object."""
        if obj.docstring is not None:
            owner = obj if obj.is_class else obj.parent
            obj.docstring.value = _ROLE.sub(lambda role: _link(role["target"], owner), obj.docstring.value)


def _link(target: str, owner: Any) -> str:
    first, _, member = target.partition(".")
    place = _PLACE_OF.get(first)
    if place is not None:
        return f"[`{target}`][{place}{'.' if member else ''}{member}]"
    if owner is not None and owner.is_class and owner.name in _PLACE_OF and target in owner.all_members:
        return f"[`{target}`][{_PLACE_OF[owner.name]}.{target}]"
    return f"`{target}`"
