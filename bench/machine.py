"""The machine and the versions that a result was measured with, and whether the machine is quiet enough."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

# Other work than ours that is let pass, in cores. More shifts medians by more than the goals leave room for.
BUSY_CORES = 0.25
LOAD_PER_CORE = 0.75
_TICK = os.sysconf("SC_CLK_TCK")
_ROOT = Path(__file__).resolve().parent.parent
_DISTRIBUTIONS = (
    "kevy-ring", "numpy", "cffi", "cloudtoid-interprocess", "membridge", "zeroq", "kickmsg", "subetha-ipc",
    "tachyon-ipc", "pyzmq", "faster-fifo", "iceoryx2", "msgspec", "redis", "hiredis",
)  # fmt: skip


@dataclass
class Machine:
    """What a reader needs to know about where the figures come from."""

    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    python: str
    commit: str = ""
    is_dirty: bool = False
    load_1min: float = 0.0
    busy_cores: float = 0.0
    started_unix: int = 0
    hypervisor: bool = False
    huge_pages: str = ""
    versions: dict[str, str] = field(default_factory=dict)


def look() -> Machine:
    """Look at this machine. Takes half a second, in which other processes' use of the CPU is measured."""
    foreign = ForeignLoad()
    time.sleep(0.5)
    cpu = _first_line(Path("/proc/cpuinfo"), "model name") or platform.processor()
    memory = int((_first_line(Path("/proc/meminfo"), "MemTotal") or "0 kB").split()[0]) / (1 << 20)
    huge = Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
    return Machine(
        cpu=cpu,
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(memory, 1),
        kernel=platform.release(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        commit=_git("rev-parse", "--short=12", "HEAD"),
        is_dirty=bool(_git("status", "--porcelain", "--untracked-files=no")),
        load_1min=os.getloadavg()[0],
        busy_cores=foreign.cores(),
        started_unix=round(time.time()),
        hypervisor="hypervisor" in (_first_line(Path("/proc/cpuinfo"), "flags") or ""),
        huge_pages=huge.read_text().strip() if huge.exists() else "",
        versions=_versions(),
    )


def why_busy(machine: Machine) -> str:
    """Why this machine is too busy to measure on; empty when it is quiet."""
    if machine.busy_cores > BUSY_CORES:
        return f"other processes use {machine.busy_cores:.2f} cores now (at most {BUSY_CORES})"
    limit = LOAD_PER_CORE * machine.cores
    if machine.load_1min > limit:
        return f"the load average of the last minute is {machine.load_1min:.2f} (at most {limit:.2f})"
    return ""


class ForeignLoad:
    """How much CPU other processes used since this was made. Counts only children that have ended as ours."""

    def __init__(self) -> None:
        self._busy, self._own, self._at = _busy_seconds(), _own_seconds(), time.monotonic()

    def cores(self) -> float:
        """Cores in use by others, in the mean; not less than 0."""
        passed = time.monotonic() - self._at
        foreign = (_busy_seconds() - self._busy) - (_own_seconds() - self._own)
        return round(max(0.0, foreign / passed), 3) if passed else 0.0


def _busy_seconds() -> float:
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(f) for f in fields[:8])
    return (user + nice + system + irq + softirq + steal) / _TICK


def _own_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _first_line(path: Path, name: str) -> str:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _versions() -> dict[str, str]:
    found = {}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if "kevy-ring" not in found and (_ROOT / "src" / "kevy_ring").is_dir():
        found["kevy-ring"] = "source tree"
    found["compiler of Python"] = platform.python_compiler()
    found["pointer bits"] = str(sys.maxsize.bit_length() + 1)
    return found
