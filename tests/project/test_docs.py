"""The code blocks of the README and the documentation run unchanged, and their links lead to existing places."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from absent import absent
from doc_page import ROOT, Block, Page, all_pages
from kevy_ring.cli.command import command

DOCS = ROOT / "docs"
PAGES = all_pages()
BLOCKS = [block for page in PAGES for block in page.blocks]
RUN = [block for block in BLOCKS if not block.why_not_run]
NOT_RUN = [block for block in BLOCKS if block.why_not_run]
LANGUAGES = {"python", "shell", "text", "yaml", "ini", "json", "sql", "promql"}
#: A block in one of these languages runs, or gives the reason why it does not.
CODE = {"python", "shell", "yaml", "ini"}
DEADLINE_S = 120
#: The port that the pages name. A test replaces it by a free one.
SHOWN_PORT = "17654"
#: The name of a ring that a page shows. Each test run uses another name, because a failed run may leave its kept ring.
SHOWN_RING = "watched"


def run(arguments: list[str], directory: Path, path: str = "") -> tuple[int, str, str]:
    """Run a command and end all processes that it left. Returns exit code, stdout and stderr."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(part for part in sys.path if part),
        "PATH": os.pathsep.join(filter(None, [path, os.environ["PATH"]])),
    }
    out, err = directory / "out.txt", directory / "err.txt"
    with out.open("w") as to, err.open("w") as complaints:
        process = subprocess.Popen(
            arguments, stdout=to, stderr=complaints, cwd=directory, env=environment, start_new_session=True
        )
        try:
            code = process.wait(DEADLINE_S)
        finally:
            with suppress(ProcessLookupError):  # the group holds only this command and its children
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(DEADLINE_S)
    return code, out.read_text(), err.read_text()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def commands(tmp_path: Path) -> str:
    """A directory with the ``python`` and the ``kevy-ring`` of this test run."""
    directory = tmp_path / "commands"
    directory.mkdir()
    for name, start in (("python", ""), ("kevy-ring", " -m kevy_ring")):
        file = directory / name
        file.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{start} "$@"\n')
        file.chmod(0o755)
    return str(directory)


