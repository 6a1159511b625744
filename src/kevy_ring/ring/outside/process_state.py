"""What a process is doing, as the kernel tells it: running, sleeping, stopped, a zombie, or gone."""

from __future__ import annotations

from enum import Enum


class ProcessState(Enum):
    """The third field of ``/proc/PID/stat`` (proc_pid_stat(5)), as far as it matters to who waits for the process."""

    RUNNING = "running"
    SLEEPING = "sleeping"
    BLOCKED = "in a system call that cannot be interrupted (D)"
    STOPPED = "stopped (T)"
    ZOMBIE = "a zombie (Z)"
    GONE = "gone"


_LETTERS = {
    "R": ProcessState.RUNNING,
    "D": ProcessState.BLOCKED,
    "T": ProcessState.STOPPED,
    "t": ProcessState.STOPPED,
    "Z": ProcessState.ZOMBIE,
    "X": ProcessState.GONE,
}


def process_state(pid: int) -> ProcessState:
    """What the process ``pid`` of this machine is doing now; ``GONE`` where there is none, or none that may be seen.

    A process in another pid namespace has another number here, so it is not the one asked for.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            told = file.read()
    except OSError:
        return ProcessState.GONE
    # The name before it stands in parentheses and may hold anything, parentheses too.
    letter = told.rpartition(")")[2].split(maxsplit=1)[:1]
    return _LETTERS.get(letter[0], ProcessState.SLEEPING) if letter else ProcessState.GONE
