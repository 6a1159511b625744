"""The memory that a process may still take: on a machine, in a cgroup, and where no limit is known."""

from __future__ import annotations

import os
from pathlib import Path

from kevy_ring.replica.memory_left import memory_left

MIB = 1 << 20


def put(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_without_a_cgroup_it_is_what_the_machine_has_available(tmp_path: Path) -> None:
    put(tmp_path, "proc/meminfo", "MemTotal: 99 kB\nMemAvailable:   2048 kB\n")
    assert memory_left(7, tmp_path) == 2 * MIB


def test_the_tightest_cgroup_above_the_process_counts_without_what_can_be_had_back(tmp_path: Path) -> None:
    put(tmp_path, "proc/meminfo", "MemAvailable: 9999999 kB\n")
    put(tmp_path, "proc/7/cgroup", "0::/pod/box\n")
    put(tmp_path, "sys/fs/cgroup/pod/box/memory.max", "max\n")
    put(tmp_path, "sys/fs/cgroup/pod/box/memory.current", f"{MIB}\n")
    put(tmp_path, "sys/fs/cgroup/pod/memory.max", f"{10 * MIB}\n")
    put(tmp_path, "sys/fs/cgroup/pod/memory.current", f"{8 * MIB}\n")
    put(tmp_path, "sys/fs/cgroup/pod/memory.stat", f"anon 5\ninactive_file {3 * MIB}\n")
    assert memory_left(7, tmp_path) == 5 * MIB


def test_the_memory_controller_of_cgroup_1_counts_too(tmp_path: Path) -> None:
    put(tmp_path, "proc/meminfo", "MemAvailable: 9999999 kB\n")
    put(tmp_path, "proc/7/cgroup", "5:cpu:/other\n4:memory:/seen/from/the/host\n")
    put(tmp_path, "sys/fs/cgroup/memory/memory.limit_in_bytes", f"{4 * MIB}\n")
    put(tmp_path, "sys/fs/cgroup/memory/memory.usage_in_bytes", f"{MIB}\n")
    assert memory_left(7, tmp_path) == 3 * MIB


def test_it_is_unknown_where_nothing_tells(tmp_path: Path) -> None:
    assert memory_left(7, tmp_path) is None


def test_this_machine_has_some_left() -> None:
    assert memory_left(os.getpid()) or not Path("/proc/meminfo").exists()
