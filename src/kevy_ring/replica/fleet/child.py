"""The code inside a fleet's processes. They stop on the parent's request, on a signal, and when the parent is gone."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NoReturn

from kevy_ring.errors import KevyRingError, RoleTaken, SegmentError
from kevy_ring.inbox.header_words import LinkState
from kevy_ring.replica.fleet.child_log import DEFAULT_LEVEL, LineLog, send_records
from kevy_ring.replica.options import FollowOptions
from kevy_ring.replica.protocol import FullSyncReason, ResumePoint
from kevy_ring.replica.runner.runner import Runner, RunnerExit
from kevy_ring.replica.stop import StopSignal

if TYPE_CHECKING:
    from kevy_ring.inbox import Published

log = logging.getLogger(__name__)

# The parent logs what the runner reports of its link, so the runner's own records of the same would be a second time.
_RUNNER_LOG = "kevy_ring.replica.runner.runner"

ShardMain = Callable[[str, int, StopSignal], Any]

EXIT_RECEIVER_GONE = 3
EXIT_ORPHANED = 4
# A shard exits with this code if its dead predecessor took the first part of an event larger than the ring.
EXIT_TRUNCATED = 5
# How long a child may take to end after its parent is gone. Then it ends itself, because no other process would.
ORPHAN_GRACE_S = 5.0
# How often a child checks its parent's pid, because another process may hold the pipe open.
_PARENT_TICK_S = 1.0
_ATTACH_TIMEOUT_S = 10.0
_RECEIVER_TICK_S = 0.02
# How long a stopped runner may take to hand its overflow over.
_FLUSH_S = 2.0
# A longer text is cut, so that it never waits for space on the line.
TEXT_MAX = 8000
# These are blocked from before a child is spawned until it has installed its own handlers.
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class RunnerOrders:
    """The task of a runner process. It travels through a pipe, never through a command line."""

    options: FollowOptions
    shard: int
    ring_name: str
    replica_id: str
    resume: ResumePoint | None = None  # if nothing was published on the ring yet
    full_reason: FullSyncReason = FullSyncReason.FIRST  # if there is nothing to resume


class ParentLine(StopSignal):
    """The child's end of the only line to its parent. It is also the child's stop signal.

    The parent's request, the parent's death and SIGTERM set it. It ignores SIGINT: a terminal sends that to the whole
    group, and the parent ends all processes in order. Made by the fleet, of its pipe ``control``. A ``shard_main`` gets
    this line as its ``stop``. The fleet's ``on_words`` receives what it passes to ``say``, and ``answer`` answers the
    fleet's ``ask``.
    """

    def __init__(self, control: Connection, log_level: int = DEFAULT_LEVEL) -> None:
        super().__init__()
        self._control = control
        self._log_level = log_level
        self._sending = threading.Lock()  # a log record may come from any thread
        self._questions: deque[tuple[int, str, tuple[Any, ...]]] = deque()
        self._parent_pid = os.getppid()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: self.set())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING_SIGNALS)
        threading.Thread(target=self._watch, name="kevy-ring-parent", daemon=True).start()

    def tell(self, *fact: Any) -> None:
        """Send a fact to the parent if it reads. A parent that does not read must not block a runner or a shard."""
        if not self._sending.acquire(blocking=False):
            return  # another thread sends an answer, which may wait for the parent
        try:
            if select.select([], [self._control], [], 0)[1]:
                self._control.send(fact)
        except (OSError, ValueError):
            pass  # the parent is gone
        finally:
            self._sending.release()

    def say(self, topic: str, text: str) -> None:
        """Send a ``text`` about ``topic``, for people, to the parent if it reads. A long text is cut."""
        self.tell("text", topic, text[:TEXT_MAX])

    def send_log(self, *told_otherwise: str) -> None:
        """Send the package's log records to the parent from now on, but not those of the loggers ``told_otherwise``."""
        send_records(LineLog(self.tell, TEXT_MAX, told_otherwise), self._log_level)

    def hand_over(self, *fact: Any) -> None:
        """Send a fact of any size that the parent waits for. Waits until the parent takes it."""
        with contextlib.suppress(OSError), self._sending:
            self._control.send(fact)

    def answer(self, answers: Mapping[str, Callable[..., Any]]) -> None:
        """Answer the waiting questions, each by the function of its name in ``answers``."""
        while self._questions:
            number, question, arguments = self._questions.popleft()
            try:
                self.hand_over("answer", number, True, answers[question](*arguments))
            except Exception as error:
                self.hand_over("answer", number, False, f"{type(error).__name__}: {error}")

    def _watch(self) -> None:
        try:
            while os.getppid() == self._parent_pid:
                if self._control.poll(_PARENT_TICK_S):
                    question = self._control.recv()
                    if question is None:
                        self.set()
                    else:
                        self._questions.append(question)
        except (EOFError, OSError):
            pass
        self.set()
        orphaned = threading.Timer(ORPHAN_GRACE_S, os._exit, (EXIT_ORPHANED,))
        orphaned.daemon = True
        orphaned.start()


