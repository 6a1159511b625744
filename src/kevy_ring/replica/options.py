"""The options of following upstreams: one object from the command to the runner's process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from kevy_ring.replica.stall_watch import STALL_AFTER_S
from kevy_ring.replica.upstream_url import UpstreamUrl, parse_upstream

#: The capacity of each ring.
DEFAULT_CAPACITY = 8 << 20
CONNECT_TIMEOUT_S = 10.0
#: With the growing delays between restarts, a process that ends at once is given up after about two minutes.
MAX_RESTARTS = 20


@dataclass(frozen=True, slots=True)
class FollowOptions:
    """Which upstreams are followed, and how. Made once, and passed on unchanged to each runner's process.

    ``upstreams``: the upstream of each shard, in the order of the shards.

    For the link: ``protocol`` is ``"auto"``, ``"kevy1"``, ``"kevy2"`` or ``"redis"``. ``psync_command`` is the name of
    PSYNC on a Redis upstream. ``listening_port`` is the port that a Redis upstream shows for this replica.
    ``connect_timeout_s``: seconds. ``silence_s`` replaces the built-in limits after which a runner gives up a silent
    upstream. ``overflow_limit``: if the overflow of a ring exceeds this many bytes, its runner stops reading until half
    of the limit is left. Then the rest waits at the upstream and not in the runner's process.

    For the rings: ``capacity`` of each in bytes. ``name_prefix``: the rings are named ``PREFIX-0`` and so on. An
    abandoned ring of such a name is replaced.
    ``keep_rings``: they stay after the end, and the next fleet with the same ``name_prefix`` continues with them.
    ``resumable``: the shards' stores outlive their processes and know their position. ``stall_after_s``: the fleet
    reports a full ring that was not drained for this long; None: never.

    ``max_restarts``: if a runner or a shard process has ended by itself after so many restarts within ten minutes, or
    three times in a row for the same reason, the fleet gives up (``Fleet.failure``); None: it restarts without limit.

    Raises ValueError for a limit below one byte or below no restart, and for kept rings without a ``name_prefix``.
    """

    upstreams: tuple[UpstreamUrl, ...] = ()
    protocol: str = "auto"
    psync_command: str = "PSYNC"
    listening_port: int = 0
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    silence_s: float | None = None
    overflow_limit: int | None = None
    capacity: int = DEFAULT_CAPACITY
    name_prefix: str | None = None
    keep_rings: bool = False
    resumable: bool = False
    stall_after_s: float | None = STALL_AFTER_S
    max_restarts: int | None = MAX_RESTARTS

    def __post_init__(self) -> None:
        if self.overflow_limit is not None and self.overflow_limit < 1:
            raise ValueError(f"overflow_limit must be at least one byte, not {self.overflow_limit}")
        if self.max_restarts is not None and self.max_restarts < 0:
            raise ValueError(f"max_restarts must not be below 0, not {self.max_restarts}")
        if self.keep_rings and not self.name_prefix:
            raise ValueError("keep_rings needs a name_prefix: the next fleet finds the rings by it")

    @classmethod
    def of(cls, urls: Urls, *, shards: int = 1, **options: Any) -> FollowOptions:
        """The options for ``urls``, with a stream for each of the ``shards`` of a ``kevy://`` URL.

        If ``urls`` are options already, they are returned with the changes in ``options``. Raises ValueError for URLs
        that cannot be followed, and TypeError for an option that does not exist.
        """
        if isinstance(urls, FollowOptions):
            return replace(urls, **options) if options else urls
        return cls(streams_of(urls, shards), **options)


#: The defaults for a link. They name no upstream.
DEFAULT_OPTIONS = FollowOptions()
Urls = str | UpstreamUrl | Iterable[str | UpstreamUrl] | FollowOptions


def streams_of(urls: str | UpstreamUrl | Iterable[str | UpstreamUrl], shards: int) -> tuple[UpstreamUrl, ...]:
    """The upstream of each shard: a ``kevy://`` URL has ``shards`` listeners (port + i), any other is one stream."""
    if shards < 1:
        raise ValueError(f"a kevy primary has at least one shard, not {shards}")
    streams: list[UpstreamUrl] = []
    for url in map(parse_upstream, [urls] if isinstance(urls, (str, UpstreamUrl)) else urls):
        streams += [url.shard(i) for i in range(shards)] if url.kind == "kevy" else [url]
    if not streams:
        raise ValueError("a fleet needs at least one upstream URL")
    return tuple(streams)
