"""Many rings at once: fan-in, fan-out, and a ring in the shape of a queue."""

from kevy_ring.group.distributor import Distributor
from kevy_ring.group.inbox_group import InboxGroup
from kevy_ring.group.keyed_distributor import KeyedDistributor
from kevy_ring.group.ring_group import RingGroup
from kevy_ring.group.ring_queue import RingQueue, ShutDown

__all__ = ["Distributor", "InboxGroup", "KeyedDistributor", "RingGroup", "RingQueue", "ShutDown"]
