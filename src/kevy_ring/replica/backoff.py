"""How long to wait before the next attempt: doubling, bounded, with jitter."""

from __future__ import annotations

import random

# A primary that restarts is back within a second; asking a few times a second costs it nothing.
FIRST_S = 0.25
# A primary that was down for long is found again within this time, without many useless attempts.
LONGEST_S = 10.0


class Backoff:
    """Delays in seconds from ``first_s`` to ``longest_s``: each ceiling is twice the one before.

    A delay is drawn from the upper half of its ceiling, so that the replicas of one primary do not all return at once.
    """

    def __init__(
        self, first_s: float = FIRST_S, longest_s: float = LONGEST_S, *, source: random.Random | None = None
    ) -> None:
        if not 0 < first_s <= longest_s:
            raise ValueError(f"a backoff needs 0 < first_s <= longest_s, got {first_s} and {longest_s}")
        self.first_s = first_s
        self.longest_s = longest_s
        self.attempts = 0
        self._source = source or random.Random()

    def next_delay(self) -> float:
        """Count an attempt. Returns the seconds to wait before it."""
        # The exponent is capped, because 2.0**1024 is an OverflowError and a primary may be away for days.
        ceiling = min(self.longest_s, self.first_s * 2.0 ** min(self.attempts + 1, 62))
        self.attempts += 1
        return self._source.uniform(max(self.first_s, ceiling / 2), ceiling)

    def reset(self) -> None:
        """Start from ``first_s`` again, after a success."""
        self.attempts = 0
