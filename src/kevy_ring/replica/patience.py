"""How long a runner waits after a link ended: seconds after a lost link, up to minutes after a refusal."""

from __future__ import annotations

from kevy_ring.errors import Refusal, RefusalKind
from kevy_ring.replica.backoff import Backoff
from kevy_ring.replica.refusal import counted

# A permanent refusal ends only when a person acts. The first attempts come soon, because a server that restarts may
# refuse for a moment. Later attempts are rare, because the server may count each as an attempt to break in.
REFUSED_FIRST_S, REFUSED_LONGEST_S = 1.0, 300.0
# Each failed full sync costs the primary a fork.
NO_SNAPSHOT_FIRST_S, NO_SNAPSHOT_LONGEST_S = 5.0, 300.0


class Patience:
    """Counts the attempts that ended in the same way, and says how long to wait before the next one.

    ``usual``: after a lost link or a temporary refusal. ``refused``: after a permanent refusal. ``no_snapshot``: after
    repeated full syncs that ended before their snapshot was complete.
    """

    def __init__(
        self, usual: Backoff | None = None, refused: Backoff | None = None, no_snapshot: Backoff | None = None
    ) -> None:
        self._usual = usual or Backoff()
        self._refused = refused or Backoff(REFUSED_FIRST_S, REFUSED_LONGEST_S)
        self._no_snapshot = no_snapshot or Backoff(NO_SNAPSHOT_FIRST_S, NO_SNAPSHOT_LONGEST_S)
        self._problem = ""
        self.refusal: Refusal | None = None  # of the last attempt, with its count; None if it was not refused

    def link_stood(self) -> None:
        """The last link lasted long enough to count as a success: try the next one soon."""
        self._usual.reset()

    def worked(self) -> None:
        """Forget earlier refusals: the upstream accepted the handshake and sent each promised snapshot."""
        self.refusal = None
        self._refused.reset()
        self._no_snapshot.reset()

    def next_delay(self, problem: str, refusal: Refusal | None) -> float:
        """The seconds to wait after an attempt that ended with ``problem``, which means ``refusal`` if known."""
        before, self.refusal = self.refusal, None
        if refusal is not None:
            # Snapshots break at different places, so their kind is enough. Other refusals must have the same text.
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
