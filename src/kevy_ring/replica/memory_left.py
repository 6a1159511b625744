"""How much memory a process can still take: what the machine has available, or less if a cgroup limits it."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path("/")
# The part of a cgroup's usage that the kernel can reclaim at once (same name in cgroup v2 and v1).
_RECLAIMABLE = "inactive_file"
# The names of the limit and of the usage, of cgroup v2 and of v1's memory controller.
_V2 = ("memory.max", "memory.current")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")


def memory_left(pid: int, root: Path = _ROOT) -> int | None:
    """Bytes that the process ``pid`` can still take; None if unknown.

    The minimum of MemAvailable (proc_meminfo(5)) and the room in each cgroup of the process. ``root`` holds ``proc``
    and ``sys``.
    """
    left = [found for found in (_available(root), *_cgroups_left(pid, root)) if found is not None]
    return min(left) if left else None


def _available(root: Path) -> int | None:
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _cgroups_left(pid: int, root: Path) -> list[int | None]:
    found: list[int | None] = []
    for line in _text(root / f"proc/{pid}/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top, names = root / "sys/fs/cgroup", _V2
        elif "memory" in controllers.split(","):
            top, names = root / "sys/fs/cgroup/memory", _V1
        else:
            continue
        # In a container the path may be the host's. Then the files of the container's cgroup are at the top.
        group = top / path.strip("/")
        found += [_left(each, *names) for each in (group, *group.parents) if each.is_relative_to(top)]
    return found


def _left(group: Path, limit_name: str, usage_name: str) -> int | None:
    limit, usage = _text(group / limit_name).strip(), _text(group / usage_name).strip()
    if not limit.isdecimal() or not usage.isdecimal():
        return None  # "max", or no such file
    reclaimable = 0
    for line in _text(group / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name == _RECLAIMABLE and value.isdecimal():
            reclaimable = int(value)
    return max(0, int(limit) - int(usage) + reclaimable)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
