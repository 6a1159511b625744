"""Records in shared memory, from one producer to one consumer. This layer does not know that replication exists."""

from kevy_ring._calls import Grant
from kevy_ring.ring.batch import RecordBatch
from kevy_ring.ring.consumer import Consumer
from kevy_ring.ring.producer import Producer
from kevy_ring.ring.ring import Ring
from kevy_ring.ring.segment import Segment
from kevy_ring.ring.stats import RingStats, RoleState, RoleStats, inspect_ring, ring_names
from kevy_ring.ring.time_in_ring import TIME_BOUNDS_S, TimeInRing

__all__ = [
    "TIME_BOUNDS_S",
    "Consumer",
    "Grant",
    "Producer",
    "RecordBatch",
    "Ring",
    "RingStats",
    "RoleState",
    "RoleStats",
    "Segment",
    "TimeInRing",
    "inspect_ring",
    "ring_names",
]
