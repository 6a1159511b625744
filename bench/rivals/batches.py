"""Batches of records, as every contender of the batch cases gets them."""

from __future__ import annotations

from collections.abc import Sequence

BATCH_RECORDS = 512


def batches_of(records: Sequence[bytes], size: int = BATCH_RECORDS) -> list[list[bytes]]:
    """The records in lists of at most ``size``."""
    return [list(records[i : i + size]) for i in range(0, len(records), size)]
