"""Finds out whether an upstream is a node of a cluster, and which other nodes hold the other keys."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from typing import Any, cast

from kevy_ring.replica.protocols.resp import encode_command
from kevy_ring.replica.upstream_url import UpstreamUrl

_TIMEOUT_S = 5.0
_ADDRESS = re.compile(r"(?P<host>.*):(?P<port>\d+)(?:@\d+)?(?:,.*)?")
#: At most this many other nodes are named; for the rest only their number is given.
_NAMED = 8


class ClusterLook:
    """Asks one upstream in its own thread. ``text``: what to report; None: no answer yet, or nothing to report."""

    def __init__(self, upstream: UpstreamUrl, followed: Sequence[UpstreamUrl]) -> None:
        self.text: str | None = None
        self.is_bad = False
        self._upstream = upstream
        self._followed = {(each.host, each.port) for each in followed}
        threading.Thread(target=self._look, name="kevy-ring-cluster", daemon=True).start()

    def _look(self) -> None:
        try:
            nodes = _nodes_of(self._upstream)
        except Exception as error:
            # A user with only the replication commands is refused here. The server need not be part of a cluster.
            why = self._upstream.scrub(str(error)) or type(error).__name__
            self.text = f"{self._upstream}: cannot tell whether this is one node of a cluster: {why}"
            return
        if nodes is not None:
            self.text = cluster_text(self._upstream, nodes, self._followed)
            self.is_bad = self.text is not None


def _nodes_of(upstream: UpstreamUrl) -> str | None:
    """The answer to CLUSTER NODES; None if the server is not part of a cluster."""
    connection = cast(Any, upstream.redis_connection(_TIMEOUT_S))
    try:
        connection.connect()

        def ask(*command: bytes) -> str:
            connection.send_packed_command([encode_command(*command)], check_health=False)
            return bytes(connection.read_response(disable_decoding=True)).decode("utf-8", "replace")

        if "cluster_enabled:1" not in ask(b"INFO", b"cluster"):
            return None
        return ask(b"CLUSTER", b"NODES")
    finally:
        connection.disconnect()


def cluster_text(upstream: UpstreamUrl, nodes: str, followed: set[tuple[str, int]]) -> str | None:
    """One line that names the other primaries of the cluster. ``nodes``: the answer to CLUSTER NODES.

    None if there are no others, or if all of them are ``followed`` (host and port) as well.
    """
    lines = [line.split() for line in nodes.splitlines() if len(line.split()) >= 8]
    mine = next((line for line in lines if "myself" in line[2].split(",")), None)
    if mine is None:
        return None
    primary_id = mine[0] if "master" in mine[2].split(",") else mine[3]
    others = []
    slots: list[str] = []
    for line in lines:
        own_slots = [each for each in line[8:] if not each.startswith("[")]
        if line[0] == primary_id:
            slots = own_slots
        elif "master" in line[2].split(",") and own_slots:
            others.append(line[1])
    missing = [named for named in map(_shown, others) if named not in {f"{host}:{port}" for host, port in followed}]
    if not missing:
        return None
    named = ", ".join(missing[:_NAMED]) + (f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else "")
    return (
        f"{upstream} is one node of a cluster: only the keys of its slots ({', '.join(slots) or 'none'}) are followed; "
        f"give a URL for each of the other primaries too: {named}"
    )


def _shown(address: str) -> str:
    found = _ADDRESS.fullmatch(address)
    return f"{found['host']}:{found['port']}" if found else address
