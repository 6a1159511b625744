"""An unlinked temporary file that holds a snapshot's bytes until the snapshot is whole. It ends with the process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import BinaryIO, cast

from kevy_ring.events import BytesLike
from kevy_ring.shard.disk_error import disk_error

_READ_BYTES = 65536


def spool_file(suffix: str) -> BinaryIO:
    """Make a file without a name in TMPDIR. Raises SinkError."""
    try:
        return cast(BinaryIO, tempfile.TemporaryFile(prefix="kevy-ring-", suffix=suffix, buffering=0))
    except OSError as error:
        raise _failure(error) from error


def append(file: BinaryIO, piece: BytesLike) -> None:
    """Write all of ``piece``. Raises SinkError when the disk is full."""
    left = memoryview(piece)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as error:
        raise _failure(error) from error


def pieces_of(file: BinaryIO) -> Iterator[bytes]:
    """The whole file from its start."""
    file.seek(0)
    while piece := file.read(_READ_BYTES):
        yield piece


def _failure(error: OSError) -> Exception:
    return disk_error(f"snapshot spool in {tempfile.gettempdir()}", error, "set TMPDIR to another directory")
