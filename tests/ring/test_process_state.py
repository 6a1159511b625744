"""The state of a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from kevy_ring.ring.outside.process_state import ProcessState, process_state
from kevy_ring_command import wait_until


def test_a_process_is_told_stopped_then_a_zombie_then_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        os.kill(child.pid, signal.SIGSTOP)
        wait_until(lambda: process_state(child.pid) is ProcessState.STOPPED)
        os.kill(child.pid, signal.SIGCONT)
        wait_until(lambda: process_state(child.pid) is ProcessState.SLEEPING)
        os.kill(child.pid, signal.SIGKILL)
        wait_until(lambda: process_state(child.pid) is ProcessState.ZOMBIE)
    finally:
        child.kill()
        child.wait(60)
    assert process_state(child.pid) is ProcessState.GONE


def test_this_process_runs_and_no_process_is_gone() -> None:
    assert process_state(os.getpid()) is ProcessState.RUNNING
    assert process_state(0) is ProcessState.GONE
