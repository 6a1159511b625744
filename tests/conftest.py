"""Fixtures that all tests share: they close rings and end processes at the end of a test."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from absent import absent
from kevy_ring import ReplicaInboxReceiver, ReplicaInboxSender, replica_inbox_pair


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--start-method forkserver`` is the default of Python 3.14. All tests must also pass with it on older ones."""
    parser.addoption(
        "--start-method", choices=multiprocessing.get_all_start_methods(), help="multiprocessing's default"
    )


# A busy machine is slow at everything. The health check would fail tests for that.
settings.register_profile("busy", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

#: Files that take minutes. Workers take whole files in this order, so a long file must not come last.
LONG_FILES = (
    "core/test_native.py",
    "replica/test_lost_names.py",
    "replica/test_real_redis.py",
    "replica/test_going_on.py",
    "ring/test_odd_segments.py",
    "sinks/test_stdout_sink.py",
    "core/test_aarch64.py",
    "core/test_fuzz.py",
    "inbox/test_leaks.py",
    "inbox/test_inbox_model.py",
    "shard/test_exactly_once.py",
    "ring/test_bit_flips.py",
    "project/test_torture.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_configure(config: pytest.Config) -> None:
    """Restore SIGINT: a shell without job control ignores it for background commands, and children inherit that."""
    if (method := config.getoption("--start-method")) is not None:
        multiprocessing.set_start_method(method)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[ReplicaInboxSender, ReplicaInboxReceiver]]:
    """A sender and a receiver over a ring of 64 KiB, or of the size in the mark ``ring_bytes``."""
    mark = request.node.get_closest_marker("ring_bytes")
    sender, receiver = replica_inbox_pair(mark.args[0] if mark else 1 << 16)
    yield sender, receiver
    with contextlib.suppress(Exception):
        receiver.close()
    sender.close(timeout=0)


@pytest.fixture
def ended() -> Iterator[Callable[[BaseProcess], BaseProcess]]:
    """Register a child process. If it still runs at the end of the test, it is killed."""
    children: list[BaseProcess] = []

    def register(child: BaseProcess) -> BaseProcess:
        children.append(child)
        return child

    yield register
    for child in children:
        if child.pid is not None and child.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGCONT)
                os.kill(child.pid, signal.SIGKILL)
            child.join(60)


@pytest.fixture
def promtool() -> None:
    """Prometheus' own checker. Without it the test is skipped, but fails in CI."""
    if shutil.which("promtool") is None:
        absent("promtool (Debian: prometheus) is not installed")
