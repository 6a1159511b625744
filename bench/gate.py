"""The regression gate: instructions per record of the core's hot paths, counted by callgrind, against the values kept.

Instruction counts do not depend on how busy the machine is. They do depend on the compiler and the C library. So the
values are kept with the versions that made them, and are compared only with counts of the same versions.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
NATIVE = HERE / "native"
KEPT = HERE / "instructions.json"
#: A path may cost this much more than the value kept.
ALLOWED = 0.03
_DEADLINE_S = 120.0


@dataclass(frozen=True)
class HotPath:
    """One path of the core: the arguments of ``paths``, and the functions whose instructions count."""

    name: str
    arguments: tuple[str, ...]
    functions: tuple[str, ...]


_DRAIN = ("kr_consumer_drain", "kr_consumer_release")
PATHS = (
    HotPath("core write, 16 B", ("write", "40", "16"), ("kr_producer_write_many",)),
    HotPath("core write, 88 B", ("write", "40", "88"), ("kr_producer_write_many",)),
    HotPath("core write, 1024 B", ("write", "40", "1024"), ("kr_producer_write_many",)),
    HotPath("core drain, 88 B", ("write", "40", "88"), _DRAIN),
    HotPath("ingest scan", ("scan", "1"), ("kr_scan_kevy",)),
    HotPath("ingest scan, mixed lengths", ("scan-mixed", "1"), ("kr_scan_kevy",)),
    HotPath("ingest drain", ("scan", "1"), _DRAIN),
    HotPath("ingest drain, mixed lengths", ("scan-mixed", "1"), _DRAIN),
    # By separate arguments, as the binding sends them: 42 instructions more than one copy of joined bytes took.
    HotPath("overflow append", ("overflow", "2"), ("kr_send_pieces",)),
    HotPath("overflow move", ("overflow", "2"), ("kr_pump",)),
)


def first_line(command: list[str]) -> str:
    """The first line that a program prints about itself."""
    return (
        subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.splitlines()[0].strip()
    )


def made_with() -> dict[str, str]:
    """What the counts depend on besides the code."""
    return {
        "compiler": first_line([os.environ.get("CC", "cc"), "--version"]),
        "valgrind": first_line(["valgrind", "--version"]),
        "libc": " ".join(platform.libc_ver()),
        "machine": platform.machine(),
    }


def count(path: HotPath) -> float:
    """Instructions per record of one path."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "callgrind.out"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
        command += [f"--toggle-collect={function}" for function in path.functions]
        command += [str(NATIVE / "build" / "paths"), *path.arguments]
        # Bind symbols at the start. Otherwise the first call of each library function counts its lookup too.
        environment = {**os.environ, "LD_BIND_NOW": "1"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DEADLINE_S, check=True, env=environment)
        records = json.loads(done.stdout)["work"]
        found = re.search(r"^(?:summary|totals): (\d+)", out.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None or found[1] == "0":
        raise RuntimeError(f"{path.name}: callgrind counted nothing in {', '.join(path.functions)}")
    return int(found[1]) / float(records)


def verdict(name: str, now: float, kept: dict[str, float]) -> tuple[str, bool]:
    """A line of the table, and whether the path costs too much."""
    if name not in kept:
        return f"{name:<30} {now:10.1f} {'-':>10} {'new':>8}", False
    change = now / kept[name] - 1
    worse = change > ALLOWED
    return f"{name:<30} {now:10.1f} {kept[name]:10.1f} {change:+8.1%}{'  TOO MUCH' if worse else ''}", worse


def missing_tools() -> list[str]:
    """The tools that are missing here."""
    return [tool for tool in (os.environ.get("CC", "cc"), "make", "valgrind") if shutil.which(tool) is None]


def main(arguments: list[str] | None = None) -> int:
    """Count, compare, print; the exit code says whether all paths cost what they may."""
    parser = argparse.ArgumentParser(prog="bench/gate.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--update", action="store_true", help="keep the values of this run")
    chosen = parser.parse_args(arguments)
    if missing := missing_tools():
        print(f"gate: not installed: {', '.join(missing)}", file=sys.stderr)
        return 2
    subprocess.run(["make", "-s", "-C", str(NATIVE), "build/paths"], check=True, stdout=sys.stderr)
    counted = {path.name: round(count(path), 1) for path in PATHS}
    here, kept = made_with(), json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    if chosen.update:
        KEPT.write_text(json.dumps({"made_with": here, "per_record": counted}, indent=2) + "\n", encoding="utf-8")
    comparable = kept.get("made_with") == here
    lines = [verdict(name, now, kept["per_record"] if comparable else {}) for name, now in counted.items()]
    print(f"{'instructions per record':<30} {'now':>10} {'kept':>10} {'change':>8}")
    print("\n".join(line for line, _ in lines))
    if kept and not comparable:
        print(f"gate: nothing compared: the values kept were made with {kept['made_with']}, this is {here}")
    failed = any(worse for _, worse in lines) and not chosen.update
    print(f"gate: {'failed' if failed else 'passed'} (up to +{ALLOWED:.0%} is allowed)")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
