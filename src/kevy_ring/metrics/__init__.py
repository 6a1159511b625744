"""Prometheus metrics of all rings of this machine, read from their headers. Needs the extra ``metrics``."""

from __future__ import annotations

try:
    from kevy_ring.metrics.collector import RingCollector, collector
    from kevy_ring.metrics.fleet_collector import FleetCollector
except ModuleNotFoundError as error:
    if error.name != "prometheus_client":
        raise
    why = "prometheus-client is not installed; pip install 'kevy-ring[metrics]'"
    raise ModuleNotFoundError(why, name=error.name) from error

__all__ = ["FleetCollector", "RingCollector", "collector"]
