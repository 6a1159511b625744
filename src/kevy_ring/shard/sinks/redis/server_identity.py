"""The identity of a Redis server: two ids of its INFO show whether two addresses lead to one server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kevy_ring.errors import SinkError
from kevy_ring.shard.sinks.refusals import Refusals

if TYPE_CHECKING:
    from kevy_ring.replica.upstream_url import UpstreamUrl
    from kevy_ring.shard.sinks.redis.target import Target

#: The sink asks the upstream on a connection of its own. Without an answer in this time it asks again later.
UPSTREAM_TIMEOUT_S = 5.0


class InfoRefused(Exception):
    """A server refuses INFO to this user. ``text``: its answer."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """Facts from INFO. An id that is missing or zero is empty here, and equals no other id.

    ``run_id`` belongs to one process. ``history`` (``master_replid``) is the same on a primary and on all its replicas.
    PSYNC answers with it.
    """

    run_id: str = ""
    history: str = ""
    role: str = ""
    primary: str = ""
    version: str = ""
    is_cluster_node: bool = False

    def is_same(self, other: ServerIdentity) -> bool:
        """Whether both are one server, or replicas of one history."""
        same_process = bool(self.run_id) and self.run_id == other.run_id
        return same_process or (bool(self.history) and self.history == other.history)


def identity_in(info: bytes) -> ServerIdentity:
    """Read a reply to INFO."""
    lines = (line.partition(":") for line in info.decode("utf-8", "replace").splitlines())
    told = {name: value.strip() for name, separator, value in lines if separator}
    return ServerIdentity(
        run_id=_id(told.get("run_id", "")),
        history=_id(told.get("master_replid", "")),
        role=told.get("role", ""),
        primary=f"{told['master_host']}:{told.get('master_port', '')}" if "master_host" in told else "",
        version=told.get("redis_version", ""),
        is_cluster_node=told.get("cluster_enabled") == "1",
    )


def identity_of(target: Target, section: bytes | None = None) -> ServerIdentity:
    """Ask a server on a connection. ``section``: of INFO; None: all of it. Raises InfoRefused and SinkError."""
    try:
        return identity_in(target.ask(b"INFO", *([section] if section else [])))
    except SinkError as error:
        if error.reason != "refused":
            raise
        raise InfoRefused(error.detail) from None


def identity_of_upstream(upstream: UpstreamUrl) -> ServerIdentity | None:
    """Ask an upstream on a new connection. None: it cannot be reached now. Raises InfoRefused."""
    from kevy_ring.shard.sinks.redis.target import Target

    try:
        connection = Target(upstream, Refusals(upstream.redacted), timeout_s=UPSTREAM_TIMEOUT_S)
    except SinkError:
        return None
    try:
        return identity_of(connection)
    except SinkError:
        return None
    finally:
        connection.close()


def _id(text: str) -> str:
    return text if text.strip("0") else ""
