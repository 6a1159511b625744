"""The state of a process, from the kernel: running, sleeping, stopped, a zombie, or gone."""

from __future__ import annotations

from enum import Enum


class ProcessState(Enum):
    """The third field of ``/proc/PID/stat`` (proc_pid_stat(5)), for code that waits for the process."""

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
    """The state of process ``pid`` of this machine now. ``GONE``: no such process, or this user may not see it.

    A process in another pid namespace has another number here.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            told = file.read()
    except OSError:
        return ProcessState.GONE
    # The field before it is the name in parentheses, which may contain any character, also parentheses.
    letter = told.rpartition(")")[2].split(maxsplit=1)[:1]
    return _LETTERS.get(letter[0], ProcessState.SLEEPING) if letter else ProcessState.GONE
