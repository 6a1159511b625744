"""kevy-ring's ring with a receiver that never spins."""

from __future__ import annotations

from bench.rivals.ours import Ours


class OursAsleep(Ours):
    """``spin_us=0``: straight to the doorbell."""

    note = "try_write / read; spin_us=0"
    spin_us = 0.0


TRANSPORT = OursAsleep