@pytest.mark.parametrize("block", [block for block in RUN if block.language == "python"], ids=str)
def test_the_python_block_runs(block: Block, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(block.text, encoding="utf-8")
    # Python swallows the error that -W error makes of its warning about fork.
    warnings = ["-W", "error", "-W", "always:This process:DeprecationWarning"]
    code, out, err = run([sys.executable, *warnings, str(script)], tmp_path)
    assert (code, err) == (0, "")
    assert out.strip(), "an example shows something"


@pytest.mark.parametrize("block", [block for block in RUN if block.language == "shell"], ids=str)
def test_the_shell_block_runs(block: Block, tmp_path: Path, commands: str) -> None:
    script = block.text.replace(SHOWN_PORT, str(free_port())).replace(SHOWN_RING, f"{SHOWN_RING}-{os.getpid()}")
    directory = tmp_path / "here"
    directory.mkdir()
    code, out, err = run(["bash", "-euo", "pipefail", "-c", script], directory, commands)
    assert code == 0, out + err
    assert "Traceback" not in err


@pytest.mark.parametrize("block", NOT_RUN, ids=str)
def test_the_block_that_cannot_run_is_well_formed(block: Block, tmp_path: Path) -> None:
    if block.language == "python":
        ast.parse(block.text)
    elif block.language == "shell":
        subprocess.run(["bash", "-n"], input=block.text, text=True, check=True, timeout=DEADLINE_S)
    elif block.language == "yaml":
        assert list(yaml.safe_load_all(block.text))
    elif block.language == "ini":
        unit = configparser.ConfigParser(strict=False, interpolation=None)
        unit.read_string(block.text)
        assert set(unit.sections()) <= {"Unit", "Service", "Timer", "Socket", "Install"}
        assert systemd_complaints(block.text, tmp_path) == ""
        if "[Unit]" in block.text:  # a whole unit, and not a part that is added to one
            assert "exposure level" in systemd_exposure(tmp_path / "kevy-ring.service", most_tenths=20)
    else:
        pytest.fail(f"nothing is known about {block.language}")


def systemd_complaints(unit: str, directory: Path) -> str:
    """The complaints of systemd about the unit. /bin/true replaces kevy-ring, which is not installed at that path."""
    if shutil.which("systemd-analyze") is None:
        absent("systemd-analyze (Debian: systemd) is not installed")
    path = directory / "kevy-ring.service"
    path.write_text(re.sub(r"^(Exec\w+=)kevy-ring", r"\1/bin/true", unit, flags=re.M), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return done.stdout + done.stderr + (f"exit code {done.returncode}" if done.returncode else "")


def systemd_exposure(unit: Path, *, most_tenths: int) -> str:
    """systemd's rating of the unit's hardening, of 10. Fails if it is above ``most_tenths`` tenths."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={most_tenths}", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _command_lines() -> list[str]:
    texts = [block.text.replace("\\\n", " ") for block in BLOCKS if block.language in ("shell", "ini")]
    return re.findall(r"^.*?(kevy-ring (?:ingest|primary|ls|inspect|gc|top)\b[^\n|&]*)", "\n".join(texts), re.M)


@pytest.mark.parametrize("line", sorted(set(_command_lines())))
def test_the_options_of_a_command_line_are_there(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kevy_ring.cli.configuration.toml_file.read_small", lambda path, most_bytes: b"")
    _, name, *arguments = shlex.split(line)
    command.commands[name].make_context(name, arguments)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_block_says_what_it_is(page: Page) -> None:
    assert "```" not in page.prose, "a fence is indented, or not closed"
    assert "<!-- not run" not in page.prose, "a reason stands before no block"
    for block in page.blocks:
        assert block.language in LANGUAGES, f"{block}: {block.language!r}"
        assert block.language in CODE or not block.why_not_run, f"{block}: it never runs"
        assert not (block.language in CODE - {"python", "shell"} and not block.why_not_run), f"{block}: say why"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Page) -> None:
    for link in page.links:
        assert link.target.exists(), link
        if link.anchor and link.target.suffix == ".md":
            assert link.anchor in Page(link.target).anchors, link


def test_every_example_is_on_a_page() -> None:
    included = {name for page in PAGES for name in re.findall(r"^<!-- example: (\S+) -->$", page.text, re.M)}
    assert included == {path.name for path in (DOCS / "examples").glob("*.py")}


def test_every_command_is_described() -> None:
    page = (DOCS / "command-line.md").read_text(encoding="utf-8")
    for name in command.commands:
        assert f"\n## kevy-ring {name}\n" in page
        assert name == "bench" or f"\n<!-- help: {name} -->\n" in page


def test_every_public_name_is_in_the_reference() -> None:
    import kevy_ring
    from kevy_ring import shard

    told = {
        name for path in (DOCS / "reference").glob("*.md") for name in re.findall(r"^::: (\S+)", path.read_text(), re.M)
    }
    errors = {name for name in kevy_ring.__all__ if name in vars(kevy_ring.errors)}
    aliases = {"ReplicaApply"}
    assert "kevy_ring.errors" in told
    assert {f"kevy_ring.{name}" for name in set(kevy_ring.__all__) - errors - aliases} <= told
    assert {f"kevy_ring.shard.{name}" for name in shard.__all__} <= told


@pytest.mark.parametrize("name", ["overview", "segment", "record", "overflow", "takeover"])
def test_a_drawing_is_what_its_script_draws(name: str) -> None:
    sys.path.insert(0, str(DOCS / "drawings"))
    try:
        from draw import DRAWINGS
    finally:
        sys.path.pop(0)
    assert {path.stem for path in (DOCS / "drawings").glob("*.svg")} == set(DRAWINGS)
    assert DRAWINGS[name]().svg() == (DOCS / "drawings" / f"{name}.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_names_no_place_of_the_machine_that_it_was_written_on(page: Page) -> None:
    found = re.findall(r"(?<![\w.])/(?:home|root|work|tmp|Users)/\S+", page.text)
    assert not found, found


def test_every_page_is_in_the_navigation_once() -> None:
    listed = re.findall(r"^ +- .+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.M)
    assert sorted(listed) == sorted(str(page.path.relative_to(DOCS)) for page in PAGES if DOCS in page.path.parents)
