"""Functions for the option ``--filter`` of the command."""

from __future__ import annotations


def is_even(db: int, key: bytes) -> bool:
    """Whether the database and the last byte of the key are together even."""
    return (db + key[-1]) % 2 == 0
