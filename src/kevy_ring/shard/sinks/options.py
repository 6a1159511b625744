"""What the user of a sink allows or chooses beyond its URL."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """Options of a sink. Made once, by the command, and passed on unchanged to the shard's process.

    ``replace_target``: a target that holds keys of others may be replaced. ``file_mode``: the permissions of files
    that the sink makes. ``line_lock``: a file that is locked by whoever writes lines to a standard output that several
    processes share; empty for none.
    """

    replace_target: bool = False
    file_mode: int = 0o600
    line_lock: str = ""


DEFAULT_OPTIONS = SinkOptions()