def run_runner(control: Connection, log_level: int, orders: RunnerOrders) -> None:
    """The main function of a runner process. It sends the reason for a failure to the parent in one line."""
    line = ParentLine(control, log_level)
    line.send_log(_RUNNER_LOG)
    try:
        _run_runner(line, orders)
    except KevyRingError as error:
        _fail(line, str(error))
    except Exception as error:
        log.exception("the runner failed")
        _fail(line, f"{type(error).__name__}: {error}")


def _fail(line: ParentLine, why: str) -> NoReturn:
    line.hand_over("failed", why)
    sys.exit(1)


def _run_runner(line: ParentLine, orders: RunnerOrders) -> None:
    from kevy_ring.inbox import ReplicaInboxSender
    from kevy_ring.ring import inspect_ring

    def notify(state: LinkState, text: str) -> None:
        line.tell("link", int(state), text, runner.refusal)

    _await_receiver(orders.ring_name, line)
    words_before = inspect_ring(orders.ring_name).producer_words
    upstream = orders.options.upstreams[orders.shard]
    sender = ReplicaInboxSender.attach(orders.ring_name, timeout=_ATTACH_TIMEOUT_S)
    published = sender.published
    runner = Runner(
        orders.options,
        sender,
        shard=orders.shard,
        stop=line,
        resume=resume_after(published, upstream.kind) if published.is_known else orders.resume,
        full_reason=FullSyncReason.INTERRUPTED if published.is_known else orders.full_reason,
        replica_id=orders.replica_id,
        notify=notify,
        synced=lambda how, text: line.tell("synced", how, text, runner.sync_reason),
        words_before=words_before,
    )
    ended = runner.run()
    sender.close(timeout=_FLUSH_S if ended is RunnerExit.STOPPED else 0.0)
    sys.exit(EXIT_RECEIVER_GONE if ended is RunnerExit.RECEIVER_GONE else 0)


def resume_after(published: Published, kind: str) -> ResumePoint | None:
    """Where to continue after the last event that a ring has ``published``; None: a full sync is needed.

    ``kind``: of the upstream, ``"kevy"`` or ``"redis"``. A kevy snapshot covers the frames before its acknowledged
    offset (the next frame has this offset). A Redis snapshot covers all bytes up to and including it.
    """
    offset = published.offset
    if offset is None or not published.upstream_id or published.in_snapshot:
        return None
    if kind == "kevy" and published.after_snapshot:
        offset -= 1
    return ResumePoint(published.upstream_id, offset, published.db) if offset >= 0 else None


def _await_receiver(ring_name: str, stop: StopSignal) -> None:
    """Wait for the next receiver if the last one is gone: a sender would take its absence as final."""
    from kevy_ring.ring import RoleState, inspect_ring

    gone = (RoleState.DEAD, RoleState.CLOSED)
    while inspect_ring(ring_name).consumer.state in gone and not stop.wait(_RECEIVER_TICK_S):
        pass


def run_shard(control: Connection, log_level: int, shard_main: ShardMain, ring_name: str, index: int) -> None:
    """The main function of a shard process. It sends ``shard_main``'s result, or why it got no ring, to the parent."""
    line = ParentLine(control, log_level)
    try:
        result = shard_main(ring_name, index, line)
    except (RoleTaken, SegmentError) as error:
        _fail(line, str(error))
    line.hand_over("result", result)
