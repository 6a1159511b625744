"""The C core compiled for aarch64 has the orders of docs/memory-model.md as instructions.

On x86-64 a release store is a plain store. A forgotten order shows in no disassembly and rarely in a run. On aarch64 a
release store is `stlr`, a plain one is `str`. Acquire and seq_cst loads are both `ldar` there, and release and seq_cst
stores are both `stlr`: tests/core/test_memory_model.py tells those apart.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from absent import absent
from places import CSRC

COMPILER, DISASSEMBLER = "aarch64-linux-gnu-gcc", "aarch64-linux-gnu-objdump"

# Function boundaries as in the source, so that an instruction is found in the function that the table names; what the
# source says is inline still is.
FLAGS = ["-std=gnu11", "-O2", "-fno-strict-aliasing", "-fno-inline-functions", "-fno-inline-small-functions"]
FLAGS += ["-fno-inline-functions-called-once", "-fno-ipa-icf", "-fno-partial-inlining"]

# The least number of each instruction: the accesses of the table, and the others in the same function.
WANTED: dict[str, dict[str, int]] = {
    "kr_producer_publish_locked": {"stlr": 3, "ldar": 1},  # I1 I3 I11: the note, its stamp, tail; the request
    "kr_producer_ring_data_bell": {"stlr": 1},  # I5
    "kr_producer_room": {"ldar": 1},  # I2
    "kr_producer_arm": {"stlr": 1, "ldar": 1},  # I4
    "kr_consumer_drain": {"ldar": 2},  # I1 I14
    "kr_consumer_release": {"stlr": 2, "ldar": 2},  # I2 I4: head and reply; the request, and tail when tended
    "kr_consumer_arm": {"stlr": 1},  # I3
    "look": {"ldar": 2},  # I3 I7: the claim, then tail
    "kr_consumer_tend": {"ldar": 3},  # I5: the reply, the claim, tail
    "hold": {"stlr": 2, "ldar": 1},  # I7: the claim; and answered, command
    "kr_role_take": {"stlr": 3, "ldar": 2},  # I9: pid, start and epoch; the claim, answered
    "kr_peer_look": {"ldar": 3},  # I9
    "kr_map_finish": {"stlr": 1},  # I10
    "check_header": {"ldar": 1},  # I10
    "kr_note_find": {"ldar": 1},  # I11
    "kr_stamp_make": {"stlr": 1, "ldar": 1},  # I14: the number; head
    "kr_map_times": {"ldar": 3},  # I15: head, tail, the number
}
EXCHANGES = {"-march=armv8-a": {"ldaxr": 1, "stlxr": 1}, "-march=armv8.1-a": {"casal": 1}}  # I8, in hold()

SOURCES = [
    "ring/producer",
    "ring/producer_wait",
    "ring/consumer",
    "ring/consumer_wait",
    "ring/role",
    "ring/peer",
    "ring/segment",
    "ring/segment_facts",
    "ring/note",
    "ring/stamps",
]
OPERATIONS = ["load_acquire", "store_release", "load_acquire32", "store_release32", "load_seq_cst", "store_seq_cst"]

Found = dict[str, Counter[str]]


@pytest.fixture(autouse=True)
def _cross_compiler() -> None:
    for tool in (COMPILER, DISASSEMBLER):
        if shutil.which(tool) is None:
            absent(f"{tool} is not installed (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross)")


def instructions(sources: Path, scratch: Path, *flags: str) -> Found:
    """The instructions of each function of the ring."""
    found: Found = {}
    for name in SOURCES:
        target = scratch / f"{Path(name).name}.o"
        command = [
            COMPILER,
            *FLAGS,
            "-mno-outline-atomics",
            *flags,
            "-c",
            "-o",
            str(target),
            f"-I{sources}",
            str(sources / f"{name}.c"),
        ]
        subprocess.run(command, check=True, timeout=60)
        listing = subprocess.run(
            [DISASSEMBLER, "-d", "--no-show-raw-insn", str(target)],
            check=True, capture_output=True, text=True, timeout=60,
        ).stdout  # fmt: skip
        function = ""
        for line in listing.splitlines():
            if begins := re.match(r"[0-9a-f]+ <(\w+)", line):
                function = begins[1]
            elif one := re.match(r"\s+[0-9a-f]+:\s+([a-z0-9.]+)", line):
                found.setdefault(function, Counter())[one[1]] += 1
    return found


def lacking(found: Found) -> list[str]:
    """The functions that have fewer of an instruction than the table needs."""
    wanted = {(function, name): count for function, names in WANTED.items() for name, count in names.items()}
    return [function for (function, name), count in wanted.items() if found.get(function, Counter())[name] < count]


def weakened(scratch: Path, operation: str) -> Path:
    """The sources, with one operation of ring/atomics.h relaxed."""
    sources = scratch / "csrc"
    sources.mkdir()
    for path in [*CSRC.glob("*.h"), *CSRC.glob("ring/*.[ch]"), *CSRC.glob("inbox/*.[ch]")]:
        copy = sources / path.relative_to(CSRC)
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(path, copy)
    header = sources / "ring" / "atomics.h"
    lines = header.read_text(encoding="utf-8").splitlines()
    at = next(i for i, line in enumerate(lines) if re.search(rf"\b{operation}\(", line))
    while "memory_order" not in lines[at]:
        at += 1
    lines[at] = re.sub(r"memory_order_\w+", "memory_order_relaxed", lines[at])
    header.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return sources


def test_each_order_of_the_table_is_an_instruction_and_none_a_barrier(tmp_path: Path) -> None:
    """Each order belongs to an access of a word, so no function needs `dmb`."""
    found = instructions(CSRC, tmp_path)
    assert lacking(found) == []
    assert [function for function, names in found.items() if names["dmb"]] == []


@pytest.mark.parametrize("architecture", EXCHANGES)
def test_a_role_is_taken_with_acquire_and_release(tmp_path: Path, architecture: str) -> None:
    found = instructions(CSRC, tmp_path, architecture)["hold"]
    assert {name: found[name] for name in EXCHANGES[architecture]} == EXCHANGES[architecture]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_relaxed_operation_is_missed(tmp_path: Path, operation: str) -> None:
    assert lacking(instructions(weakened(tmp_path, operation), tmp_path))


def test_a_role_taken_without_an_order_is_missed(tmp_path: Path) -> None:
    found = instructions(weakened(tmp_path, "compare_exchange32"), tmp_path, "-march=armv8-a")["hold"]
    assert (found["ldaxr"], found["stlxr"]) == (0, 0)
