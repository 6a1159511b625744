"""The options of a sink beside its URL."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kevy_ring.shard.filters.key_filter import NO_FILTER, KeyFilter
from kevy_ring.shard.refused.policy import ErrorPolicy
from kevy_ring.shard.sinks.retention import FOREVER, Retention

if TYPE_CHECKING:
    from kevy_ring.replica.upstream_url import UpstreamUrl

_THIS_RUN = secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """Options of a sink. Made once, by the command, and passed on unchanged to the shard's process.

    ``replace_target``: the sink may replace the keys of other programs in its target. ``file_mode``: the permissions of
    files that the sink makes. ``line_lock``: the path of a file that each process locks while it writes lines to a
    shared standard output; empty: none. ``upstreams``: the upstream of each shard, in the order of the shards. A text
    is only a name, for an upstream that the sink cannot ask. ``allow_unchecked_target``: continue even if a server does
    not let the sink ask for its identity. ``target_import_mode``: switch the target's ``import-mode`` on, and back at
    the end. ``filter``: the keys and commands that the sink takes. ``on_error``: what happens to an event that the sink
    cannot take; None: a refused command is counted, and the error of a callable ends the shard. ``changes``: how much
    of its log of changes the sink keeps. ``keep_generations``: how many generations a jsonl sink keeps, with the
    current one; None: all. ``run``: the same for all sinks of one run (by default: of one process), and different for
    other runs.
    """

    replace_target: bool = False
    file_mode: int = 0o600
    line_lock: str = ""
    upstreams: tuple[UpstreamUrl | str, ...] = field(default=(), repr=False)
    allow_unchecked_target: bool = False
    target_import_mode: bool = False
    filter: KeyFilter = NO_FILTER
    on_error: ErrorPolicy | None = None
    changes: Retention = FOREVER
    keep_generations: int | None = None
    run: str = field(default=_THIS_RUN, repr=False, compare=False)

    def upstream_of(self, shard: int) -> UpstreamUrl | str:
        """The upstream of a shard; an empty text if none was given."""
        return self.upstreams[shard] if shard < len(self.upstreams) else ""

    def has_only_done(self, shard: int) -> bool:
        """Whether the stream of a shard has only commands that changed something: Redis and Valkey send no others.

        False for an upstream that is not known.
        """
        upstream = self.upstream_of(shard)
        return not isinstance(upstream, str) and upstream.kind == "redis"


DEFAULT_OPTIONS = SinkOptions()
