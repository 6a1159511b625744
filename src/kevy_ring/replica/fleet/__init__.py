"""The fleet: for every upstream shard a ring, a runner process and a shard process."""

from kevy_ring.replica.fleet.fleet import Fleet, FleetEnd, FleetEvent, FleetEventKind, LinkState, Role, ShardStatus

__all__ = ["Fleet", "FleetEnd", "FleetEvent", "FleetEventKind", "LinkState", "Role", "ShardStatus"]
