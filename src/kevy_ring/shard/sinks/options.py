"""What the user of a sink allows or chooses beyond its URL."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kevy_ring.replica.upstream_url import UpstreamUrl

_THIS_RUN = secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """Options of a sink. Made once, by the command, and passed on unchanged to the shard's process.

    ``replace_target``: a target that holds keys of others may be replaced. ``file_mode``: the permissions of files
    that the sink makes. ``line_lock``: a file that is locked by whoever writes lines to a standard output that several
    processes share; empty for none. ``upstreams``: what each shard follows, in the order of the shards; a text is a
    name only, for an upstream that cannot be asked. ``allow_unchecked_target``: go on where a server does not let its
    identity be asked. ``target_import_mode``: switch the target's ``import-mode`` on, and back at the end.
    ``run``: the same for all sinks of one run (by default: of one process), so that a target tells them from another's.
    """

    replace_target: bool = False
    file_mode: int = 0o600
    line_lock: str = ""
    upstreams: tuple[UpstreamUrl | str, ...] = field(default=(), repr=False)
    allow_unchecked_target: bool = False
    target_import_mode: bool = False
    run: str = field(default=_THIS_RUN, repr=False, compare=False)

    def upstream_of(self, shard: int) -> UpstreamUrl | str:
        """What a shard follows; an empty text where nobody said."""
        return self.upstreams[shard] if shard < len(self.upstreams) else ""


DEFAULT_OPTIONS = SinkOptions()
