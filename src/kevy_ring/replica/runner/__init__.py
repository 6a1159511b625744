"""The runner: follows one upstream stream into one inbox sender, and reconnects after each lost link."""

from kevy_ring.replica.runner.runner import LinkState, Runner, RunnerExit

__all__ = ["LinkState", "Runner", "RunnerExit"]
