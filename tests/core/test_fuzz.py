"""The inputs that the fuzzers kept pass, and a short run of each fuzzer finds nothing."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_native import CSRC, LIMIT_S, make, require_sanitizer

import fuzz_protocols
from kevy_ring import replica_inbox_pair
from transcripts import RECORDED, SMALL

NAMES = [*(transcript.name.replace(" ", "-") for transcript in SMALL + RECORDED), "kevysnap"]
SHORT_RUNS = 400


@pytest.fixture(scope="module")
def targets() -> Iterator[dict[str, fuzz_protocols.Target]]:
    sender, receiver = replica_inbox_pair(1 << 16)
    with sender, receiver:
        yield {target.name: target for target in fuzz_protocols.targets((sender, receiver))}


@pytest.mark.timeout(LIMIT_S + 10)
def test_the_inputs_kept_for_the_core_pass_under_the_address_and_undefined_behaviour_sanitizers(tmp_path: Path) -> None:
    require_sanitizer("address,undefined", tmp_path)
    make("-C", "fuzz", "replay")


def test_a_harness_that_reads_what_is_not_published_is_ended(tmp_path: Path) -> None:
    """Poisoned memory makes a replay useful: it also finds a wrong read inside the mapping."""
    require_sanitizer("address,undefined", tmp_path)
    source = (CSRC / "fuzz" / "drain.c").read_text(encoding="utf-8")
    wrong = source.replace(
        "apply(drain, BEFORE_ARGUMENTS);",
        "(void)*(volatile char *)(drain->ring->area + drain->batch.index + drain->batch.span + 64);",
    )
    assert wrong != source
    program = tmp_path / "wrong"
    (tmp_path / "wrong.c").write_text(wrong, encoding="utf-8")
    sources = [
        *(path for layer in ("ring", "inbox", "wire") for path in CSRC.glob(f"{layer}/*.c")),
        CSRC / "fuzz" / "hostile_ring.c",
        CSRC / "fuzz" / "replay.c",
    ]
    flags = [
        "-std=gnu11",
        "-fno-strict-aliasing",
        "-fsanitize=address",
        "-I",
        str(CSRC),
        "-I",
        str(CSRC / "fuzz"),
        "-w",
        "-pthread",
    ]
    command = [
        os.environ.get("CC", "cc"),
        *flags,
        str(tmp_path / "wrong.c"),
        *map(str, sources),
        "-o",
        str(program),
        "-lrt",
    ]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    done = subprocess.run(
        [str(program), str(CSRC / "fuzz" / "corpus" / "drain")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert "use-after-poison" in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_the_streams_kept_of_a_protocol_give_the_same_in_any_pieces(
    targets: dict[str, fuzz_protocols.Target], name: str
) -> None:
    streams = fuzz_protocols.kept(name)
    assert streams
    for stream, cuts in streams:
        fuzz_protocols.execute(targets[name], stream, cuts)


@pytest.mark.parametrize("name", NAMES)
def test_a_short_run_finds_no_stream_that_does_what_none_may(
    targets: dict[str, fuzz_protocols.Target], name: str
) -> None:
    target = targets[name]
    fuzz_protocols.fuzz(target, SHORT_RUNS, random.Random(name))
    assert len(target.seen) > 3
