"""The runner: follows one upstream stream, through every lost link, into one inbox sender."""

from kevy_ring.replica.runner.runner import LinkState, Runner, RunnerExit

__all__ = ["LinkState", "Runner", "RunnerExit"]
