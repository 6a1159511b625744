"""The embedded upstream: kevy shards on loopback ports, in a process of their own or in the foreground."""

from __future__ import annotations

import multiprocessing
import os
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from kevy_ring.errors import ClosedError, PrimaryGone
from kevy_ring.events import Frame
from kevy_ring.replica.snapshots.canonical import digest_frames
from kevy_ring.replica.snapshots.entry import Entry
from kevy_ring.testing.options import DEFAULT_BACKLOG_BYTES, PrimaryOptions
from kevy_ring.testing.primary_loop import LOOPBACK
from kevy_ring.testing.primary_process import UpstreamStatus, new_generation, run_process, serve

__all__ = ["DEFAULT_BACKLOG_BYTES", "EmbeddedPrimary", "PrimaryOptions", "UpstreamStatus", "serve"]

#: An answer takes milliseconds (a large keyspace some seconds); a process silent for longer is taken for broken.
ANSWER_TIMEOUT_S = 30.0
_END_TIMEOUT_S = 3.0


class EmbeddedPrimary:
    """Handle of an upstream that runs in a process of its own and ends with its parent.

    ``url``, ``ports``, ``pid`` and ``generation`` tell where it is. All offsets are those of frames. Methods that ask
    the process raise :class:`PrimaryGone` when it is dead and :class:`ClosedError` after :meth:`close`.
    """

    def __init__(self, options: PrimaryOptions, *, timeout: float = 60.0) -> None:
        """Start the process and wait at most ``timeout`` seconds until its ports are open and its keys are made.

        Raises ``OSError`` when the ports are taken, :class:`PrimaryGone` when the process does not come up.
        """
        self.generation = new_generation()
        self.workloads = options.workloads()
        self._lock = threading.Lock()
        # Spawned, never forked: a fork would take over this process's rings, threads and descriptors.
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

        Raises ``ValueError`` for bad arguments, and what the constructor raises.
        """
        return cls(PrimaryOptions(*sizes, **options), timeout=timeout)

    @property
    def url(self) -> str:
        """The upstream's URL; shard i listens at its port + i."""
        return f"kevy://{LOOPBACK}:{self.ports[0]}"

    @property
    def pid(self) -> int:
        """The process that serves."""
        return self._process.pid or 0

    def first_offset(self, shard: int) -> int:
        """The offset of a shard's first live frame: the position of the snapshot before it."""
        return self.workloads[shard].first_offset

    def final_offset(self, shard: int) -> int:
        """The offset of a shard's last live frame, known from the start; one before the first when there is none."""
        return self.workloads[shard].final_offset

    def keyspace(self, shard: int) -> dict[bytes, Entry]:
        """The keys of a shard after all frames published so far: the final ones once :meth:`live_done`."""
        answer: list[tuple[bytes, str, Any, int | None]] = self._ask("keyspace", shard)
        return {key: Entry(key, kind, value, expires_at_ms) for key, kind, value, expires_at_ms in answer}

    def frame_digest(self, shard: int, start_offset: int | None = None) -> tuple[int, bytes]:
        """How many live frames a shard has from ``start_offset`` (the first one) to the last, and their digest.

        A CRC-32 (:class:`StreamDigest`) over the canonical records; made here, by generating the frames once more from
        the seed.
        Raises ``ValueError`` when ``start_offset`` is not the offset of a live frame or the one after the last.
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
        """True when the live frames are encoded ahead as far as they will be: they then flow at full speed."""
        return bool(self._ask("live_ready"))

    def live_done(self) -> bool:
        """True when every shard has published its last frame (not: when every replica has received it)."""
        return bool(self._ask("live_done"))

    def next_offset(self, shard: int) -> int:
        """The offset that the next published frame will have."""
        return int(self._ask("next_offset", shard))

    def acked(self, shard: int) -> dict[bytes, int]:
        """Per replica id the last position that it acknowledged: the next offset that it wants."""
        answer: dict[bytes, int] = self._ask("acked", shard)
        return answer

    def links(self, shard: int) -> int:
        """How many replicas are connected to a shard now."""
        return int(self._ask("links", shard))

    def drop_links(self, shard: int | None = None) -> int:
        """Cut every link (of one shard) at once, also in the middle of a snapshot, and return how many."""
        return int(self._ask("drop_links", shard))

    def close(self) -> None:
        """End the process; calling it again does nothing."""
        with self._lock:
            control, self._control = self._control, None
        if control is not None:
            # Said in words as well: the end of the pipe does not show while a process forked meanwhile holds it too.
            with suppress(OSError):
                control.send(("stop", ()))
            control.close()
        self._process.join(_END_TIMEOUT_S)
        for end in (self._process.terminate, self._process.kill):
            if self._process.is_alive():
                end()
                self._process.join(_END_TIMEOUT_S)

    def __enter__(self) -> EmbeddedPrimary:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
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
                # A late answer must not be taken for that of the next question.
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
