"""Replicated events from a runner to a shard, over one ring with an unbounded overflow in the runner's process."""

from kevy_ring._calls import ChunkGrant
from kevy_ring.inbox.batch import Batch
from kevy_ring.inbox.encoding import encode_record
from kevy_ring.inbox.frame_scanner import FrameRun, FrameScanner, ScanEnd
from kevy_ring.inbox.overflow import Overflow
from kevy_ring.inbox.pair import replica_inbox_pair, replica_inbox_pairs
from kevy_ring.inbox.receiver import ReplicaInboxReceiver
from kevy_ring.inbox.resume_point import Published, published_in
from kevy_ring.inbox.sender import ReplicaInboxSender

__all__ = [
    "Batch",
    "ChunkGrant",
    "FrameRun",
    "FrameScanner",
    "Overflow",
    "Published",
    "ReplicaInboxReceiver",
    "ReplicaInboxSender",
    "ScanEnd",
    "encode_record",
    "published_in",
    "replica_inbox_pair",
    "replica_inbox_pairs",
]
