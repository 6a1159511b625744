"""The embedded upstream's process: its start, its answers to the parent, and its end. Or the same in the foreground."""

from __future__ import annotations

import gc
import os
import secrets
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from kevy_ring.testing.options import PrimaryOptions
from kevy_ring.testing.primary_loop import PrimaryLoop, listen
from kevy_ring.testing.upstream_shard import UpstreamShard


@dataclass(frozen=True, slots=True)
class UpstreamStatus:
    """One shard of a running upstream: published and total live frames, replicas, and the position of each."""

    port: int
    published: int
    frames: int
    links: int
    acked: dict[bytes, int]


def serve(
    options: PrimaryOptions,
    *,
    on_status: Callable[[list[UpstreamStatus]], None] | None = None,
    status_interval_s: float = 1.0,
) -> None:
    """Run the embedded upstream in this process until SIGINT or SIGTERM. Prints nothing.

    ``on_status`` is called with one status per shard after the ports are open, then every ``status_interval_s``
    seconds, and at the end. Call it only in the main thread, because it sets (and restores) signal handlers. Raises
    ``OSError`` if the ports are taken.
    """
    listeners = listen(options.shards, options.port)
    ports = [listener.getsockname()[1] for listener in listeners]
    loop = PrimaryLoop(_shards(options, new_generation()), listeners, options)
    due_s = time.monotonic()

    def report(*, at_once: bool = False) -> None:
        nonlocal due_s
        if on_status is not None and (at_once or time.monotonic() >= due_s):
            due_s = time.monotonic() + status_interval_s
            on_status(_status(loop, ports))

    with _until_signal(loop), _without_collector():
        loop.run(on_turn=report)
    report(at_once=True)


def _status(loop: PrimaryLoop, ports: list[int]) -> list[UpstreamStatus]:
    return [
        UpstreamStatus(port, shard.published, shard.workload.op_count, loop.link_count(index), loop.acked(index))
        for index, (port, shard) in enumerate(zip(ports, loop.shards, strict=True))
    ]


def _shards(options: PrimaryOptions, generation: int) -> list[UpstreamShard]:
    backlog_bytes = options.backlog_bytes
    return [UpstreamShard(each, generation=generation, backlog_bytes=backlog_bytes) for each in options.workloads()]


def new_generation() -> int:
    # 0 means "no generation" on the wire.
    return secrets.randbits(63) | 1


def run_process(control: Connection, parent_pid: int, options: PrimaryOptions, generation: int) -> None:
    """The process of an :class:`EmbeddedPrimary`."""
    # Ctrl-C reaches the whole foreground group, but the parent decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _exit_with(parent_pid)
    try:
        listeners = listen(options.shards, options.port)
        loop = PrimaryLoop(_shards(options, generation), listeners, options)
    except Exception as error:
        control.send(error)
        return
    loop.watch(control, lambda: _obey(loop, control))
    with _until_signal(loop), _without_collector():
        # Only now, because the parent may signal this process after it.
        control.send([listener.getsockname()[1] for listener in listeners])
        loop.run()


def _exit_with(parent_pid: int) -> None:
    """End this process when its parent ends, even while both are busy."""
    # The end of the pipe is not enough: a process that the parent forked may hold the other end open.
    try:
        parent = os.pidfd_open(parent_pid)
    except ProcessLookupError:
        os._exit(1)
    if os.getppid() != parent_pid:
        os._exit(1)

    def wait() -> None:
        select.select([parent], [], [])
        os._exit(1)

    threading.Thread(target=wait, name="exit with the parent", daemon=True).start()


def _obey(loop: PrimaryLoop, control: Connection) -> None:
    """Answer one question of the parent, or stop if it is gone."""
    answers: dict[str, Callable[..., Any]] = {
        "start_live": loop.start_live,
        "live_done": lambda: all(shard.done for shard in loop.shards),
        "live_ready": lambda: all(shard.is_prepared for shard in loop.shards),
        "next_offset": lambda shard: loop.shards[shard].backlog.next_offset,
        "keyspace": lambda shard: [
            (entry.key, entry.type, entry.value, entry.expires_at_ms) for entry in loop.shards[shard].entries()
        ],
        "acked": loop.acked,
        "links": loop.link_count,
        "drop_links": loop.drop_links,
        "stop": loop.stop,
    }
    try:
        question, arguments = control.recv()
        try:
            answer = answers[question](*arguments)
        except Exception as error:
            answer = error
        control.send(answer)
    except (EOFError, OSError):
        loop.stop()


@contextmanager
def _until_signal(loop: PrimaryLoop) -> Iterator[None]:
    previous = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) != signal.SIG_IGN:
            previous[number] = signal.signal(number, lambda *_: loop.stop())
    try:
        yield
    finally:
        for number, action in previous.items():
            signal.signal(number, action)


@contextmanager
def _without_collector() -> Iterator[None]:
    # There are hundreds of thousands of frames and keys, and none is in a cycle. A full collection would stop the loop.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
