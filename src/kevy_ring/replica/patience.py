"""How long a runner waits after each link that ended: moments after a lost one, minutes after a refusal."""

from __future__ import annotations

from kevy_ring.errors import Refusal, RefusalKind
from kevy_ring.replica.backoff import Backoff
from kevy_ring.replica.refusal import counted

# Somebody has to act before a permanent refusal ends: the first attempts come soon, because a server that is being
# restarted may refuse for a moment; later ones are rare, because each may count as an attempt to break in.
REFUSED_FIRST_S, REFUSED_LONGEST_S = 1.0, 300.0
# Each full sync that fails has cost the primary a fork.
NO_SNAPSHOT_FIRST_S, NO_SNAPSHOT_LONGEST_S = 5.0, 300.0


class Patience:
    """Counts the attempts that ended in the same way, and says how long to wait before the next one.

    ``usual``: after a lost link and a refusal that passes by itself; ``refused``: after a permanent one;
    ``no_snapshot``: after a full sync that again and again ended before its snapshot was whole.
    """

    def __init__(
        self, usual: Backoff | None = None, refused: Backoff | None = None, no_snapshot: Backoff | None = None
    ) -> None:
        self._usual = usual if usual is not None else Backoff()
        self._refused = refused if refused is not None else Backoff(REFUSED_FIRST_S, REFUSED_LONGEST_S)
        self._no_snapshot = (
            no_snapshot if no_snapshot is not None else Backoff(NO_SNAPSHOT_FIRST_S, NO_SNAPSHOT_LONGEST_S)
        )
        self._problem = ""
        self.refusal: Refusal | None = None  # of the last attempt, counted; None where it was none

    def link_stood(self) -> None:
        """The last link stood long enough to be a success: the next one is tried soon."""
        self._usual.reset()

    def worked(self) -> None:
        """The upstream took the handshake, and gave the snapshot if one was promised: earlier refusals are over."""
        self.refusal = None
        self._refused.reset()
        self._no_snapshot.reset()

    def next_delay(self, problem: str, refusal: Refusal | None) -> float:
        """The seconds to wait after an attempt that ended in ``problem``; ``refusal``: what it means, where known."""
        before, self.refusal = self.refusal, None
        if refusal is not None:
            # Where a snapshot breaks off differs from time to time, all else is the same only in the same words.
            is_same = before is not None and before.kind is refusal.kind
            is_same = is_same and (refusal.kind is RefusalKind.SNAPSHOT or problem == self._problem)
            self.refusal = counted(refusal, before.times + 1 if before is not None and is_same else 1)
            if not is_same:
                self._refused.reset()
                self._no_snapshot.reset()
        self._problem = problem
        if self.refusal is None or not self.refusal.is_permanent:
            return self._usual.next_delay()
        return (self._no_snapshot if self.refusal.kind is RefusalKind.SNAPSHOT else self._refused).next_delay()
