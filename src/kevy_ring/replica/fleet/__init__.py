"""The fleet: a ring, a runner process and a shard process for each upstream shard."""

from kevy_ring.inbox.header_words import LinkState
from kevy_ring.replica.fleet.event import FleetEnd, FleetEvent, FleetEventKind, Role, ShardStatus, ShardUnheard
from kevy_ring.replica.fleet.fleet import Fleet

__all__ = ["Fleet", "FleetEnd", "FleetEvent", "FleetEventKind", "LinkState", "Role", "ShardStatus", "ShardUnheard"]
