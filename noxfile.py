"""Tests of the built wheel on every supported Python. Run: pip install nox, then nox, or nox -s NAME.

wheel   builds the wheel, and checks its tag and its use of the stable ABI
core    the ring, the inbox and the shard on each Python, from this one wheel
oldest  the same with the oldest Python, numpy and cffi that the metadata allows, built with the oldest tools
typing  mypy and pyright on the installed package
tests   all tests on each Python; needs a Redis and the other tools of .ci/run
forks   all tests with multiprocessing's default start method of Python 3.14

KEVY_RING_WHEEL=FILE tests that wheel instead of building one. Arguments after ``--`` go to pytest.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["wheel", "core", "oldest", "typing"]

ROOT = Path(__file__).resolve().parent
DIST = ROOT / ".nox" / "dist"
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)
CORE = [f"tests/ring/test_{name}.py" for name in ("ring", "calls", "lender")]
CORE += [f"tests/inbox/test_{name}.py" for name in ("contract", "inbox_model", "resume")]
CORE += ["tests/shard/test_shard.py", "tests/project/test_first_programs.py"]
RUNNERS = ["pytest>=8", "pytest-timeout>=2.3", "hypothesis>=6.100"]


def the_wheel(session: nox.Session) -> Path:
    """The wheel in KEVY_RING_WHEEL, or one for all sessions, built from this tree."""
    if named := os.environ.get("KEVY_RING_WHEEL"):
        return Path(named).resolve()
    return _built_once(session)


def _built_once(session: nox.Session, _built: list[Path] = []) -> Path:  # noqa: B006 # one list for all sessions
    if not _built:
        session.install("build>=1.2")
        _built.append(_build(session, DIST, "-m", "build", "--wheel", "--outdir", str(DIST), "."))
    return _built[0]


def _build(session: nox.Session, into: Path, *command: str) -> Path:
    # Remove the files of an earlier build, which would go into the wheel.
    for left in (into, ROOT / "build"):
        shutil.rmtree(left, ignore_errors=True)
    session.run("python", *command, silent=True)
    (wheel,) = into.glob("*.whl")
    return wheel


def oldest_of(requirements: list[str]) -> list[str]:
    """Each requirement at its lower bound."""
    return [requirement.replace(">=", "==") for requirement in requirements]


def install(session: nox.Session, wheel: Path, extra: str = "", *others: str) -> None:
    """Install the wheel, also over one of the same version. Fail if the tests would use the source tree instead."""
    session.install("--force-reinstall", "--no-deps", str(wheel))
    session.install(f"kevy-ring{extra} @ {wheel.as_uri()}", *others)
    session.run(
        "python",
        "-c",
        "import kevy_ring.ring, pathlib, sys; from importlib.metadata import version; "
        "place = pathlib.Path(kevy_ring.__file__).resolve(); assert pathlib.Path(sys.prefix) in place.parents, place; "
        "print('kevy-ring', kevy_ring.__version__, 'numpy', version('numpy'), 'cffi', version('cffi'), sys.version)",
        env={"PYTHONPATH": ""},
    )


@nox.session
def wheel(session: nox.Session) -> None:
    built = the_wheel(session)
    session.install("abi3audit", "auditwheel")
    if "-cp311-abi3-" not in built.name:
        session.error(f"{built.name} is not a wheel for the stable ABI of Python 3.11")
    session.run("abi3audit", "--strict", "--report", str(built))
    session.run("auditwheel", "show", str(built))


@nox.session(python=PYTHONS)
def core(session: nox.Session) -> None:
    install(session, the_wheel(session), "[ingest]", *RUNNERS)
    session.run("pytest", "-q", *(session.posargs or CORE))


@nox.session(python=PYTHONS[0])
def oldest(session: nox.Session) -> None:
    pinned = oldest_of(PROJECT["project"]["dependencies"])
    session.install(*oldest_of(PROJECT["build-system"]["requires"]), "wheel")
    into = Path(session.create_tmp()).resolve() / "dist"
    command = ("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--wheel-dir", str(into), str(ROOT))
    built = _build(session, into, *command)
    install(session, built, "[ingest]", *pinned, *RUNNERS)
    session.run("pytest", "-q", *(session.posargs or CORE))


@nox.session
def typing(session: nox.Session) -> None:
    install(session, the_wheel(session), "", *RUNNERS, "mypy>=1.11", "basedpyright>=1.20")
    session.run("pytest", "-q", "-rs", "tests/project/test_typing.py", *session.posargs)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    install(session, the_wheel(session), "[dev]")
    session.run("pytest", "-q", *session.posargs)


@nox.session
def forks(session: nox.Session) -> None:
    install(session, the_wheel(session), "[dev]")
    session.run("pytest", "-q", "--start-method", "forkserver", *session.posargs)
