"""The C core's own tests: plain, under sanitizers, and with a core that was made wrong on purpose."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from absent import absent
from places import CSRC

LIMIT_S = 280

# As in the Makefile: a large random offset can put a mapping where the thread sanitizer needs its own.
STILL = ["setarch", "-R"]
if shutil.which("setarch") is None or subprocess.run([*STILL, "true"], capture_output=True, check=False).returncode:
    STILL = []

pytestmark = pytest.mark.timeout(LIMIT_S + 10)


def make(*arguments: str) -> None:
    if shutil.which("make") is None:
        absent("make is not installed")
    if shutil.which(os.environ.get("CC", "cc")) is None:
        absent("no C compiler is installed")
    try:
        done = subprocess.run(
            ["make", "-C", str(CSRC), *arguments], capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired as exc:
        pytest.fail(f"make {' '.join(arguments)} did not end in {LIMIT_S} s:\n{exc.stdout!r}")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def require_sanitizer(name: str, scratch: Path) -> None:
    """Compile and run an empty program under the sanitizer."""
    source, program = scratch / "empty.c", scratch / "empty"
    source.write_text("int main(void) { return 0; }\n", encoding="ascii")
    compiler = os.environ.get("CC", "cc")
    try:
        subprocess.run(
            [compiler, f"-fsanitize={name}", str(source), "-o", str(program)],
            capture_output=True, timeout=60, check=True,
        )  # fmt: skip
        subprocess.run([*STILL, str(program)], capture_output=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as exc:
        absent(f"{compiler} cannot do -fsanitize={name} here: {exc}")


def test_the_core_passes_its_own_tests() -> None:
    make("test")


def test_the_core_passes_them_under_the_address_and_undefined_behaviour_sanitizers(tmp_path: Path) -> None:
    require_sanitizer("address,undefined", tmp_path)
    make("asan")


def test_the_core_passes_those_with_threads_under_the_thread_sanitizer(tmp_path: Path) -> None:
    require_sanitizer("thread", tmp_path)
    make("tsan")


def test_a_core_with_a_weakened_order_does_not_pass(tmp_path: Path) -> None:
    require_sanitizer("thread", tmp_path)
    make("mutants", "MUTANTS=publish_relaxed release_relaxed tail_before_the_bytes look_before_the_request")
