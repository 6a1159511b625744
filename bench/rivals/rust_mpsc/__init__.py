"""The original's design as a rival: ``std::sync::mpsc`` between two threads of one Rust program."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from bench.contender import Contender
from bench.measured import Measured, RoundFailed
from bench.native import build, run_native

SOURCE = Path(__file__).resolve().parent / "main.rs"
NAME = "Rust mpsc"


def rust_program() -> Path:
    """The program, built with ``rustc -O``. ``RoundFailed`` when there is no rustc or it fails."""
    return build("rust_mpsc", ["rustc", "--edition", "2021", "-O", SOURCE, "-o"], [SOURCE])


def rust_version() -> str:
    """What ``rustc`` says of itself, or nothing."""
    if shutil.which("rustc") is None:
        return ""
    said = subprocess.run(["rustc", "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
    return " ".join(said.split()[:2])


def rust_contender(case: str, variant: str, quick: bool, count: int = 0) -> Contender:
    """The Rust program in one of its cases: ``events``, ``ingest``, ``snapshot`` or ``stall``."""
    count = count or {"events": 1_000_000, "ingest": 1_000_000, "snapshot": 4096, "stall": 5_000_000}[case]
    count = max(1000, count // 20) if quick else count
    try:
        program = rust_program()
    except RoundFailed as failed:
        return Contender.absent(NAME, variant, str(failed))

    def run() -> Measured:
        return run_native([program, case, str(count)])

    def check() -> None:
        run_native([program, case, str(min(count, 200_000)), "check"])

    return Contender(NAME, variant, run, check, version=rust_version(), note="two threads, owned Vec<Vec<u8>>")
