"""The embedded upstream: kevy shards on loopback ports, in a separate process or in the foreground."""

from __future__ import annotations

import multiprocessing
import os
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from kevy_ring.errors import ClosedError, PrimaryGone
from kevy_ring.events import Frame
from kevy_ring.replica.snapshots.canonical import digest_frames
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.testing.options import DEFAULT_BACKLOG_BYTES, PrimaryOptions
from kevy_ring.testing.primary_loop import LOOPBACK
from kevy_ring.testing.primary_process import UpstreamStatus, new_generation, run_process, serve

__all__ = ["DEFAULT_BACKLOG_BYTES", "EmbeddedPrimary", "PrimaryOptions", "UpstreamStatus", "serve"]

#: An answer takes milliseconds (a large keyspace some seconds). A process that is silent for longer counts as broken.
ANSWER_TIMEOUT_S = 30.0
_END_TIMEOUT_S = 3.0


class EmbeddedPrimary:
    """Handle of an upstream that runs in its own process and ends with its parent.

    ``url``, ``ports``, ``pid`` and ``generation`` identify it. All offsets count frames. Methods that ask the process
    raise :class:`PrimaryGone` when it is dead, and :class:`ClosedError` after :meth:`close`. ``shard``: a number from
    0; an IndexError if there is no such shard.

        with EmbeddedPrimary.start(1, 100, 1000) as primary:
            print(primary.url, primary.final_offset(0))
    """

    def __init__(self, options: PrimaryOptions, *, timeout: float = 60.0) -> None:
        """Start the process. Wait at most ``timeout`` seconds until its ports are open and the keys of ``options``
        exist.

        Raises ``OSError`` if the ports are taken, and :class:`PrimaryGone` if the process does not start.
        """
        self.generation = new_generation()
        self.workloads = options.workloads()
        self._lock = threading.Lock()
        # Spawned, never forked: a forked child would share this process's rings and descriptors.
        context = multiprocessing.get_context("spawn")
        control, theirs = context.Pipe()
        self._control: Connection | None = control
        self._process = context.Process(
            target=run_process,
            args=(theirs, os.getpid(), options, self.generation),
            name="kevy-ring primary",
            daemon=True,
        )
        self._process.start()
        theirs.close()
        try:
            self.ports: list[int] = self._answer(timeout)
        except BaseException:
            self.close()
            raise

    @classmethod
    def start(cls, *sizes: int, timeout: float = 60.0, **options: Any) -> EmbeddedPrimary:
        """Start an upstream with the options of :class:`PrimaryOptions`: ``shards``, ``keys``, ``ops`` and the others.

        ``sizes`` are these three, in order. ``timeout``: see the constructor. Raises ``ValueError`` for invalid
        options, and the errors of the constructor.
        """
        return cls(PrimaryOptions(*sizes, **options), timeout=timeout)

    @property
    def url(self) -> str:
        """The upstream's URL; shard i listens at its port + i."""
        return f"kevy://{LOOPBACK}:{self.ports[0]}"

    @property
    def pid(self) -> int:
        """The pid of the serving process."""
        return self._process.pid or 0

    def first_offset(self, shard: int) -> int:
        """The offset of a shard's first live frame. It is also the offset of the first snapshot."""
        return self.workloads[shard].first_offset

    def final_offset(self, shard: int) -> int:
        """The offset of a shard's last live frame, known from the start; one less than the first if there is none."""
        return self.workloads[shard].final_offset

    def keyspace(self, shard: int) -> dict[bytes, Entry]:
        """The keys of a shard after all frames published so far: the final ones once :meth:`live_done`."""
        answer: list[tuple[bytes, str, Any, int | None]] = self._ask("keyspace", shard)
        return {key: Entry(key, kind, value, expires_at_ms) for key, kind, value, expires_at_ms in answer}

    def frame_digest(self, shard: int, start_offset: int | None = None) -> tuple[int, bytes]:
        """The number of a shard's live frames from ``start_offset`` (default: the first) to the last, and their digest.

        The digest is a CRC-32 (:class:`StreamDigest`) over the canonical records. It is computed here, from frames that
        are generated again from the seed. Raises ``ValueError`` if ``start_offset`` is neither the offset of a live
        frame nor the one after the last.
        """
        workload = self.workloads[shard]
        start = workload.first_offset if start_offset is None else start_offset
        if not workload.first_offset <= start <= workload.final_offset + 1:
            raise ValueError(f"shard {shard} has no live frame with offset {start}")
        frames = enumerate(workload.commands(), workload.first_offset)
        return digest_frames(Frame(offset, argv) for offset, argv in frames if offset >= start)

    def start_live(self) -> None:
        """Start the live frames now."""
        self._ask("start_live")

    def live_ready(self) -> bool:
        """True when enough live frames are encoded ahead to flow at full speed."""
        return bool(self._ask("live_ready"))

    def live_done(self) -> bool:
        """True when every shard has published its last frame, even if a replica has not received it yet."""
        return bool(self._ask("live_done"))

    def next_offset(self, shard: int) -> int:
        """The offset that the next published frame of ``shard`` will have."""
        return int(self._ask("next_offset", shard))

    def acked(self, shard: int) -> dict[bytes, int]:
        """The last position of ``shard`` that each replica id acknowledged: the next offset that it needs."""
        answer: dict[bytes, int] = self._ask("acked", shard)
        return answer

    def links(self, shard: int) -> int:
        """The number of replicas that are connected to a shard."""
        return int(self._ask("links", shard))

    def drop_links(self, shard: int | None = None) -> int:
        """Cut every link (of one shard) at once, even in a snapshot. Returns how many."""
        return int(self._ask("drop_links", shard))

    def close(self) -> None:
        """End the process; calling it again does nothing."""
        with self._lock:
            control, self._control = self._control, None
        if control is not None:
            # Closing the pipe is not enough: a process that was forked meanwhile may hold it open.
            with suppress(OSError):
                control.send(("stop", ()))
            control.close()
        self._process.join(_END_TIMEOUT_S)
        for end in (self._process.terminate, self._process.kill):
            if self._process.is_alive():
                end()
                self._process.join(_END_TIMEOUT_S)

    def __repr__(self) -> str:
        state = "closed" if self._control is None else "running" if self._process.is_alive() else "dead"
        return f"<EmbeddedPrimary at {self.url}, pid {self._process.pid}: {state}>"

    def __enter__(self) -> EmbeddedPrimary:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _ask(self, question: str, *arguments: Any) -> Any:
        with self._lock:
            if self._control is None:
                raise ClosedError("kevy-ring primary")
            try:
                self._control.send((question, arguments))
            except OSError as error:
                raise self._gone() from error
            return self._answer(ANSWER_TIMEOUT_S)

    def _answer(self, timeout: float) -> Any:
        assert self._control is not None
        try:
            if not self._control.poll(timeout):
                # Otherwise the next question would receive this late answer.
                self._control.close()
                raise self._gone()
            answer = self._control.recv()
        except (EOFError, OSError) as error:
            raise self._gone() from error
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _gone(self) -> PrimaryGone:
        self._process.join(0.1)
        return PrimaryGone(pid=self.pid, exitcode=self._process.exitcode)
