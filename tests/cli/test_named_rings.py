"""Rings have readable names and say what they serve, and tables fit 80 columns."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from command_in_process import invoke, listed
from kevy_ring.cli.command import run
from kevy_ring.cli.rings.ring_text import label_text, ring_label
from kevy_ring.cli.tables import cut
from kevy_ring.ring import Ring
from kevy_ring.ring.segment import fitting_label
from kevy_ring.testing import EmbeddedPrimary
from kevy_ring_command import RunningCommand, is_gone, run_command, wait_until

SHM = Path("/dev/shm")
#: As long as a ring's name can be.
LONGEST = f"kr-{os.getpid():07}-{'x' * 19}"
PATH = f"/var/lib/{'deep/' * 60}orders.db"


@pytest.fixture
def prefix() -> Iterator[str]:
    """A prefix for names of rings. Kept ones of these names are removed at the end."""
    prefix = f"named-{os.getpid()}"
    yield prefix
    for file in SHM.glob(f"{prefix}-*"):
        file.unlink(missing_ok=True)


def _is_followed(said: dict[str, Any]) -> bool:
    return said["type"] == "progress" and all(shard["snapshots"] for shard in said["shards"])


def test_a_run_with_a_name_that_keeps_nothing_leaves_no_ring(prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    with EmbeddedPrimary.start(2, 20, 200, big_values=0, protocol=2) as primary:
        arguments = ("ingest", primary.url, "--shards", "2", "--sink", "memory", "--name", prefix, "--no-keep")
        with RunningCommand(*arguments, "--json") as running:
            running.read_until(_is_followed)
            found = [listed(f"{prefix}-{number}") for number in range(2)]
            assert [each["kept"] for each in found] == [False, False]
            assert found[1]["label"] == f"kevy://127.0.0.1:{primary.ports[1]} → memory"
            assert run([*arguments, "--duration", "1"]) == 1
            err = capsys.readouterr().err
            assert err.startswith(f"kevy-ring: segment '{prefix}-0': exists: ")
            assert f"it is in use (pid {running.pid}" in err
            running.signal(signal.SIGTERM)
            assert running.finish().code == 0
    assert not list(SHM.glob(f"{prefix}*"))


def test_a_ring_that_a_killed_run_left_is_replaced_and_a_kept_one_is_not(
    prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"{prefix}-0"
    with EmbeddedPrimary.start(1, 20, 200, big_values=0, protocol=2) as primary:
        arguments = ("ingest", primary.url, "--sink", "null", "--name", prefix, "--no-keep")
        with RunningCommand(*arguments, "--json") as running:
            running.read_until(lambda said: said["type"] == "progress")
            children = running.children()
            for pid in [running.pid, *children]:  # the tracker too, which would remove the names
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: all(map(is_gone, children)))
        assert (SHM / name).exists()
        assert run_command(*arguments, "--until-caught-up").code == 0
        assert not (SHM / name).exists()
    # A process of its own makes the kept ring, so that no process uses it.
    made = f"from kevy_ring.ring import Ring; Ring.create(8 << 20, {name!r}, keep=True).close()"
    subprocess.run([sys.executable, "-c", made], check=True, timeout=120)
    assert run([*arguments, "--until-caught-up"]) == 1
    err = capsys.readouterr().err
    assert "an earlier run kept it for its next start" in err
    assert f"kevy-ring gc {name}" in err
    assert (SHM / name).exists()


def test_no_keep_without_a_name_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ingest", "redis://h", "--sink", "null", "--no-keep"]) == 2
    assert "--no-keep is for --name" in capsys.readouterr().err


@pytest.mark.parametrize("columns", [None, "80", "200"])
def test_the_tables_of_a_pipe_fit_80_columns_or_as_many_as_asked(
    columns: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    width = int(columns or 80)
    label = ring_label("redis://10.0.0.7:6379", f"sqlite:{PATH}")
    with Ring.create(65536, LONGEST, label=label) as ring, ring.producer() as producer, ring.consumer() as consumer:
        producer.write_many([b"x" * 100] * 9)
        consumer.read()
        listed_lines = invoke("ls").splitlines()
        table = listed_lines[: next(at for at, line in enumerate(listed_lines) if ": " in line)]
        assert any(LONGEST in line for line in table)
        assert max(map(len, table)) <= width
        assert f"{LONGEST}: {label}" in listed_lines
        shown = invoke("top", "--once", LONGEST).splitlines()
        assert max(map(cell_len, shown)) <= width
        assert any("redis://" in line and "orders.db" in line for line in shown)
        records = [line for line in invoke("inspect", LONGEST).splitlines() if "bytes" in line and "'xx" in line]
        assert records
        assert max(map(cell_len, records)) <= width


def test_the_label_of_long_names_keeps_both_ends_of_both() -> None:
    for upstream, sink in (
        ("redis://10.0.0.7:6379", f"sqlite:{PATH}"),
        (f"unix://{PATH}.sock", f"jsonl:{PATH}"),
        (f"unix:///{'ü' * 200}.sock", f"sqlite:/{'字' * 200}.db"),
    ):
        label = ring_label(upstream, sink)
        assert fitting_label(label) == label
        assert label != f"{upstream} → {sink}"
        for text, shown in zip((upstream, sink), label.split(" → "), strict=True):
            assert (shown[:6], shown[-3:]) == (text[:6], text[-3:])
    assert ring_label("redis://h:1", "null") == "redis://h:1 → null"
    assert ring_label("redis://h:1", "jsonl:/a\0\x1b[31m") == "redis://h:1 → jsonl:/a\\x00\\x1b[31m"


def test_a_text_is_cut_in_its_middle_to_the_cells_that_it_has() -> None:
    assert [cut("orders-0", cells) for cells in (8, 7, 4, 3, 2, 1, 0)] == [
        "orders-0", "ord…s-0", "or…0", "o…0", "…", "…", "",
    ]  # fmt: skip
    for cells in range(1, 90):
        assert cell_len(cut("字a" * 20, cells)) <= cells
        assert cell_len(label_text(f"redis://{'字' * 30} → {PATH}", cells)) <= max(cells, 5)
    assert label_text("redis://127.0.0.1:6379 → null", 24) == "redis://…0.1:6379 → null"


def test_the_object_of_a_ring_has_its_label() -> None:
    with Ring.create(4096, label="redis://h:1 → null") as ring:
        assert listed(ring.name)["label"] == json.loads(invoke("inspect", ring.name, "--json"))["label"]
