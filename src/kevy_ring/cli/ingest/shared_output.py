"""Standard output as the sink of a run: one lock for the shard processes that share it, and a look at its reader."""

from __future__ import annotations

import os
from dataclasses import replace

from kevy_ring.shard.sinks.options import SinkOptions
from kevy_ring.shard.sinks.stdout import STDOUT, reader_is_gone


class SharedOutput:
    """For any sink: where it is not standard output, there is nothing to lock and always a reader."""

    def __init__(self, sink: str, streams: int) -> None:
        self._is_output = sink == STDOUT
        self._is_gone = False
        # A file without a name, which the shard processes open by way of this process.
        self._fd = os.memfd_create("kevy-ring-lines") if self._is_output and streams > 1 else -1

    def options(self, options: SinkOptions) -> SinkOptions:
        """The options for the shard processes."""
        return replace(options, line_lock=f"/proc/{os.getpid()}/fd/{self._fd}") if self._fd >= 0 else options

    @property
    def has_no_reader(self) -> bool:
        """Whether the stream goes to standard output and its reader has gone."""
        self._is_gone = self._is_gone or (self._is_output and reader_is_gone())
        return self._is_gone

    def __enter__(self) -> SharedOutput:
        return self

    def __exit__(self, *exc_info: object) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
