"""The modules that an import loads, as a fresh interpreter lists them."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

import pytest

# Packages of the extras, and of a user's own environment.
EXTRAS = {
    "anyio", "click", "fakeredis", "httpx", "lupa", "pandas", "polars", "prometheus_client", "pyarrow", "rdb", "redis",
    "rich", "starlette", "textual", "trio", "uvloop",
}  # fmt: skip
# Slow to import, and no ring needs them.
SLOW = {"asyncio", "ctypes", "email", "http", "numpy", "sqlite3", "ssl", "unittest", "urllib.request", "xml"}
# A ring needs these. The events and the errors do not.
OF_A_RING = {
    "_cffi_backend", "cffi", "dataclasses", "hashlib", "inspect", "kevy_ring.inbox", "kevy_ring.ring", "logging",
    "multiprocessing", "secrets", "select", "socket", "subprocess", "tempfile", "threading",
}  # fmt: skip
LAYERS = {"kevy_ring.cli", "kevy_ring.metrics", "kevy_ring.replica", "kevy_ring.shard"}


@cache
def imported_by(statement: str) -> frozenset[str]:
    """The modules that ``statement`` imports into a fresh interpreter, and the packages that contain them."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", statement],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    names = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    return frozenset(names)


def brought_by(statement: str) -> frozenset[str]:
    """The same without the modules that any interpreter here imports when it starts."""
    return imported_by(statement) - imported_by("pass")


def test_the_list_of_an_interpreter_is_read_as_it_is_meant() -> None:
    assert "kevy_ring.events" in brought_by("import kevy_ring")
    assert {"kevy_ring.ring.ring", "_cffi_backend", "secrets"} <= brought_by("from kevy_ring import Ring")
    assert "numpy" in brought_by("import numpy")


def test_the_package_alone_brings_neither_the_core_nor_anything_slow() -> None:
    assert not brought_by("import kevy_ring") & (EXTRAS | SLOW | OF_A_RING | LAYERS)


@pytest.mark.parametrize("name", ["Ring", "Producer", "Consumer"])
def test_a_ring_brings_neither_numpy_nor_an_extra_nor_a_layer_above(name: str) -> None:
    assert not brought_by(f"from kevy_ring import {name}") & (EXTRAS | SLOW | LAYERS | {"kevy_ring.inbox"})


def test_an_inbox_brings_neither_numpy_nor_an_extra_nor_a_layer_above() -> None:
    assert not brought_by("from kevy_ring import replica_inbox_pair, Batch") & (EXTRAS | SLOW | LAYERS)


def test_a_ring_is_used_without_numpy_until_a_column_is_asked_for() -> None:
    use = (
        "from kevy_ring import Frame, replica_inbox_pair\n"
        "sender, receiver = replica_inbox_pair(4096)\n"
        "sender.send(Frame(1, [b'PING']))\n"
        "with receiver.drain() as batch: assert [event.offset for event in batch] == [1]\n"
        "sender.send(Frame(2, [b'PING']))\n"
        "assert receiver.recv(timeout=60).offset == 2\n"
    )
    assert "numpy" not in brought_by(use)
    assert "numpy" in brought_by(f"{use}sender.send(Frame(3, [b'PING']))\nreceiver.drain().offsets")


def test_a_shard_and_the_plain_sinks_bring_no_extra() -> None:
    brought = brought_by("from kevy_ring.shard import Shard, sink_from_url; sink_from_url('null')")
    assert not brought & (EXTRAS | {"numpy", "kevy_ring.cli"})
