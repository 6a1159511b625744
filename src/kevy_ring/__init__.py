"""A replica inbox in shared memory: it brings replication streams into Python processes, fast and without loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kevy_ring.errors import (
    BatchOpen,
    ClosedError,
    ConsumerGone,
    CorruptRing,
    EventTruncated,
    GrantOpen,
    GroupEnded,
    KevyRingError,
    ObjectError,
    ObjectTooLarge,
    OffsetGap,
    OutOfMemory,
    RecvError,
    RemoteProtocolError,
    RoleTaken,
    SegmentError,
    SendError,
    SnapshotError,
    TasksLost,
    UpstreamRefused,
    ViewsEscaped,
)
from kevy_ring.events import Frame, Kind, ReplicaApply, SnapshotBegin, SnapshotChunk, SnapshotEnd

if TYPE_CHECKING:
    from kevy_ring.group import Distributor, InboxGroup, KeyedDistributor, RingGroup, RingQueue
    from kevy_ring.inbox import (
        Batch,
        ReplicaInboxReceiver,
        ReplicaInboxSender,
        replica_inbox_pair,
        replica_inbox_pairs,
    )
    from kevy_ring.ring import Consumer, Producer, Ring

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "BatchOpen",
    "ClosedError",
    "Consumer",
    "ConsumerGone",
    "CorruptRing",
    "Distributor",
    "EventTruncated",
    "Frame",
    "GrantOpen",
    "GroupEnded",
    "InboxGroup",
    "KevyRingError",
    "KeyedDistributor",
    "Kind",
    "ObjectError",
    "ObjectTooLarge",
    "OffsetGap",
    "OutOfMemory",
    "Producer",
    "RecvError",
    "RemoteProtocolError",
    "ReplicaApply",
    "ReplicaInboxReceiver",
    "ReplicaInboxSender",
    "Ring",
    "RingGroup",
    "RingQueue",
    "RoleTaken",
    "SegmentError",
    "SendError",
    "SnapshotBegin",
    "SnapshotChunk",
    "SnapshotEnd",
    "SnapshotError",
    "TasksLost",
    "UpstreamRefused",
    "ViewsEscaped",
    "replica_inbox_pair",
    "replica_inbox_pairs",
]

# These names load the compiled core on first use. So the events, the errors and the protocols import in milliseconds,
# and without the core.
_LAZY = {
    "Batch": "kevy_ring.inbox",
    "ReplicaInboxReceiver": "kevy_ring.inbox",
    "ReplicaInboxSender": "kevy_ring.inbox",
    "replica_inbox_pair": "kevy_ring.inbox",
    "replica_inbox_pairs": "kevy_ring.inbox",
    "Consumer": "kevy_ring.ring",
    "Producer": "kevy_ring.ring",
    "Ring": "kevy_ring.ring",
    "Distributor": "kevy_ring.group",
    "InboxGroup": "kevy_ring.group",
    "KeyedDistributor": "kevy_ring.group",
    "RingGroup": "kevy_ring.group",
    "RingQueue": "kevy_ring.group",
}


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
