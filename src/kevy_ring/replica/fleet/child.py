"""The processes of a fleet, seen from inside: they stop when told, when signalled, and when their parent is gone."""

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
from typing import Any, NoReturn

from kevy_ring.errors import KevyRingError, RoleTaken, SegmentError
from kevy_ring.inbox.header_words import LinkState
from kevy_ring.replica.options import FollowOptions
from kevy_ring.replica.protocol import FullSyncReason, ResumePoint
from kevy_ring.replica.protocols.resume import resume_after
from kevy_ring.replica.runner.runner import Runner, RunnerExit
from kevy_ring.replica.stop import StopSignal

ShardMain = Callable[[str, int, StopSignal], Any]

EXIT_RECEIVER_GONE = 3
EXIT_ORPHANED = 4
# A shard ends so when the first part of an event larger than the ring went to its dead predecessor.
EXIT_TRUNCATED = 5
# What a child may take to end by itself once its parent is gone; nobody else is left to end it.
ORPHAN_GRACE_S = 5.0
# How often a child looks whether its parent is still the same, should somebody else hold the pipe open.
_PARENT_TICK_S = 1.0
_ATTACH_TIMEOUT_S = 10.0
_RECEIVER_TICK_S = 0.02
# What a runner that is stopped may take to hand its overflow over.
_FLUSH_S = 2.0
# Words are short so that they never wait for space on the line.
WORDS_MAX = 8000
# These stay blocked from before a child is spawned until it has its own answers to them.
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class RunnerOrders:
    """What a runner process is to do. It travels through a pipe, never through a command line."""

    options: FollowOptions
    shard: int
    ring_name: str
    replica_id: str
    resume: ResumePoint | None = None  # for a ring on which nothing was published yet
    full_reason: FullSyncReason = FullSyncReason.FIRST  # where there is nothing to resume


class ParentLine(StopSignal):
    """The child's end of the only line to its parent. It is also the child's stop signal.

    It is set by the parent's word, by the parent's death, or by SIGTERM. SIGINT is for the parent: a terminal sends it
    to the whole group, and the parent ends all processes in order. A ``shard_main`` gets this line as its ``stop``:
    with ``say`` and ``answer`` it reaches ``on_words`` and ``ask`` of the fleet.
    """

    def __init__(self, control: Connection) -> None:
        super().__init__()
        self._control = control
        self._sending = threading.Lock()  # a log record may come from any thread
        self._questions: deque[tuple[int, str, tuple[Any, ...]]] = deque()
        self._parent_pid = os.getppid()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: self.set())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING_SIGNALS)
        threading.Thread(target=self._watch, name="kevy-ring-parent", daemon=True).start()

    def tell(self, *words: Any) -> None:
        """Tell the parent something if it listens. A parent that does not read must not block a runner or a shard."""
        if not self._sending.acquire(blocking=False):
            return  # another thread sends an answer, which may wait for the parent
        try:
            if select.select([], [self._control], [], 0)[1]:
                self._control.send(words)
        except (OSError, ValueError):
            pass  # the parent is gone
        finally:
            self._sending.release()

    def say(self, topic: str, text: str) -> None:
        """Say words for people, which nobody has to hear. A long text is cut, so that it always finds space."""
        self.tell("words", topic, text[:WORDS_MAX])

    def hand_over(self, *words: Any) -> None:
        """Tell the parent something that it waits for, of any size."""
        with contextlib.suppress(OSError), self._sending:
            self._control.send(words)

    def answer(self, answers: Mapping[str, Callable[..., Any]]) -> None:
        """Answer the questions that wait, by the function of their name."""
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


def run_runner(control: Connection, orders: RunnerOrders) -> None:
    """A runner process's whole life; why it fails goes to the parent in one line."""
    line = ParentLine(control)
    try:
        _run_runner(line, orders)
    except KevyRingError as error:
        _fail(line, error)


def _fail(line: ParentLine, error: Exception) -> NoReturn:
    line.hand_over("failed", str(error))
    sys.exit(1)


def _run_runner(line: ParentLine, orders: RunnerOrders) -> None:
    # The parent logs what it is told; a child that also wrote to the terminal would spoil the parent's view.
    logging.getLogger("kevy_ring").addHandler(logging.NullHandler())
    logging.getLogger("kevy_ring").propagate = False
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


def _await_receiver(ring_name: str, stop: StopSignal) -> None:
    """Wait while the ring's last receiver is gone and the next one has not come: to a sender that is final."""
    from kevy_ring.ring import RoleState, inspect_ring

    gone = (RoleState.DEAD, RoleState.CLOSED)
    while inspect_ring(ring_name).consumer.state in gone and not stop.wait(_RECEIVER_TICK_S):
        pass


def run_shard(control: Connection, shard_main: ShardMain, ring_name: str, index: int) -> None:
    """A shard process's whole life; what ``shard_main`` returns goes to the parent, or why it got no ring."""
    line = ParentLine(control)
    try:
        result = shard_main(ring_name, index, line)
    except (RoleTaken, SegmentError) as error:
        _fail(line, error)
    line.hand_over("result", result)
